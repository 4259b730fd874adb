"""Who may see, pay and refund a payment: its customer, its seller, operators, and everybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from harness.closed import ClosedDatabase, LetThrough
from harness.people import CUSTOMER, EVERYTHING_BUT_OPERATOR, OPERATOR, RIVAL, SELLER, SHOPLESS, STRANGER

from payment_service import provider_requests, queries, requests
from payment_service.domain import Rules, payment_id
from payment_service.psp_behaviour import SETTINGS as BEHAVIOUR
from payment_service.psp_behaviour import Behaviour
from payment_service.queries import Ownership
from payment_service.settings import Settings
from shared import audit
from shared.errors import Forbidden, InvalidRequest, PaymentNotFound, PaymentNotReady
from shared.identity import ANONYMOUS, TRUSTED, Identity

ORDER = UUID(int=7)
PAYMENT = str(payment_id(ORDER))
SETTINGS = Settings(rules=Rules(psp_limit=timedelta(seconds=30)), psp_database_url="")
STRANGERS = [STRANGER, RIVAL, SHOPLESS, ANONYMOUS]


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database with the payment of ``ann`` to ``shop``, in which nothing more can be read or changed."""
    known = Ownership(order_id=ORDER, user_id="ann", seller_id="shop")
    monkeypatch.setattr(queries, "ownership_of_payment", lambda _tx, id_: known if str(id_) == PAYMENT else None)
    monkeypatch.setattr(queries, "ownership_of_order", lambda _tx, id_: known if id_ == ORDER else None)
    return ClosedDatabase()


def _see(tx: Any, caller: Identity) -> Any:
    return requests.get_payment(tx, caller, None, PAYMENT, SETTINGS)


def _see_of_order(tx: Any, caller: Identity) -> Any:
    return requests.get_payment(tx, caller, str(ORDER), None, SETTINGS)


def _create(tx: Any, caller: Identity) -> Any:
    return requests.create_payment(tx, caller, str(ORDER), None, SETTINGS)


def _confirm(tx: Any, caller: Identity) -> Any:
    return requests.confirm_payment(tx, caller, PAYMENT, "tok_success", None, None, SETTINGS, UUID(int=1))


def _refund(tx: Any, caller: Identity) -> Any:
    return requests.refund_payment(tx, caller, PAYMENT, None, None, None, None, SETTINGS, UUID(int=1))


Ask = Callable[[Any, Identity], Any]
SEE, PAY, REFUND = [_see, _see_of_order], [_create, _confirm], [_refund]
MAY = [
    *((ask, caller) for ask in SEE for caller in (CUSTOMER, SELLER, OPERATOR, TRUSTED)),
    *((ask, caller) for ask in PAY for caller in (CUSTOMER, EVERYTHING_BUT_OPERATOR, TRUSTED)),
    *((ask, caller) for ask in REFUND for caller in (SELLER, OPERATOR, EVERYTHING_BUT_OPERATOR, TRUSTED)),
]
MAY_ONLY_SEE = [
    *((ask, caller) for ask in PAY for caller in (SELLER, OPERATOR)),
    *((ask, caller) for ask in REFUND for caller in (CUSTOMER,)),
]


@pytest.mark.parametrize(("ask", "caller"), MAY)
def test_who_may(till: Any, ask: Ask, caller: Identity) -> None:
    with pytest.raises(LetThrough):
        ask(till, caller)


@pytest.mark.parametrize(("ask", "caller"), MAY_ONLY_SEE)
def test_who_sees_it_but_may_not(till: Any, ask: Ask, caller: Identity) -> None:
    with pytest.raises(Forbidden):
        ask(till, caller)


@pytest.mark.parametrize("caller", STRANGERS)
@pytest.mark.parametrize("ask", [*SEE, *PAY, *REFUND])
def test_to_whom_there_is_none(till: Any, ask: Ask, caller: Identity) -> None:
    with pytest.raises(PaymentNotFound) as foreign:
        ask(till, caller)
    assert foreign.value.details in ({"paymentId": PAYMENT}, {"orderId": str(ORDER)})


