"""Webhooks: who signed them and when, what may be in them, and what the simulator sends."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payment_service.provider import Approved, Declined, Processing
from payment_service.psp_behaviour import Behaviour
from payment_service.psp_sender import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_after
from payment_service.psp_webhooks import schedule, webhook_rows
from payment_service.webhooks import TOLERANCE_S, WebhookEvent, read_webhook, sign
from shared.errors import InvalidRequest, InvalidSignature

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "shared by two"


def a_body(kind: str = "charge.succeeded", **changes: Any) -> str:
    data = {"key": "k1", "reference": "psp_1", "status": kind.partition(".")[2], "reason": None, **changes}
    return json.dumps({"id": "evt_1", "type": kind, "data": data, "createdAt": "2026-01-01T12:00:00Z"})


def read(body: str, signature: str | None = None, *, after_s: float = 0) -> WebhookEvent:
    signature = sign(body, secret=SECRET, at=NOW) if signature is None else signature
    return read_webhook(body, signature, secret=SECRET, now=NOW + timedelta(seconds=after_s))


class TestSignature:
    def test_it_is_what_the_provider_documents(self) -> None:
        digest = hmac.new(SECRET.encode(), f"{int(NOW.timestamp())}.body".encode(), hashlib.sha256).hexdigest()
        assert sign("body", secret=SECRET, at=NOW) == f"t={int(NOW.timestamp())},v1={digest}"

    def test_what_was_signed_is_read(self) -> None:
        assert read(a_body()) == WebhookEvent(id="evt_1", key="k1", outcome=Approved(reference="psp_1"))

    @pytest.mark.parametrize("after_s", [-TOLERANCE_S, 0, TOLERANCE_S])
    def test_it_is_good_for_a_while(self, after_s: float) -> None:
        read(a_body(), after_s=after_s)

    @pytest.mark.parametrize("after_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1, 1e9])
    def test_it_is_not_good_for_ever(self, after_s: float) -> None:
        with pytest.raises(InvalidSignature, match="300 s"):
            read(a_body(), after_s=after_s)

    def test_it_covers_the_body_and_the_time(self) -> None:
        good = sign(a_body(), secret=SECRET, at=NOW)
        with pytest.raises(InvalidSignature):
            read(a_body(key="k2"), good)
        with pytest.raises(InvalidSignature):
            read(a_body(), good.replace(str(int(NOW.timestamp())), str(int(NOW.timestamp()) + 1)))

    def test_another_secret_signs_nothing(self) -> None:
        with pytest.raises(InvalidSignature):
            read(a_body(), sign(a_body(), secret="another", at=NOW))

    def test_while_the_secret_changes_there_are_several(self) -> None:
        good, other = (sign(a_body(), secret=secret, at=NOW).split(",")[1] for secret in (SECRET, "the next"))
        for both in (f"{good},{other}", f"{other},{good}", f"{other},v0=abc,{good}"):
            read(a_body(), f"t={int(NOW.timestamp())},{both}")

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "nonsense",
            "t=1,v1=",
            "v1=" + "a" * 64,
            "t=,v1=" + "a" * 64,
            "t=now,v1=" + "a" * 64,
            "t=1,t=2,v1=" + "a" * 64,
            "t=" + "9" * 5000 + ",v1=" + "a" * 64,
            "t=1," + ",".join(["v1=" + "a" * 64] * 6),
            "t=1,v1=" + "é" * 64,
            "t=-1,v1=" + "a" * 64,
        ],
    )
    def test_anything_else_is_none(self, signature: str) -> None:
        with pytest.raises(InvalidSignature):
            read(a_body(), signature)

    def test_without_a_secret_nothing_is_signed(self) -> None:
        with pytest.raises(InvalidSignature):
            read_webhook(a_body(), "t=1,v1=" + "a" * 64, secret="", now=NOW)


class TestBody:
    @pytest.mark.parametrize(
        ("kind", "changes", "outcome"),
        [
            ("charge.succeeded", {}, Approved(reference="psp_1")),
            ("charge.failed", {"reason": "card_declined"}, Declined(reason="card_declined")),
            ("charge.processing", {}, Processing(reference="psp_1")),
        ],
    )
    def test_each_type_is_an_outcome(self, kind: str, changes: dict[str, Any], outcome: Any) -> None:
        assert read(a_body(kind, **changes)).outcome == outcome

    def test_whose_key_it_is_is_for_others_to_say(self) -> None:
        assert read(a_body(key="")).key == ""

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "{",
            "[]",
            "null",
            '"text"',
            "{}",
            '{"id": "evt_1", "type": "charge.succeeded", "data": []}',
            a_body("charge.exploded"),
            a_body("charge.failed"),
            a_body(key=7),
            a_body(key="k" * 201),
            a_body(key="k\0"),
            a_body(reference=None),
            "\ud800",
            json.dumps({"id": "evt_1", "type": ["charge.failed"], "data": {"key": "k"}}),
        ],
    )
    def test_what_makes_no_sense_is_refused_though_signed(self, body: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            read(body)
        assert caught.value.details["errors"]

    def test_what_is_too_long_is_not_even_read(self) -> None:
        with pytest.raises(InvalidRequest, match="not a webhook"):
            read(a_body() + " " * 20_000)


CHARGE = {"key": "k1", "reference": "psp_1", "reason": None}


def told(behaviour: Behaviour, reason: str | None = None, *, is_late: bool = False) -> list[tuple[str, int, str]]:
    """(type, milliseconds from the charge, event id) of each webhook in the order they are due."""
    times = schedule(behaviour, is_late=is_late, now=NOW)
    rows = webhook_rows({**CHARGE, "reason": reason}, times.told_at, behaviour, NOW)
    assert all(times.settles_at <= row["due_at"] for row in rows if row["type"] != "charge.processing")
    shown = [(row["type"], round((row["due_at"] - NOW).total_seconds() * 1000), row["event_id"]) for row in rows]
    return sorted(shown, key=lambda row: row[1])


class TestWhatTheSimulatorTells:
    def test_first_that_it_works_on_it_then_the_outcome(self) -> None:
        assert [row[:2] for row in told(Behaviour())] == [("charge.processing", 0), ("charge.succeeded", 500)]

    def test_a_failure_has_its_reason(self) -> None:
        rows = webhook_rows({**CHARGE, "reason": "card_declined"}, NOW, Behaviour(), NOW)
        outcomes = [read(row["body"]).outcome for row in rows]
        assert outcomes == [Processing(reference="psp_1"), Declined(reason="card_declined")]

    def test_late(self) -> None:
        assert told(Behaviour(webhook_delay_ms=60_000))[-1][1] == 60_000
        assert told(Behaviour(), is_late=True)[-1][1] == 45_000
        assert told(Behaviour(late_ms=5000), is_late=True)[-1][1] == 5000

    def test_delayed_webhooks_do_not_delay_the_decision(self) -> None:
        """Given webhooks that are minutes late, then who asks for the outcome has it at once."""
        times = schedule(Behaviour(webhook_delay_ms=120_000), is_late=False, now=NOW)
        assert times.settles_at - NOW == timedelta(milliseconds=500)

    def test_twice_is_the_same_event_twice(self) -> None:
        rows = told(Behaviour(webhook_copies=2))
        assert [row[0] for row in rows] == ["charge.processing"] * 2 + ["charge.succeeded"] * 2
        assert len({row[2] for row in rows}) == 2

    def test_out_of_order(self) -> None:
        rows = told(Behaviour(webhook_shuffle=1, webhook_copies=2))
        assert [row[0] for row in rows] == ["charge.succeeded"] * 2 + ["charge.processing"] * 2

    def test_pauses_grow_up_to_a_limit(self) -> None:
        pauses = [pause_after(tries) for tries in range(1, 40)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
