"""``python -m cdc order_service|payment_service``: the composition root of a connector."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from cdc.commands import Listener
from cdc.connector import Connector
from cdc.figures import LagFigures
from cdc.memory import Memory
from cdc.probing import probes_of
from cdc.settings import Settings
from shared.change_data import machine
from shared.change_data.captured import CAPTURED, CapturedDatabase
from shared.config import ProcessSettings, Source
from shared.errors import Misconfigured
from shared.logs import configure_logs, get_logger
from shared.messaging.pipelined_channel import PipelinedChannel
from shared.metrics import collect_from
from shared.probes import serve_probes
from shared.process import EXIT_MISCONFIGURED, limit_the_end

log = get_logger(__name__)

BY_SERVICE = {captured.service: captured for captured in CAPTURED.values()}


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    if len(arguments) != 1 or arguments[0] not in BY_SERVICE:
        sys.stderr.write(f"usage: python -m cdc {'|'.join(BY_SERVICE)}\n")
        return EXIT_MISCONFIGURED
    try:
        run(BY_SERVICE[arguments[0]], Source(values=environment))
    except Misconfigured as error:
        sys.stderr.write(f"cdc: {error}\n")
        return EXIT_MISCONFIGURED
    return 0


def run(captured: CapturedDatabase, source: Source) -> None:
    """Until SIGTERM. Raises Misconfigured."""
    process, settings = ProcessSettings.read(source), Settings.read(source, captured)
    configure_logs(process=captured.slot, level=process.log_level, style=process.log_format)
    # Before anything that ends with the process: without Java it must not start at all.
    machine.start()
    connector = Connector(captured, settings.engine, PipelinedChannel(settings.amqp_uri), Memory.read(settings.folder))
    listener = Listener(settings.amqp_uri, captured.commands_queue, connector.carry_out)
    limit_the_end()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: connector.stop())
    collect_from(LagFigures(settings.engine, connector.freshness))
    serve_probes(source, captured.slot, probes_of(connector))
    listener.start()
    log.info("connector_started", database=captured.database, slot=captured.slot)
    connector.run()
    listener.stop()
    log.info("connector_stopped")


if __name__ == "__main__":
    code = main(sys.argv[1:], os.environ)
    machine.end_if_started(code)
    sys.exit(code)
