"""The whole stack as it is started for people; afterwards everything must be whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway import Gateway
from harness.whole import assert_whole
from harness.whole_stack import WholeStack


@pytest.fixture(scope="module")
def gateway(whole_stack: WholeStack, request: pytest.FixtureRequest) -> Gateway:
    """A module may have SETTINGS of its own, and REPLICAS; else it uses what the module before has started."""
    return whole_stack.up(getattr(request.module, "SETTINGS", {}), getattr(request.module, "REPLICAS", {}))


@pytest.fixture(autouse=True)
def _whole_afterwards(gateway: Gateway, databases: Databases, broker: Broker) -> Iterator[None]:
    yield
    assert_whole(databases, broker)