@pytest.mark.parametrize("ask", [_see, _see_of_order])
def test_what_is_foreign_looks_like_what_is_not_there(till: Any, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    with pytest.raises(PaymentNotFound) as foreign:
        ask(till, STRANGER)
    monkeypatch.setattr(queries, "ownership_of_payment", lambda _tx, _id: None)
    monkeypatch.setattr(queries, "ownership_of_order", lambda _tx, _id: None)
    with pytest.raises(PaymentNotFound) as missing:
        ask(till, TRUSTED)
    assert foreign.value.args == missing.value.args


def test_without_a_reservation_nothing_is_to_be_paid_yet(till: Any) -> None:
    with pytest.raises(PaymentNotReady):
        requests.create_payment(till, CUSTOMER, str(UUID(int=8)), None, SETTINGS)


@pytest.mark.parametrize("order_id", [None, 7, "", "abc", {}, []])
def test_an_order_id_that_is_none_has_no_payment(till: Any, order_id: Any) -> None:
    with pytest.raises(PaymentNotFound):
        requests.create_payment(till, CUSTOMER, order_id, None, SETTINGS)


class Provider:
    def __init__(self) -> None:
        self.now = Behaviour(latency_ms=7)

    def behaviour(self) -> Behaviour:
        return self.now

    def change_behaviour(self, changes: Mapping[str, float]) -> None:
        self.now = replace(self.now, **changes)

    def reset_behaviour(self) -> None:
        self.now = Behaviour()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """(actor, action, before, after) of what was recorded."""
    lines: list[Any] = []

    def record(_tx: Any, caller: Identity, action: str, *_object: Any, **said: Any) -> None:
        lines.append((caller.subject, action, said["before"], said["after"]))

    @contextmanager
    def transaction(_sessions: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(audit, "record", record)
    monkeypatch.setattr(provider_requests, "transaction", transaction)
    return lines


def _values(answer: Any) -> dict[str, float]:
    assert all(set(s) == {"name", "value", "default", "least", "most", "meaning"} for s in answer["behaviour"])
    return {setting["name"]: setting["value"] for setting in answer["behaviour"]}


class TestBehaviourOfTheProvider:
    NOWHERE: Any = None

    @pytest.mark.parametrize("caller", [CUSTOMER, SELLER, EVERYTHING_BUT_OPERATOR, ANONYMOUS])
    def test_is_for_operators(self, recorded: list[Any], caller: Identity) -> None:
        provider = Provider()
        for ask in (
            lambda: provider_requests.show(caller, provider),
            lambda: provider_requests.change(self.NOWHERE, caller, provider, {"latency_ms": 1}, None),
            lambda: provider_requests.reset(self.NOWHERE, caller, provider, None),
        ):
            with pytest.raises(Forbidden):
                ask()
        assert (recorded, provider.now) == ([], Behaviour(latency_ms=7))

    @pytest.mark.parametrize("caller", [OPERATOR, TRUSTED])
    def test_is_shown_changed_and_reset(self, recorded: list[Any], caller: Identity) -> None:
        provider = Provider()
        assert set(_values(provider_requests.show(caller, provider))) == set(BEHAVIOUR)
        changed = provider_requests.change(self.NOWHERE, caller, provider, {"decline_rate": 0.5}, "r1")
        assert (_values(changed)["decline_rate"], _values(changed)["latency_ms"]) == (0.5, 7)
        assert _values(provider_requests.reset(self.NOWHERE, caller, provider, None))["latency_ms"] == 0
        was, default = {"latency_ms": 7, "decline_rate": 0.5}, {"latency_ms": 0, "decline_rate": 0}
        assert recorded == [
            (caller.subject, "change_provider_behaviour", {"decline_rate": 0}, {"decline_rate": 0.5}),
            (caller.subject, "reset_provider_behaviour", was, default),
        ]

    @pytest.mark.parametrize(
        ("changes", "wrong"),
        [
            ({"latency_ms": "1"}, ["latency_ms"]),
            ({"latency_ms": 1, "decline_rate": 2, "speed": 1}, ["decline_rate", "speed"]),
            ({"failure_rate": float("nan")}, ["failure_rate"]),
            ({"webhook_copies": 1.5}, ["webhook_copies"]),
            ({"x" * 99: 1}, ["x" * 40]),
            ([], ["changes"]),
            (None, ["changes"]),
        ],
    )
    def test_nothing_is_changed_where_anything_is_wrong(
        self, recorded: list[Any], changes: Any, wrong: list[str]
    ) -> None:
        provider = Provider()
        with pytest.raises(InvalidRequest) as refused:
            provider_requests.change(self.NOWHERE, OPERATOR, provider, changes, None)
        assert list(refused.value.details["errors"]) == wrong
        assert (recorded, provider.now) == ([], Behaviour(latency_ms=7))
