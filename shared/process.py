"""Starting and ending our processes: a service, its relay, its migrations.

Owns: the commands `serve`, `relay` and `migrate` (a service may bring others), signals, exit codes; each
``__main__.py`` hands in what is its own.
Must not know: any service. Imports little at the top: `serve` must patch sockets before anything else is imported.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import Misconfigured

if TYPE_CHECKING:
    from shared.config import Source

WORKERS = 64
DRAIN_LIMIT_S = 20
EXIT_MISCONFIGURED = 2


@dataclass(frozen=True, kw_only=True)
class ServiceProcess:
    """What ``shared`` needs to know of a service to run it. ``service`` and ``settings`` are "module:name".

    ``figures``: a sequence of TableFigure that Prometheus is told besides the outbox's. Without an outbox
    (``has_outbox``) there is nothing to relay.
    ``after_migrate`` prepares whatever else the service keeps its data in; ``commands`` are those that only this
    service has, beside serve, relay and migrate.
    """

    name: str
    service: str
    settings: str
    database_setting: str
    migrations: Path
    figures: str
    has_outbox: bool = True
    after_migrate: Callable[[Mapping[str, str]], None] | None = None
    commands: Mapping[str, Callable[[Mapping[str, str]], None]] = field(default_factory=dict)


def run(process: ServiceProcess, arguments: list[str], environment: Mapping[str, str]) -> int:
    """Do what ``arguments`` say; the exit code."""
    commands: dict[str, Callable[[Mapping[str, str]], None]] = {
        "serve": partial(serve, process),
        **({"relay": partial(relay, process)} if process.has_outbox else {}),
        "migrate": partial(migrate, process),
        **process.commands,
    }
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write(f"usage: python -m {process.name} {'|'.join(commands)}\n")
        return EXIT_MISCONFIGURED
    try:
        commands[arguments[0]](environment)
    except Misconfigured as error:
        sys.stderr.write(f"{process.name}: {error}\n")
        return EXIT_MISCONFIGURED
    return 0


def serve(process: ServiceProcess, environment: Mapping[str, str]) -> None:
    """Run the Nameko service until SIGTERM, then finish what is in hand."""
    # Nameko 2 is built on eventlet, and eventlet says at each import that it is deprecated.
    warnings.filterwarnings("ignore", message="(?s).*Eventlet is deprecated")
    import eventlet

    eventlet.monkey_patch()

    import nameko_cron
    from nameko.runners import ServiceRunner

    from shared.chaos.permission import read_chaos_enabled
    from shared.config import ProcessSettings, Source
    from shared.logs import configure_logs
    from shared.messaging.chaos_watch import CHAOS_KEY
    from shared.settings_provider import SETTINGS_KEY
    from shared.tracing import close_tracing, configure_tracing

    # nameko-cron prints the seconds to its next tick, each time.
    nameko_cron.print = lambda *_args: None
    source = Source(values=environment)
    settings = ProcessSettings.read(source)
    configure_logs(process=process.name, level=settings.log_level, style=settings.log_format)
    configure_tracing(process.name, environment, with_statements=True)
    runner = ServiceRunner(
        {
            "AMQP_URI": settings.amqp_uri,
            "DB_URIS": {f"{process.name}:Base": source.text(process.database_setting)},
            "max_workers": WORKERS,
            SETTINGS_KEY: _load(process.settings).read(source),
            CHAOS_KEY: read_chaos_enabled(source),
        }
    )
    runner.add_service(_load(process.service))
    _serve_until_terminated(runner, eventlet, lambda: _serve_probes(process, source, runner))
    close_tracing()


def _serve_probes(process: ServiceProcess, source: Source, runner: Any) -> None:
    from shared.probes import serve_probes
    from shared.service_probes import probes_of

    (container,) = runner.containers
    serve_probes(source, process.name, probes_of(container, _figures_of(process)))


def _figures_of(process: ServiceProcess) -> tuple[Any, ...]:
    from shared.table_figures import OUTBOX_FIGURES, SLOT_FIGURES

    return (*((*OUTBOX_FIGURES, *SLOT_FIGURES) if process.has_outbox else ()), *_load(process.figures))


def _serve_until_terminated(runner: Any, eventlet: Any, started: Callable[[], None]) -> None:
    def terminate(_signal: int, _frame: Any) -> None:
        # The last resort: a drain that hangs is ended by SIGALRM's default, and the broker redelivers.
        signal.alarm(DRAIN_LIMIT_S)
        # Signal handlers run in the hub, which must not wait: stop in a thread of its own.
        eventlet.spawn_n(runner.stop)

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    runner.start()
    started()
    leave_out_of_collections()
    waiting = eventlet.spawn(runner.wait)
    while True:
        try:
            waiting.wait()
            return
        except InterruptedError:  # a signal arrived while the hub waited on a socket
            continue


def limit_the_end() -> None:
    """From SIGTERM or SIGINT on, a process that is not made of green threads has DRAIN_LIMIT_S to end.

    While a server stands still with a question, libpq keeps the main thread, and no handler of Python's runs. Another
    thread sees the signal all the same, and SIGALRM's default ends the process wherever it is; the outbox keeps its
    rows.
    """
    import threading  # `serve` patches it before it is imported

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_limit_when_told, args=(reading,), name="last resort", daemon=True).start()


def _limit_when_told(signals: int) -> None:
    while number := os.read(signals, 1):
        if number[0] in (signal.SIGTERM, signal.SIGINT):
            signal.alarm(DRAIN_LIMIT_S)


def leave_out_of_collections() -> None:
    """What a process has made until now stays: the collector need not search it again and again.

    How often it comes is left as it is: a connection that a database refuses while it recovers keeps its socket until
    then, and there may be many.
    """
    gc.collect()
    gc.freeze()


def relay(process: ServiceProcess, environment: Mapping[str, str]) -> None:
    """Run the outbox relay until SIGTERM; on standby while another one is active."""
    from shared.change_data.machine import end_if_started
    from shared.chaos.permission import read_chaos_enabled
    from shared.choreography import event_exchange, load_choreography
    from shared.config import ProcessSettings, Source
    from shared.elected_probes import probes_of
    from shared.logs import configure_logs
    from shared.messaging.pipelined_publisher import PipelinedPublisher
    from shared.probes import serve_probes
    from shared.relay import Relay, RelaySettings
    from shared.relaying.choosing import read_source
    from shared.tracing import close_tracing, configure_tracing

    source = Source(values=environment)
    settings = ProcessSettings.read(source)
    configure_logs(process=f"{process.name}.relay", level=settings.log_level, style=settings.log_format)
    configure_tracing(f"{process.name}.relay", environment)
    events = load_choreography().events
    worker = Relay(
        RelaySettings(
            service=process.name,
            database_url=source.text(process.database_setting),
            retention_s=source.seconds("OUTBOX_RETENTION_S", 7 * 24 * 3600),
            may_be_paused=read_chaos_enabled(source),
        ),
        PipelinedPublisher(
            settings.amqp_uri,
            event_exchange(process.name),
            lambda event_type: event_type in events and bool(events[event_type].consumers),
        ),
        read_source(source, process.name),
    )
    limit_the_end()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: worker.stop())
    serve_probes(source, f"{process.name}.relay", probes_of(worker.state, lambda: worker.state().chaos))
    worker.run()
    close_tracing()
    end_if_started(0)


def migrate(process: ServiceProcess, environment: Mapping[str, str]) -> None:
    """Bring the database to the newest schema; two at once are safe."""
    from shared.config import Source
    from shared.migrations import upgrade

    upgrade(process.migrations, Source(values=environment).text(process.database_setting))
    if process.after_migrate:
        process.after_migrate(environment)


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def main(process: ServiceProcess) -> None:
    """The body of every ``__main__.py``."""
    code = run(process, sys.argv[1:], os.environ)
    if "jpype" in sys.modules:
        # All is closed. Threads of Java's that call Python while it is taken down would end the process with a signal.
        for written in (sys.stdout, sys.stderr):
            written.flush()
        os._exit(code)
    sys.exit(code)
