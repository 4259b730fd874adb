"""A pause by a chaos switch, of a relay that takes its rows from the log."""

from __future__ import annotations

import integration.test_chaos
from harness.change_data import NEEDS_DEBEZIUM
from harness.same_tests import same_tests

pytestmark = NEEDS_DEBEZIUM

globals().update(same_tests(integration.test_chaos, "TestRelay"))
