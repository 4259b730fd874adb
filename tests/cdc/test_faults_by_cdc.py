"""Orders end whole while anything is killed, also with relays that take their rows from the log."""

from __future__ import annotations

import integration.test_faults
import pytest
from harness.change_data import NEEDS_DEBEZIUM
from harness.same_tests import same_tests

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("services", "clean")]

globals().update(same_tests(integration.test_faults))
