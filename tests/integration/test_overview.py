"""The overview's figures on the real database: counted by the minute in which an order was placed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.databases import Databases
from harness.order_database import OrderDatabase, open_orders

from order_service.overview import MINUTES, overview
from shared.errors import Forbidden
from shared.identity import Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        opened.sell("mug", "shop")
        yield opened


def look(orders: OrderDatabase, later: timedelta = timedelta(0)) -> Any:
    return orders.run(lambda tx: overview(tx, ADMIN), later=later)


def placed(orders: OrderDatabase) -> UUID:
    return orders.place("ada", "mug")


def test_nothing_is_there_at_first(orders: OrderDatabase) -> None:
    seen = look(orders)
    assert len(seen["minutes"]) == MINUTES
    assert seen["total"] == {"placed": 0, "well": 0, "cancelled": 0, "underWay": 0, "medianS": None, "slowS": None}
    assert seen["overdue"] == 0


def test_orders_are_counted_where_they_were_placed(orders: OrderDatabase) -> None:
    for _ in range(3):
        placed(orders)
    seen = look(orders)
    assert seen["total"]["placed"] == sum(minute["placed"] for minute in seen["minutes"]) == 3
    assert seen["total"]["underWay"] == 3
    assert seen["unfinished"]["PENDING"] == 3


def test_what_is_older_is_left_out(orders: OrderDatabase) -> None:
    placed(orders)
    assert look(orders, later=timedelta(minutes=MINUTES + 1))["total"]["placed"] == 0


def test_is_for_operators_alone(orders: OrderDatabase) -> None:
    anybody = Identity(subject="ada", roles=frozenset({Role.USER}))
    with pytest.raises(Forbidden):
        orders.run(lambda tx: overview(tx, anybody))
