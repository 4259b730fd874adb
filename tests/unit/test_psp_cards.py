"""What each token does, and which cards become tokens."""

from __future__ import annotations

import traceback
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from payment_service.provider import Charge
from payment_service.psp_behaviour import SETTINGS, Behaviour, behaviour_of, faults
from payment_service.psp_cards import CARDS, SCRIPTS, TOKENS, CardRefused, read_card
from payment_service.psp_simulator import PspSimulator, charge_row

TODAY = date(2026, 5, 31)
GOOD = {"number": "4242 4242 4242 4242", "expMonth": 12, "expYear": 2030, "cvc": "123"}


def planned(token: str) -> Any:
    """The row and the webhooks of a charge that is about to be written."""
    simulator = PspSimulator("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    charge = Charge(key="k", amount=Decimal(1), currency="EUR", token=token)
    script = TOKENS[token]
    return simulator._planned(charge, script, Behaviour())


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("tok_success", "APPROVED", None),
        ("tok_insufficient_funds", "DECLINED", "insufficient_funds"),
        ("tok_card_declined", "DECLINED", "card_declined"),
        ("tok_expired_card", "DECLINED", "expired_card"),
        ("tok_limit_exceeded", "DECLINED", "limit_exceeded"),
        ("tok_fraud", "DECLINED", "fraud_suspected"),
        ("tok_timeout_after_charge", "APPROVED", None),
        ("tok_slow", "APPROVED", None),
        ("tok_async_success", "PROCESSING", None),
        ("tok_async_failure", "PROCESSING", "card_declined"),
        ("tok_async_late", "PROCESSING", None),
    ],
)
def test_a_token_says_what_is_written(token: str, status: str, reason: str | None) -> None:
    call = planned(token)
    assert (call.row["status"], call.row["reason"]) == (status, reason)
    assert len(call.webhooks) == (2 if status == "PROCESSING" else 0)
    assert (call.row["settles_at"] is not None) == (status == "PROCESSING")


def test_every_token_is_one_of_these_or_hangs() -> None:
    assert TOKENS["tok_timeout"].hangs
    assert len(TOKENS) == 12


def test_neither_token_nor_card_is_in_a_charges_row() -> None:
    row = charge_row(Charge(key="k", amount=Decimal(1), currency="EUR", token="tok_secret"), "APPROVED", None)
    assert "tok_secret" not in str(row)


def test_every_test_card_has_a_check_digit_and_a_behaviour_of_its_own() -> None:
    for number, behaviour in CARDS.items():
        assert read_card({**GOOD, "number": number}, today=TODAY).behaviour == behaviour
    assert sorted(CARDS.values()) == sorted(SCRIPTS)


def test_only_the_last_four_digits_are_kept() -> None:
    card = read_card(GOOD, today=TODAY)
    assert (card.behaviour, card.brand, card.last4) == ("success", "visa", "4242")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": "4242424242424241"}, "number"),
        ({"number": "4111111111111111"}, "number"),  # somebody's, for all we know
        ({"number": "42"}, "number"),
        ({"number": ["4242424242424242"]}, "number"),
        ({"number": True}, "number"),
        ({"number": "٤" * 16}, "number"),
        ({"number": "4" * 10_000}, "number"),
        ({"number": None}, "number"),
        ({"cvc": "12"}, "cvc"),
        ({"cvc": "12a"}, "cvc"),
        ({"cvc": ""}, "cvc"),
        ({"expMonth": 13}, "expMonth"),
        ({"expMonth": 0}, "expMonth"),
        ({"expMonth": "May"}, "expMonth"),
        ({"expYear": 1999}, "expMonth"),
        ({"expMonth": 4, "expYear": 2026}, "expMonth"),
        ({"expMonth": 4, "expYear": 26}, "expMonth"),
        ({"expMonth": 1.5}, "expMonth"),
    ],
)
def test_a_wrong_card_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(CardRefused) as caught:
        read_card({**GOOD, **changes}, today=TODAY)
    assert list(caught.value.errors) == [field]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(CardRefused) as caught:
        read_card({}, today=TODAY)
    assert list(caught.value.errors) == ["number", "expMonth", "cvc"]


@pytest.mark.parametrize("number", ["4111111111111111", "4242424242424241", "4242x4242y4242z4242"])
def test_no_error_quotes_a_card(number: str) -> None:
    wrong = {**GOOD, "number": number, "cvc": "9876" + "54"}
    with pytest.raises(CardRefused) as caught:
        read_card(wrong, today=TODAY)
    told = "".join(traceback.format_exception(caught.value)) + str(caught.value.errors)
    assert number not in told
    assert wrong["cvc"] not in told


@pytest.mark.parametrize(("month", "year"), [(5, 2026), ("05", "26"), ("5", 2026), (12, 2099)])
def test_a_card_is_good_to_the_end_of_its_month(month: Any, year: Any) -> None:
    read_card({**GOOD, "expMonth": month, "expYear": year}, today=TODAY)


class TestBehaviour:
    def test_without_changes_it_behaves_well(self) -> None:
        assert behaviour_of({}) == Behaviour()
        assert (Behaviour().slow_ms, Behaviour().webhook_delay_ms, Behaviour().webhook_copies) == (3000, 500, 1)
        assert faults({name: setting.default for name, setting in SETTINGS.items()}) == {}

    def test_every_setting_is_part_of_it(self) -> None:
        assert set(SETTINGS) == set(Behaviour.__dataclass_fields__)
        assert behaviour_of({"failure_rate": 0.25, "latency_ms": 40.0}) == Behaviour(failure_rate=0.25, latency_ms=40)

    def test_what_makes_no_sense_counts_for_nothing(self) -> None:
        assert behaviour_of({"failure_rate": 7, "nonsense": 1, "webhook_copies": 0}) == Behaviour()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("failure_rate", 1.1),
            ("failure_rate", -0.1),
            ("failure_rate", float("nan")),
            ("latency_ms", 0.5),
            ("latency_ms", "many"),
            ("latency_ms", True),
            ("latency_ms", float("inf")),
            ("webhook_copies", 0),
            ("webhook_shuffle", 2),
            ("nonsense", 1),
        ],
    )
    def test_what_cannot_be_is_refused(self, name: str, value: Any) -> None:
        assert list(faults({name: value, "slow_ms": 5})) == [name]

    def test_rates_are_rates(self) -> None:
        """Given one call in four that fails, then it is decided for each call by chance."""
        chances = iter([0.1, 0.3, 0.24, 0.25])
        simulator = PspSimulator("postgresql+psycopg2://nobody@127.0.0.1:1/nothing", chance=lambda: next(chances))
        assert [simulator._happens(0.25) for _ in range(4)] == [True, False, True, False]
        assert not simulator._happens(0)

    def test_times_of_the_book_come_from_its_clock(self) -> None:
        at = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
        simulator = PspSimulator("postgresql+psycopg2://nobody@127.0.0.1:1/nothing", clock=lambda: at)
        charge = Charge(key="k", amount=Decimal(1), currency="EUR", token="tok_async_late")
        call = simulator._planned(charge, TOKENS["tok_async_late"], Behaviour())
        assert call.row["settles_at"] == at + timedelta(seconds=45)
