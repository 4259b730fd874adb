"""What tests/integration/test_relay.py asks of a relay, asked of one that takes its rows from the log."""

from __future__ import annotations

from collections.abc import Mapping

import integration.test_relay
import pytest
from harness.change_data import NEEDS_DEBEZIUM
from harness.same_tests import same_tests

from shared.config import Source
from shared.relaying.choosing import read_source
from shared.relaying.sources import SourceMaker

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("clean")]

globals().update(same_tests(integration.test_relay))


@pytest.fixture
def make_source(relay_settings: Mapping[str, str]) -> SourceMaker:
    return read_source(Source(values=relay_settings), integration.test_relay.SERVICE)
