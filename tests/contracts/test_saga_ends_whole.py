"""Every order ends whole, whatever the order of events: the rules of all services played against a bad network."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saga_world import CHOREOGRAPHY, Scenario, World

scenarios = st.builds(
    Scenario,
    stock=st.sampled_from([0, 2, 3, 100]),
    ttl_s=st.sampled_from([60, 1200]),
    quantities=st.sampled_from([(2,), (2, 1), (1, 1, 2)]),
    payment_mode=st.sampled_from(["auto", "auto", "manual"]),
    card_is_refused=st.booleans(),
    provider_is_flaky=st.booleans(),
    clock_jumps=st.booleans(),
    impatient=st.booleans(),
    orders_are_known=st.sampled_from([True, True, True, False]),
)
seeds = st.integers(0, 2**32)


def played(scenario: Scenario, seed: int) -> World:
    world = World(scenario, seed)
    world.run()
    return world


def outcome(scenario: Scenario, seed: int = 1) -> Any:
    """The one order of a scenario when everything came to rest."""
    world = played(scenario, seed)
    (order,) = world.orders.known.values()
    return order


@settings(max_examples=300, deadline=None)
@given(scenario=scenarios, seed=seeds)
def test_every_order_ends_whole(scenario: Scenario, seed: int) -> None:
    world = played(scenario, seed)

    for order in world.orders.known.values():
        holding, payment = world.inventory.holdings[order.id], world.payments.known[order.id]
        if order.status == "CONFIRMED":
            assert (holding.status, holding.expires_at, payment.status) == ("HELD", None, "SUCCEEDED")
            assert (order.stock, order.money) == ("HELD", "TAKEN")
        else:
            assert order.status == "CANCELLED"
            assert order.settled_at is not None
            assert holding.status in {"RELEASED", "REJECTED"}
            assert payment.status in {"FAILED", "CANCELLED", "REFUNDED"}


@settings(max_examples=200, deadline=None)
@given(scenario=scenarios, seed=seeds)
def test_no_money_and_no_unit_is_created_or_lost(scenario: Scenario, seed: int) -> None:
    world = played(scenario, seed)

    confirmed = [o for o in world.orders.known.values() if o.status == "CONFIRMED"]
    assert world.bank.taken() == sum((order.price for order in confirmed), Decimal(0))
    held = [h for h in world.inventory.holdings.values() if h.status == "HELD"]
    assert {h.order_id for h in held} == {o.id for o in confirmed}
    ledger: Counter[str] = Counter()
    for entry in world.payments.entries:
        ledger[entry["account"]] += entry["amount"]
    assert sum(ledger.values()) == 0
    assert ledger["psp_receivable"] == world.bank.taken()


@settings(max_examples=200, deadline=None)
@given(scenario=scenarios, seed=seeds)
def test_the_last_word_on_an_order_is_said_once(scenario: Scenario, seed: int) -> None:
    world = played(scenario, seed)

    for order in world.orders.known.values():
        is_cancelled = order.status == "CANCELLED"
        assert len(world.events("ORDER_CANCELLED", order.id)) == is_cancelled
        assert len(world.events("PAYMENT_SUCCESS", order.id)) <= 1
        said_no = world.events("PAYMENT_FAILED", order.id) + world.events("PAYMENT_CANCELLED", order.id)
        assert len(said_no) <= 1
        steps = [row["status"] for row in world.orders.history if row["order_id"] == order.id]
        assert len(steps) == len(set(steps))
        assert steps[-1] == order.status
        generations = [e.payload["generation"] for e in world.events("INVENTORY_RESERVED", order.id)]
        assert generations == list(range(1, len(generations) + 1))


@settings(max_examples=200, deadline=None)
@given(scenario=scenarios, seed=seeds)
def test_stock_is_given_back_once_per_generation(scenario: Scenario, seed: int) -> None:
    world = played(scenario, seed)

    moved: Counter[Any] = Counter()
    for row in world.inventory.movements:
        moved[row["order_id"], row["generation"], row["item"], row["delta_reserved"] > 0] += 1
    assert set(moved.values()) <= {1}
    assert {key[:3] for key in moved if not key[3]} <= {key[:3] for key in moved if key[3]}


@settings(max_examples=200, deadline=None)
@given(scenario=scenarios, seed=seeds, refunds_are_refused=st.booleans())
def test_only_declared_answers_are_given(scenario: Scenario, seed: int, refunds_are_refused: bool) -> None:
    world = World(Scenario(**{**vars(scenario), "refunds_are_refused": refunds_are_refused}), seed)
    world.run()

    assert given_answers(world) <= declared_answers()


def declared_answers() -> set[tuple[str, str, str]]:
    """(service, event, answer)."""
    return {
        (consumer.service, event.type, answer)
        for event in CHOREOGRAPHY.events.values()
        for consumer in event.consumers
        for answer in consumer.answers
    }


def given_answers(world: World) -> set[tuple[str, str, str]]:
    types = {event.envelope.event_id: event.envelope.type for event in world.published}
    return {
        (event.envelope.source, types[event.envelope.causation_id], event.envelope.type)
        for event in world.published
        if event.envelope.causation_id in types
    }


def test_every_declared_answer_can_really_be_given() -> None:
    seen: set[tuple[str, str, str]] = set()
    for seed in range(60):
        for scenario in (
            Scenario(clock_jumps=True, ttl_s=60, stock=2, quantities=(2,) * 6),
            Scenario(provider_is_flaky=True, clock_jumps=True, impatient=True),
            Scenario(refunds_are_refused=True, impatient=True),
            Scenario(card_is_refused=True),
            Scenario(payment_mode="manual"),
            Scenario(orders_are_known=False),
        ):
            seen |= given_answers(played(scenario, seed))

    # Nobody refunds a confirmed order yet.
    by_hand_only = {("order_service", "PAYMENT_REFUNDED", "ORDER_CANCELLED")}
    assert declared_answers() - seen == by_hand_only


def test_a_refused_refund_leaves_the_cancelled_order_unsettled() -> None:
    scenario = Scenario(refunds_are_refused=True, impatient=True, clock_jumps=True)
    worlds = [played(scenario, seed) for seed in range(60)]

    refused = [w for w in worlds if any(e.envelope.type == "PAYMENT_REFUND_FAILED" for e in w.published)]
    assert refused
    for world in refused:
        (order,) = world.orders.known.values()
        assert (order.status, order.money, order.settled_at) == ("CANCELLED", "TAKEN", None)


class TestUnhurriedScenariosEndTheSameInEveryOrder:
    """Nothing expires and nobody cancels: then the order of events must not matter at all."""

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds)
    def test_happy_path(self, seed: int) -> None:
        order = outcome(Scenario(), seed)
        assert (order.status, order.stock, order.money) == ("CONFIRMED", "HELD", "TAKEN")

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds)
    def test_declined(self, seed: int) -> None:
        order = outcome(Scenario(card_is_refused=True), seed)
        assert (order.status, order.reason, order.stock, order.money) == (
            "CANCELLED",
            "payment_failed",
            "FREE",
            "NOT_TAKEN",
        )

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds)
    def test_out_of_stock(self, seed: int) -> None:
        order = outcome(Scenario(stock=1), seed)
        assert (order.status, order.reason, order.stock, order.money) == (
            "CANCELLED",
            "out_of_stock",
            "FREE",
            "NOT_TAKEN",
        )

    @settings(max_examples=50, deadline=None)
    @given(seed=seeds)
    def test_abandoned_by_a_customer_who_pays_by_hand(self, seed: int) -> None:
        order = outcome(Scenario(payment_mode="manual"), seed)
        assert (order.status, order.reason, order.money) == ("CANCELLED", "reservation_expired", "NOT_TAKEN")


@pytest.mark.parametrize("orders_are_known", [True, False])
def test_an_order_nobody_placed_holds_nothing_and_costs_nothing(orders_are_known: bool) -> None:
    for seed in range(30):
        world = played(Scenario(orders_are_known=orders_are_known), seed)

        kept = {"mug": 2, "tea": 1} if orders_are_known else {"mug": 0, "tea": 0}
        assert world.inventory.reserved == kept
        assert world.bank.taken() == (30 if orders_are_known else 0)
