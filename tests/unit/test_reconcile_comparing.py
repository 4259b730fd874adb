"""What differs between the sides of an order: each kind from one change of an order that is whole, and what is no
difference. Pure: no service is asked.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway.admin.reconcile.comparing import Verdict, compare, confirmed
from gateway.admin.reconcile.kinds import KINDS, Discrepancy
from gateway.admin.reconcile.places import STAGES, WALKED, Place, read_cursor, read_watermark
from gateway.admin.reconcile.sides import Sides
from shared.errors import InvalidRequest

ID, CHARGE, RETURN = "order-1", "charge-1", "return-1"
QUIET_S = 30.0
Change = Mapping[str, Any]

ORDER: dict[str, Any] = {
    "orderId": ID,
    "status": "CONFIRMED",
    "isSettled": False,
    "stock": "HELD",
    "money": "TAKEN",
    "price": "20.00",
    "currency": "EUR",
    "refunded": "0.00",
    "isShipping": False,
    "waitsFor": None,
    "deadlineAt": None,
    "isOverdue": False,
    "flag": None,
    "items": {"mug": 2},
    "returns": [],
    "gaps": [],
    "quietForS": 100.0,
}
GOODS: dict[str, Any] = {
    "orderId": ID,
    "status": "HELD",
    "reservation": "RESERVED",
    "generation": 1,
    "isCancelled": False,
    "items": {"mug": 2},
    "returns": [],
    "quietForS": 100.0,
}
BOOKED = {"status": "APPROVED", "amount": "20.00", "currency": "EUR", "refunded": "0.00"}
MONEY: dict[str, Any] = {
    "orderId": ID,
    "status": "SUCCEEDED",
    "amount": "20.00",
    "currency": "EUR",
    "refunded": "0.00",
    "refunding": "0.00",
    "isCancelled": False,
    "isCharging": False,
    "openAttempts": 0,
    "openForS": 0.0,
    "receivable": "20.00",
    "isBalanced": True,
    "refunds": [],
    "charges": [{"key": CHARGE, "status": "SUCCEEDED", "amount": "20.00", "booked": BOOKED}],
    "quietForS": 100.0,
}

CONFIRMED = Sides(order_id=ID, order=ORDER, goods=GOODS, money=MONEY)


def having(sides: Sides, *, order: Change = {}, goods: Change = {}, money: Change = {}) -> Sides:  # noqa: B006
    return dataclasses.replace(
        sides,
        order={**(sides.order or ORDER), **order} if order is not None else None,
        goods={**(sides.goods or GOODS), **goods} if goods is not None else None,
        money={**(sides.money or MONEY), **money} if money is not None else None,
    )


_GIVEN_BACK = {"id": "r", "amount": "20.00", "status": "SUCCEEDED"}
CANCELLED = having(
    CONFIRMED,
    order={"status": "CANCELLED", "isSettled": True, "stock": "FREE", "money": "RETURNED", "refunded": "20.00"},
    goods={"status": "RELEASED", "reservation": "RELEASED", "isCancelled": True},
    money={
        "status": "REFUNDED",
        "isCancelled": True,
        "refunded": "20.00",
        "receivable": "0.00",
        "refunds": [_GIVEN_BACK],
        "charges": [{**MONEY["charges"][0], "booked": {**BOOKED, "refunded": "20.00"}}],
    },
)
_DECLINED = {"key": CHARGE, "status": "FAILED", "amount": "20.00", "booked": {**BOOKED, "status": "DECLINED"}}
DECLINED = having(
    CANCELLED,
    order={"money": "NOT_TAKEN", "refunded": "0.00"},
    money={"status": "FAILED", "refunded": "0.00", "refunds": [], "charges": [_DECLINED]},
)
FULFILLED = having(
    CONFIRMED,
    order={"status": "FULFILLED", "stock": "COMMITTED", "isShipping": True},
    goods={"status": "COMMITTED", "reservation": "COMMITTED"},
)
_RETURN = {"id": RETURN, "items": {"mug": 1}, "restock": True, "refundAmount": "10.00", "status": "REFUNDED"}
RETURNED = having(
    FULFILLED,
    order={"returns": [_RETURN], "refunded": "10.00"},
    goods={"returns": [{"id": RETURN, "items": {"mug": 1}, "restocked": True}]},
    money={
        "status": "PARTIALLY_REFUNDED",
        "refunded": "10.00",
        "receivable": "10.00",
        "refunds": [{"id": RETURN, "amount": "10.00", "status": "SUCCEEDED"}],
        "charges": [{**MONEY["charges"][0], "booked": {**BOOKED, "refunded": "10.00"}}],
    },
)
PENDING = having(
    CONFIRMED,
    order={
        "status": "PENDING",
        "stock": "UNKNOWN",
        "money": "UNKNOWN",
        "waitsFor": "answer",
        "deadlineAt": "2026-01-31T12:15:00Z",
    },
)
# Paid by nobody: failed at the limit, and undone.
_VOIDED = {"key": CHARGE, "status": "SUCCEEDED", "amount": "20.00", "booked": {**BOOKED, "status": "VOIDED"}}
UNDONE = having(
    CANCELLED,
    order={"money": "NOT_TAKEN", "refunded": "0.00"},
    money={"status": "CANCELLED", "refunded": "0.00", "refunds": [], "charges": [_VOIDED]},
)
_LATE = {"isSettled": False, "waitsFor": "compensation", "deadlineAt": "2026-01-31T12:15:00Z", "isOverdue": True}

WHOLE = {
    "confirmed": CONFIRMED,
    "cancelled": CANCELLED,
    "declined": DECLINED,
    "fulfilled": FULFILLED,
    "returned": RETURNED,
    "pending, and its answers are on their way": PENDING,
    "charged, unwanted and voided": UNDONE,
    "cancelled, and its compensation is on its way": having(
        CONFIRMED, order={**_LATE, "isOverdue": False, "status": "CANCELLED"}
    ),
    "expired and then cancelled": having(CANCELLED, goods={"status": "RELEASED", "reservation": "EXPIRED"}),
    "never heard of": Sides(order_id=ID),
    "unknown, and nothing is held for it": having(
        dataclasses.replace(CANCELLED, order=None), order=None, goods={"status": "RELEASED"}
    ),
    "archived": having(CONFIRMED, order={"isArchived": True, "status": "CANCELLED"}),
    "rejected, so nothing was ever asked of the payment": dataclasses.replace(
        having(DECLINED, goods={"status": "REJECTED", "reservation": None}), money=None
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_differs_in_nothing(name: str) -> None:
    assert compare([WHOLE[name]], QUIET_S) == Verdict()


def charge(**changes: Any) -> Change:
    return {"charges": [{**MONEY["charges"][0], **changes}]}


# Code → (sides, the repair's method, words in the repair's arguments)
FOUND: list[tuple[str, Sides, str | None]] = [
    ("cancellation_unheard", having(CANCELLED, order={**_LATE, "stock": "HELD"}, goods={"status": "EXPIRED"}), "order"),
    (
        "cancellation_unheard",
        dataclasses.replace(having(DECLINED, order={**_LATE, "money": "UNKNOWN"}), money=None),
        "order",
    ),
    ("stock_answer_unheard", having(CANCELLED, order={**_LATE, "stock": "HELD"}), "stock"),
    (
        "stock_answer_unheard",
        having(PENDING, order={"isOverdue": True}, goods={"status": "REJECTED", "reservation": None}),
        "stock",
    ),
    ("money_answer_unheard", having(CANCELLED, order={**_LATE, "money": "TAKEN"}), "payment"),
    ("money_answer_unheard", having(PENDING, order={"flag": "pending_overdue"}), "payment"),
    ("shipment_unheard", having(FULFILLED, order={"status": "CONFIRMED", "waitsFor": "fulfilment"}), "stock"),
    ("refund_unheard", having(RETURNED, order={"refunded": "0.00"}), "payment"),
    ("refund_unheard", having(RETURNED, order={"returns": [{**_RETURN, "status": "REQUESTED"}]}), "payment"),
    ("return_unheard", having(RETURNED, goods={"returns": []}), "order"),
    ("return_not_refunded", having(FULFILLED, order={"returns": [_RETURN]}, goods=RETURNED.goods or {}), "order"),
    (
        "timeline_gap",
        having(CONFIRMED, order={"gaps": [{"eventId": "e", "type": "PAYMENT_SUCCESS", "causationId": "c"}]}),
        "republish_event",
    ),
    ("stock_held_for_cancelled", having(CANCELLED, goods={"status": "HELD", "reservation": "RESERVED"}), "order"),
    ("money_kept_for_cancelled", having(CANCELLED, money={**MONEY, "isCancelled": True}), "give_back"),
    ("money_kept_for_cancelled", having(CANCELLED, money={**MONEY, "isCancelled": False}), "order"),
    ("shipped_but_held", having(FULFILLED, goods={"status": "HELD", "reservation": "RESERVED"}), "order"),
    ("confirmed_without_stock", having(CONFIRMED, goods={"status": "EXPIRED", "reservation": "EXPIRED"}), "payment"),
    ("confirmed_without_stock", having(CONFIRMED, goods={"status": "REJECTED", "reservation": None}), "stock"),
    ("confirmed_without_stock", having(CONFIRMED, goods={"status": "RELEASED", "reservation": "RELEASED"}), None),
    ("stray_charge", having(DECLINED, money=charge(status="FAILED")), "void_charge"),
    ("stray_charge", having(UNDONE, money=charge()), "void_charge"),
    ("stock_of_unknown_order", dataclasses.replace(CONFIRMED, order=None, money=None), "order"),
    ("money_of_unknown_order", dataclasses.replace(CONFIRMED, order=None, goods=None), "order"),
    ("order_unended", having(PENDING, order={"isOverdue": True}, money={"status": "PENDING", **charge()}), None),
    ("refund_failed", having(FULFILLED, order={"flag": "refund_failed"}), None),
    ("stock_gone_for_unshipped", having(CONFIRMED, goods=FULFILLED.goods or {}), None),
    ("stock_gone_for_unshipped", having(CANCELLED, goods=FULFILLED.goods or {}), None),
    ("shipped_without_stock", having(FULFILLED, goods={"status": "EXPIRED", "reservation": "EXPIRED"}), None),
    ("shipped_without_stock", dataclasses.replace(FULFILLED, goods=None), None),
    ("lines_differ", having(CONFIRMED, goods={"items": {"mug": 3}}), None),
    ("lines_differ", having(PENDING, goods={"items": {"jug": 2}}), None),
    ("holding_differs", having(CONFIRMED, goods={"reservation": "RELEASED"}), None),
    ("holding_differs", having(CANCELLED, goods={"reservation": "RESERVED"}), None),
    ("return_differs", having(RETURNED, order={"returns": []}), None),
    ("return_differs", having(RETURNED, order={"items": {"mug": 0}}, goods={"items": {"mug": 0}}), None),
    (
        "return_differs",
        having(RETURNED, goods={"returns": [{"id": RETURN, "items": {"mug": 1}, "restocked": False}]}),
        None,
    ),
    ("paid_without_money", dataclasses.replace(CONFIRMED, money=None), None),
    ("paid_without_money", having(CONFIRMED, money=DECLINED.money or {}), None),
    ("price_differs", having(CONFIRMED, order={"price": "19.00"}), None),
    ("price_differs", having(CONFIRMED, order={"currency": "USD"}), None),
    ("refunds_differ", having(CONFIRMED, order={"refunded": "1.00"}), None),
    ("refunds_differ", having(CONFIRMED, money={"refunding": "1.00"}), None),
    ("refunds_differ", having(RETURNED, money={"refunds": []}), None),
    ("ledger_differs", having(CONFIRMED, money={"receivable": "19.00"}), None),
    ("ledger_differs", having(CONFIRMED, money={"isBalanced": False}), None),
    ("provider_differs", having(CONFIRMED, money=charge(booked=None)), None),
    ("provider_differs", having(CONFIRMED, money=charge(booked={**BOOKED, "status": "VOIDED"})), None),
    ("provider_differs", having(CONFIRMED, money=charge(booked={**BOOKED, "amount": "19.00"})), None),
    ("provider_differs", having(CONFIRMED, money=charge(booked={**BOOKED, "refunded": "1.00"})), None),
    ("provider_differs", having(CONFIRMED, money={"charges": []}), None),
    ("attempt_unanswered", having(CONFIRMED, money={"openAttempts": 1, "openForS": 700.0}), None),
]
METHODS = {"order": "say_order_again", "stock": "say_stock_again", "payment": "say_payment_again"}
NOT_OF_ORDERS = {"unknown_charge", "stock_differs", "outbox_stuck", "dead_letters"}


@pytest.mark.parametrize(("code", "sides", "repair"), FOUND)
def test_each_difference_is_named_with_its_repair(code: str, sides: Sides, repair: str | None) -> None:
    found = {one.code: one for one in compare([sides], QUIET_S).discrepancies}

    assert code in found
    one = found[code]
    assert (one.repair.method if one.repair else None) == (METHODS.get(repair, repair) if repair else None)
    assert (one.order_id, bool(one.says)) == (ID, True)
    document = one.document()
    assert document["isSafe"] == (KINDS[code].is_safe and repair is not None)
    assert (ID in document["command"]) or document["command"].startswith("ordersaga psp")


def test_every_kind_of_difference_between_sides_is_tried() -> None:
    assert {code for code, _, _ in FOUND} | NOT_OF_ORDERS == set(KINDS)


@pytest.mark.parametrize(("code", "sides", "_repair"), FOUND)
def test_nothing_counts_that_changed_just_now(code: str, sides: Sides, _repair: str | None) -> None:
    """On whichever side it was: it is looked at again."""
    for name in ("order", "goods", "money"):
        if getattr(sides, name) is not None:
            recent = dataclasses.replace(sides, **{name: {**getattr(sides, name), "quietForS": QUIET_S - 1}})
            assert compare([recent], QUIET_S) == Verdict(unsettled=(ID,))


def test_nothing_counts_while_the_provider_is_being_asked() -> None:
    differs = having(CANCELLED, money={**MONEY, "openAttempts": 1, "openForS": 5.0})
    assert compare([differs], QUIET_S) == Verdict(unsettled=(ID,))


HOLDS_WHILE_UNDER_WAY: dict[str, Callable[[Sides], Sides]] = {
    "ledger_differs": lambda sides: having(sides, money={"receivable": "1.00"}),
    "stray_charge": lambda sides: having(
        sides, money={"status": "PENDING", "receivable": "0", **charge(status="FAILED")}
    ),
}


@pytest.mark.parametrize("code", HOLDS_WHILE_UNDER_WAY)
def test_an_order_under_way_is_still_held_to_what_must_always_be_so(code: str) -> None:
    sides = HOLDS_WHILE_UNDER_WAY[code](PENDING)
    assert code in {one.code for one in compare([sides], QUIET_S).discrepancies}


def test_only_what_is_found_twice_counts() -> None:
    """The sides of an order are not told at the same moment: what the second look does not show was under way."""
    one, other = (Discrepancy(code="price_differs", order_id=id_) for id_ in ("a", "b"))
    first = Verdict(discrepancies=(one, other), unsettled=("c",))

    assert confirmed(first, Verdict(discrepancies=(other,))) == Verdict(discrepancies=(other,), unsettled=("c", "a"))


def test_a_word_that_both_sides_lack_is_said_once() -> None:
    sides = Sides(
        order_id=ID, order={**copy.deepcopy(dict(DECLINED.order or {})), **_LATE, "stock": "HELD", "money": "UNKNOWN"}
    )
    assert [one.code for one in compare([sides], QUIET_S).discrepancies] == ["cancellation_unheard"]


def test_every_kind_says_what_it_means_and_where_to_look() -> None:
    for code in KINDS:
        document = Discrepancy(code=code, order_id=ID, subject="x").document()
        assert document["meaning"]
        assert document["command"].startswith("ordersaga ")
        assert document["runbook"] == f"docs/operations.md#{code.replace('_', '-')}"


# Cursors


def test_a_cursor_is_read_as_it_was_written() -> None:
    place = Place(stage="money", is_full=True, ago_s=60, at={"orders": "7"}, heads={"book": "k"})
    assert read_cursor(place.cursor) == place


def test_a_pass_goes_through_every_stage() -> None:
    place, seen = Place(), []
    while place is not None:
        seen.append(place.stage)
        following = place.next_stage()
        if following is None:
            break
        place = following
    assert tuple(seen) == STAGES


def test_the_next_pass_begins_where_a_full_one_began() -> None:
    heads = dict.fromkeys(WALKED, "3")
    full = Place(is_full=True, at=dict.fromkeys(WALKED, "z"), heads=heads)
    assert read_watermark(full.watermark).at == heads
    assert read_watermark(Place(at={"orders": "9"}).watermark).at == {"orders": "9"}


@pytest.mark.parametrize("text", ["", "x", "bm8", "e30", "W10", "eyJhdCI6eyJub25lIjoiMSJ9fQ", "é", "=" * 9])
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_cursor(text)
    with pytest.raises(InvalidRequest):
        read_watermark(text)
