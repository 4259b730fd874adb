"""Orders end whole while relays and servers are killed, with relays that take their rows from the log."""

from __future__ import annotations

import integration.test_faults
import pytest
from harness.broker import Broker
from harness.change_data import NEEDS_DEBEZIUM
from harness.databases import Databases
from harness.processes import Processes
from harness.same_tests import same_tests
from harness.shop import Shop
from integration.test_faults import Customers

pytestmark = [*NEEDS_DEBEZIUM, pytest.mark.usefixtures("services", "clean")]

# The others kill services, or freeze a broker: what a relay does then is the same code on both ways.
globals().update(same_tests(integration.test_faults, "test_the_broker_killed", "test_the_database_server_killed"))


def test_each_relay_killed_in_turn(
    processes: Processes, customers: Customers, shop: Shop, databases: Databases, broker: Broker
) -> None:
    integration.test_faults.test_each_process_killed_in_turn(processes, customers, shop, databases, broker, "relay")
