"""The whole stack as it is started for people; afterwards everything must be whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway import Gateway
from harness.whole import assert_whole

from ops.people import NO_LIMITS, people_of
from ops.stack import Stack


@pytest.fixture(scope="module")
def gateway(stack: Stack, empty_stack: None, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Services, relays, provider and gateway on top of the infrastructure that is up; only these are stopped again.

    A module may have SETTINGS of its own, and REPLICAS.
    """
    settings = {**NO_LIMITS, **getattr(request.module, "SETTINGS", {})}
    replicas = getattr(request.module, "REPLICAS", {})
    stack.up(infrastructure_only=False, settings=settings, replicas=replicas)
    try:
        environment = stack.environment()
        yield Gateway(environment["GATEWAY_URL"], people_of(environment))
    finally:
        stack.up(infrastructure_only=True, settings=dict.fromkeys(settings, ""), replicas=dict.fromkeys(replicas, 1))


@pytest.fixture(autouse=True)
def _whole_afterwards(gateway: Gateway, databases: Databases, broker: Broker) -> Iterator[None]:
    yield
    assert_whole(databases, broker)
