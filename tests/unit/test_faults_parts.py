"""The fault campaign's own parts: what it takes for a violation, and what it takes for growth."""

from __future__ import annotations

import random

from tests.faults.catalogue import ARENAS, FAULTS, QUICK
from tests.faults.deliveries import Growing
from tests.faults.evidence import named_orders
from tests.faults.injected.ordersaga_injected.seeded_errors import ERRORS
from tests.faults.ledger import Ledger
from tests.faults.letters import ExpectedLetters
from tests.faults.seeding import QUICK as QUICK_ERRORS
from tests.faults.seeding import SEEDED
from tests.faults.soak_verdict import AGE, SLACK, trends
from tests.faults.wishes import Shelf, another_body, next_wish
from tests.harness.broker import DeadLetter

SHELF = Shelf(hot=["hot-1", "hot-2"], plenty=["plenty-1", "plenty-2"])


class Properties:
    message_id = "m"


def _letter(body: bytes) -> DeadLetter:
    return DeadLetter(body=body, headers={"x-error": "why"}, properties=Properties())


def test_names_are_unique_and_known() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)
    assert {fault.arena for fault in FAULTS} <= set(ARENAS)


def test_each_seeded_error_has_a_fault_that_shows_it() -> None:
    assert {error.name for error in SEEDED} == set(ERRORS)
    assert {error.fault for error in SEEDED} <= {fault.name for fault in FAULTS}
    assert set(QUICK_ERRORS) <= set(ERRORS)


def test_one_key_answered_with_two_orders_is_a_complaint() -> None:
    ledger = Ledger()
    ledger.accept("k", "order-1")
    ledger.accept("k", "order-1")
    assert ledger.wrong == []
    ledger.accept("k", "order-2")
    assert len(ledger.wrong) == 1


def test_poison_that_lies_where_it_should_is_no_complaint_even_twice() -> None:
    letters = ExpectedLetters()
    letters.allow("q", b"poison")
    letters.expect("q", b"poison")
    assert list(letters.complaints({"q.dead": [_letter(b"poison"), _letter(b"poison")]})) == []


def test_poison_that_is_gone_and_letters_that_nobody_sent_are_complaints() -> None:
    letters = ExpectedLetters()
    letters.allow("q", b"poison")
    letters.expect("q", b"poison")
    [gone, strange] = letters.complaints({"q.dead": [_letter(b"an order")]})
    assert "poison is gone" in gone
    assert "nobody sent on purpose: why" in strange


def test_poison_of_which_it_is_unknown_whether_it_was_sent_may_be_there_or_not() -> None:
    letters = ExpectedLetters()
    letters.allow("q", b"poison")
    assert list(letters.complaints({})) == []
    assert list(letters.complaints({"q.dead": [_letter(b"poison")]})) == []


def test_counters_that_begin_anew_are_added_up() -> None:
    counted = Growing()
    for value in (3, 10, 2, 5):
        counted.see("q", "ack", value)
    assert counted.of("ack") == {"q": 15}


def test_orders_named_in_complaints_are_found_once() -> None:
    id_ = "01a2159d-a2ab-74db-ad7a-2b543a147f28"
    assert named_orders([f"2 orders: {id_} CANCELLED", f"again {id_}"]) == [id_]


def test_the_same_seed_wishes_for_the_same() -> None:
    def wishes(seed: int) -> list[object]:
        chance = random.Random(seed)  # noqa: S311 - nothing secret
        return [next_wish(chance, SHELF) for _ in range(200)]

    assert wishes(1) == wishes(1)
    assert wishes(1) != wishes(2)


def test_another_body_differs() -> None:
    wish = next_wish(random.Random(1), SHELF)  # noqa: S311 - nothing secret
    assert another_body(wish.body) != wish.body


def _course(values: list[float]) -> list[tuple[float, float]]:
    return [(float(at), value) for at, value in enumerate(values)]


def test_what_rises_in_the_last_quarter_is_growing_and_what_rose_at_first_is_not() -> None:
    climbing = [100.0 + 3 * minute for minute in range(60)]
    warming_up = [50.0] * 10 + [120.0] * 50
    found = trends({("a", "rss_mb"): _course(climbing), ("b", "rss_mb"): _course(warming_up)}, took_s=60)
    assert {trend.of: trend.is_growing for trend in found} == {"a": True, "b": False}


def test_a_process_that_was_killed_is_judged_by_what_it_needs_when_it_is_warm() -> None:
    """Given two that need more for a quarter of an hour after each start, one of which then goes on rising."""
    ages = [*range(10), *range(50)]
    samples = {
        ("flat", "rss_mb"): _course([150.0 + 10 * min(age, 15) for age in ages]),
        ("leaks", "rss_mb"): _course([150.0 + 10 * age for age in ages]),
        ("dies every ten minutes", "rss_mb"): _course([150.0 + 10 * (at % 10) for at in range(60)]),
        ("leaks on disk", "rss_mb"): _course([150.0 + 10 * (at % 10) + 3 * at for at in range(60)]),
        **{(of, AGE): _course([float(age) for age in ages]) for of in ("flat", "leaks")},
        **{
            (of, AGE): _course([float(at % 10) for at in range(60)])
            for of in ("dies every ten minutes", "leaks on disk")
        },
    }
    found = {trend.of: trend.is_growing for trend in trends(samples, took_s=60)}
    assert found == {"flat": False, "leaks": True, "dies every ten minutes": False, "leaks on disk": True}


def test_every_figure_but_rows_is_judged() -> None:
    kinds = {"rss_mb", "files", "threads", "connections", "channels", "queues", "messages", "sessions", "dead_rows"}
    assert kinds < set(SLACK)
    assert trends({("orders", "rows"): _course([1.0] * 60)}, took_s=60) == []
