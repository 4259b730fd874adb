"""Chaos switches without a database: what may be asked for, what a process keeps in hand, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from harness.closed import ClosedDatabase, LetThrough
from harness.people import CUSTOMER, EVERYTHING_BUT_OPERATOR, OPERATOR, SELLER

from shared.chaos import figures
from shared.chaos.kinds import KINDS, LONGEST_S, Where, settings_of
from shared.chaos.memory import FORGET_AFTER_S, ChaosMemory
from shared.chaos.permission import read_chaos_enabled
from shared.chaos.requests import Ground, clear_chaos, list_chaos, read_wish, set_chaos
from shared.chaos.switches import Switch
from shared.config import Source
from shared.errors import ChaosDisabled, Forbidden, InvalidRequest, Misconfigured
from shared.identity import Identity

QUEUE = "payment_service.ORDER_CANCELLED"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD = {"kind": "consumer_error", "target": QUEUE, "amount": 0.5, "note": "why"}
DATABASE: Any = ClosedDatabase()


def ground(*, is_allowed: bool = True, calls_provider: bool = True) -> Ground:
    return Ground(service="payment_service", queues=[QUEUE], calls_provider=calls_provider, is_allowed=is_allowed)


def a_switch(kind: str = "consumer_delay", target: str = QUEUE, amount: float = 1.0, ends_in_s: float = 10) -> Switch:
    return Switch(
        id=UUID(int=1),
        kind=kind,
        target=target,
        amount=amount,
        note="why",
        set_by="root",
        set_at=NOW,
        until=NOW,
        remaining_s=ends_in_s,
    )


class TestWishes:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"amount": 1},
            {"target": "payment_service"},
            {"kind": "relay_pause", "target": "payment_service", "amount": None},
            {"kind": "psp_latency", "target": "psp", "amount": 60_000},
            {"durationS": 0.5},
            {"durationS": LONGEST_S},
            {"until": "2026-01-01T13:00:00+01:00"},
        ],
    )
    def test_good_ones(self, changes: dict[str, Any]) -> None:
        wish = read_wish({**GOOD, **changes}, ground())
        assert (wish.kind, wish.target) == (({**GOOD, **changes})["kind"], ({**GOOD, **changes})["target"])

    @pytest.mark.parametrize(
        ("changes", "wrong"),
        [
            ({"kind": "flood"}, ["kind"]),
            ({"kind": None}, ["kind"]),
            ({"kind": []}, ["kind"]),
            ({"target": "order_service"}, ["target"]),
            ({"target": "payment_service.ORDER_CREATED"}, ["target"]),
            ({"target": "psp"}, ["target"]),
            ({"target": None}, ["target"]),
            ({"target": []}, ["target"]),
            ({"kind": "relay_pause", "amount": None}, ["target"]),
            ({"kind": "relay_pause", "target": "payment_service"}, ["amount"]),
            ({"kind": "psp_failure"}, ["target"]),
            ({"amount": 0}, ["amount"]),
            ({"amount": 1.1}, ["amount"]),
            ({"amount": -1}, ["amount"]),
            ({"amount": True}, ["amount"]),
            ({"amount": "1"}, ["amount"]),
            ({"amount": None}, ["amount"]),
            ({"amount": float("nan")}, ["amount"]),
            ({"kind": "consumer_delay", "amount": 60_001}, ["amount"]),
            ({"note": ""}, ["note"]),
            ({"note": "  "}, ["note"]),
            ({"note": None}, ["note"]),
            ({"note": "a\x00b"}, ["note"]),
            ({"note": "\ud800"}, ["note"]),
            ({"note": "x" * 501}, ["note"]),
            ({"durationS": 0}, ["durationS"]),
            ({"durationS": LONGEST_S + 1}, ["durationS"]),
            ({"durationS": "5"}, ["durationS"]),
            ({"durationS": float("nan")}, ["durationS"]),
            ({"until": "tomorrow"}, ["until"]),
            ({"until": "2026-01-01T12:00:00"}, ["until"]),
            ({"until": 5}, ["until"]),
            ({"until": "0001-01-01T00:00:00+14:00"}, ["until"]),
            ({"until": "2026-01-01T12:00:00Z", "durationS": 1}, ["until"]),
            ({"amount": 7, "note": "", "target": ""}, ["target", "amount", "note"]),
        ],
    )
    def test_wrong_ones(self, changes: dict[str, Any], wrong: list[str]) -> None:
        with pytest.raises(InvalidRequest) as refused:
            read_wish({**GOOD, **changes}, ground())
        assert list(refused.value.details["errors"]) == wrong

    @pytest.mark.parametrize("wanted", [None, [], "consumer_error", 1])
    def test_what_is_no_object(self, wanted: Any) -> None:
        with pytest.raises(InvalidRequest):
            read_wish(wanted, ground())

    def test_only_who_calls_the_provider_troubles_it(self) -> None:
        wanted = {**GOOD, "kind": "psp_failure", "target": "psp"}
        read_wish(wanted, ground())
        with pytest.raises(InvalidRequest):
            read_wish(wanted, ground(calls_provider=False))


class TestWhoMay:
    @pytest.mark.parametrize("caller", [CUSTOMER, SELLER, EVERYTHING_BUT_OPERATOR])
    def test_nobody_but_operators(self, caller: Identity) -> None:
        for ask in (
            lambda: list_chaos(DATABASE, caller),
            lambda: set_chaos(DATABASE, caller, ground(), GOOD, None),
            lambda: clear_chaos(DATABASE, caller, None, None),
        ):
            with pytest.raises(Forbidden):
                ask()

    def test_nobody_where_it_is_disabled_but_ending_it_is_allowed(self) -> None:
        with pytest.raises(ChaosDisabled):
            set_chaos(DATABASE, OPERATOR, ground(is_allowed=False), GOOD, None)
        with pytest.raises(LetThrough):
            clear_chaos(DATABASE, OPERATOR, None, None)

    @pytest.mark.parametrize("switch_id", [7, "7", [], "x" * 36])
    def test_an_id_is_an_id(self, switch_id: Any) -> None:
        with pytest.raises(InvalidRequest):
            clear_chaos(DATABASE, OPERATOR, switch_id, None)

    @pytest.mark.parametrize(
        ("values", "is_enabled"),
        [
            ({}, False),
            ({"ORDERSAGA_MODE": "production"}, False),
            ({"ORDERSAGA_MODE": "development"}, True),
            ({"ORDERSAGA_MODE": "development", "CHAOS_ENABLED": "off"}, False),
            ({"ORDERSAGA_MODE": "production", "CHAOS_ENABLED": "on"}, True),
        ],
    )
    def test_the_setting(self, values: dict[str, str], is_enabled: bool) -> None:
        assert read_chaos_enabled(Source(values=values)) is is_enabled

    def test_a_wrong_setting(self) -> None:
        with pytest.raises(Misconfigured, match="CHAOS_ENABLED"):
            read_chaos_enabled(Source(values={"CHAOS_ENABLED": "yes"}))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class TestMemory:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def memory(self, clock: Clock) -> ChaosMemory:
        return ChaosMemory(clock)

    def test_nothing_is_on_at_first(self, memory: ChaosMemory) -> None:
        assert (memory.is_on, memory.switches(), memory.marks()) == (False, [], [])

    def test_ends_by_itself_even_before_the_next_tick(self, memory: ChaosMemory, clock: Clock) -> None:
        memory.learn([a_switch(ends_in_s=10)])
        clock.now += 9.9
        assert memory.amounts(QUEUE) == {"consumer_delay": 1.0}
        clock.now += 0.2
        assert (memory.amounts(QUEUE), memory.marks()) == ({}, [])
        memory.tick()
        assert not memory.is_on

    def test_what_is_not_read_any_more_is_off(self, memory: ChaosMemory) -> None:
        memory.learn([a_switch()])
        memory.learn([])
        assert not memory.is_on

    def test_is_forgotten_when_nobody_can_be_asked(self, memory: ChaosMemory, clock: Clock) -> None:
        """Given a database that is away, then a switch holds for a while, and not until its end an hour later."""
        memory.learn([a_switch(ends_in_s=3600)])
        clock.now += FORGET_AFTER_S
        memory.tick()
        assert memory.is_on
        clock.now += 1
        memory.tick()
        assert not memory.is_on

    def test_the_larger_of_two_counts_for_those_that_are_meant(self, memory: ChaosMemory) -> None:
        memory.learn([a_switch(amount=1), a_switch(target="payment_service", amount=2), a_switch(target="x", amount=9)])
        assert memory.amounts("payment_service", QUEUE) == {"consumer_delay": 2}
        assert memory.amounts(QUEUE) == {"consumer_delay": 1}

    def test_the_figure_goes_with_it(self, memory: ChaosMemory) -> None:
        def shown() -> set[str]:
            samples = [sample for metric in figures.ACTIVE.collect() for sample in metric.samples]
            return {s.labels["target"] for s in samples if s.labels["kind"] == "relay_pause"}

        here, there = a_switch("relay_pause", "here"), a_switch("relay_pause", "there")
        memory.learn([here, there])
        assert shown() == {"here", "there"}
        memory.learn([here])
        assert shown() == {"here"}
        memory.learn([])
        assert shown() == set()


def test_every_kind_of_the_provider_is_a_setting_of_it() -> None:
    about_it = {name: 1.0 for name, kind in KINDS.items() if kind.where is Where.PROVIDER}
    assert set(settings_of({**about_it, "consumer_delay": 5.0})) == {
        "failure_rate",
        "latency_ms",
        "hang_rate",
        "lost_answer_rate",
        "decline_rate",
    }
