"""What tests/integration/test_relay.py asks of a relay, asked of one that takes its rows from the log."""

from __future__ import annotations

from collections.abc import Mapping

import integration.test_relay
import pytest
from harness.change_data import NEEDS_DEBEZIUM
from harness.processes import JAVA_STARTS_WITHIN_S, STREAMING_EVENT, Processes, ServiceProcess
from harness.same_tests import same_tests
from harness.waiting import wait_until
from integration.test_relay import SERVICE

from shared.config import Source
from shared.relaying.choosing import read_source
from shared.relaying.sources import SourceMaker

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("clean")]

globals().update(same_tests(integration.test_relay))
_NOT_STREAMING = ('"event": "relay_interrupted"', '"event": "relay_fell_back"')


def _living(processes: Processes) -> list[ServiceProcess]:
    return [process for process in processes.of(SERVICE, "relay") if process.is_alive]


def _follows_the_log(process: ServiceProcess) -> bool:
    said = process.output()
    return said.rfind(STREAMING_EVENT) > max(said.rfind(event) for event in _NOT_STREAMING)


@pytest.fixture
def relay_process(processes: Processes, relay_settings: Mapping[str, str]) -> ServiceProcess:
    """The same one for as many tests as it lives: starting Java would be most of their time."""
    living = _living(processes) or [processes.start_ready(SERVICE, "relay", **relay_settings)]
    wait_until(lambda: _follows_the_log(living[0]), "the relay follows the log", timeout_s=JAVA_STARTS_WITHIN_S)
    return living[0]


@pytest.fixture
def make_source(processes: Processes, relay_settings: Mapping[str, str]) -> SourceMaker:
    """For a relay in this process; no other is elected meanwhile."""
    for process in _living(processes):
        assert process.terminate() == 0
    return read_source(Source(values=relay_settings), SERVICE)
