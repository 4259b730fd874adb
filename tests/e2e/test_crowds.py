"""More of everything than anybody should want: customers for one item, lines in one order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness.databases import Databases
from harness.gateway import Gateway
from harness.waiting import wait_until

pytestmark = pytest.mark.e2e

CUSTOMERS = 160
ON_HAND = 40
AT_ONCE = 40
MANY = 10_000
_OUTCOMES = """
select o.status || coalesce(' ' || o.reason, ''), count(*) from orders o join order_items i on i.order_id = o.id
where i.item = %s group by 1
"""


def test_of_a_crowd_exactly_as_many_are_served_as_there_are_units(gateway: Gateway, databases: Databases) -> None:
    """Given an item that everybody orders at once, then none is sold twice and none is left over."""
    item = gateway.product(on_hand=ON_HAND)
    # Known to the order service from here on.
    gateway.order(item)
    with ThreadPoolExecutor(AT_ONCE) as crowd:
        list(crowd.map(lambda number: gateway.order(item, userId=f"user-{number}"), range(CUSTOMERS - 1)))

    def outcomes() -> dict[str, int] | None:
        found: dict[str, int] = dict(databases.query("order_service", _OUTCOMES, item))
        return None if found.keys() & {"PENDING", "RESERVED"} else found

    assert wait_until(outcomes, "every order has ended", timeout_s=60) == {
        "CONFIRMED": ON_HAND,
        "CANCELLED out_of_stock": CUSTOMERS - ON_HAND,
    }
    assert gateway.stock(item) == (ON_HAND, ON_HAND)


def lines(count: int) -> list[dict[str, Any]]:
    return [{"item": f"i{number}", "quantity": 1} for number in range(count)]


@pytest.mark.parametrize("path", ["/orders", "/carts"])
@pytest.mark.parametrize(
    ("count", "status", "code"),
    [(MANY, 413, "payload_too_large"), (5_000, 400, "malformed_json"), (500, 422, "invalid_request")],
)
def test_thousands_of_lines_are_refused_politely(
    gateway: Gateway, databases: Databases, path: str, count: int, status: int, code: str
) -> None:
    """Given more lines than anything may have, then the answer says so, and nothing is half done."""
    made = "select (select count(*) from orders) + (select count(*) from carts)"
    before = databases.value("order_service", made)

    assert gateway.code(path, {"items": lines(count)}) == (status, code)

    assert databases.value("order_service", made) == before
    assert gateway.get("/products?limit=1")["products"] is not None
