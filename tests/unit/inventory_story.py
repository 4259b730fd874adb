"""What the tests of the inventory service's rules share: one example of everything, and events told one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from inventory_service.domain import Decision, Rules, decide
from inventory_service.happenings import (
    CommitRequested,
    Happening,
    HoldRequested,
    OrderApproved,
    OrderCancelled,
    OrderCreated,
    OrderFulfilled,
    OrderReturned,
    PaymentFailed,
    PaymentTaken,
    Refunded,
    Rejected,
    ReleaseRequested,
    ReminderDue,
    ReservationExpired,
    Reserved,
)
from inventory_service.shelf import Shelf, totals
from inventory_service.states import Holding, HoldingStatus, Line, Return, Terms

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL, MANUAL_TTL = timedelta(minutes=30), timedelta(minutes=2)
REMINDER, LATER = NOW + timedelta(minutes=5), NOW + TTL
RULES = Rules(reservation_ttl=TTL, manual_payment_ttl=MANUAL_TTL)
ID = UUID(int=1)
TERMS = Terms(user_id="u1", price=Decimal(10), currency="EUR", payment_mode="auto", payment_method=None)
LINES = (Line(item="mug", quantity=2), Line(item="tea", quantity=1))
ONE_MUG = (Line(item="mug", quantity=1),)
CREATED = OrderCreated(order_id=ID, lines=LINES, terms=TERMS)
AWAITS_APPROVAL = replace(CREATED, requires_approval=True)
APPROVED = OrderApproved(order_id=ID, lines=LINES, terms=TERMS)
CANCELLED = OrderCancelled(order_id=ID)
FULFILLED = OrderFulfilled(order_id=ID)
RETURNED = OrderReturned(order_id=ID, return_id=UUID(int=9), lines=ONE_MUG, restock=True)
BROKEN = OrderReturned(order_id=ID, return_id=UUID(int=8), lines=ONE_MUG, restock=False)
TAKEN = PaymentTaken(order_id=ID)
FAILED = PaymentFailed(order_id=ID)
EXPIRED = ReservationExpired(order_id=ID)
REMIND = ReminderDue(order_id=ID)
HOLD = HoldRequested(order_id=ID, lines=LINES)
RELEASE = ReleaseRequested(order_id=ID)
COMMIT = CommitRequested(order_id=ID)
SAGA_EVENTS: tuple[Happening, ...] = (CREATED, APPROVED, CANCELLED, FULFILLED, RETURNED, BROKEN, TAKEN, FAILED)
TIMERS: tuple[Happening, ...] = (EXPIRED, REMIND)
REQUESTS: tuple[Happening, ...] = (HOLD, RELEASE, COMMIT)
EVERY_EVENT = (*SAGA_EVENTS, AWAITS_APPROVAL, *TIMERS, *REQUESTS)
PLENTY = {"mug": 100, "tea": 100}
OPEN = Holding(order_id=ID)
HELD = Holding(
    order_id=ID, status=HoldingStatus.HELD, generation=1, expires_at=LATER, wake_at=REMINDER, lines=LINES, terms=TERMS
)
PAID = replace(HELD, expires_at=None, wake_at=None)
COMMITTED = replace(PAID, status=HoldingStatus.COMMITTED)
MANUAL = replace(HELD, manual=True, wake_at=LATER, terms=None)
CAME_BACK = Return(return_id=RETURNED.return_id, lines=ONE_MUG, restocked=True)


def in_status(status: HoldingStatus, *, manual: bool = False) -> Holding:
    """An order's holding (or a manual hold) as it is in ``status``; what is held may expire now."""
    if status is HoldingStatus.OPEN:
        return replace(OPEN, manual=manual)
    times = {"expires_at": NOW, "wake_at": NOW} if status is HoldingStatus.HELD else _NO_TIMES
    return replace(MANUAL if manual else HELD, status=status, **times)


_NO_TIMES: dict[str, datetime | None] = {"expires_at": None, "wake_at": None}


def name_of(event: Happening) -> str:
    """For the ids of parametrized tests."""
    return type(event).__name__ if event not in (BROKEN, AWAITS_APPROVAL) else f"{type(event).__name__}-other"


def decided(holding: Holding, event: Happening, available: Mapping[str, int] = PLENTY, now: datetime = NOW) -> Decision:
    return decide(holding, event, Shelf(available), now=now, rules=RULES)


class Story:
    """Events one after the other on one shelf; everything that followed from them."""

    def __init__(self, available: Mapping[str, int] = PLENTY, holding: Holding = OPEN) -> None:
        self.shelf, self.holding, self.now = Shelf(available), holding, NOW
        self.decisions: list[Decision] = []

    def tell(self, *events: Happening, now: datetime | None = None) -> Story:
        self.now = now or self.now
        for event in events:
            decision = decide(self.holding, event, self.shelf, now=self.now, rules=RULES)
            self.decisions.append(decision)
            self.holding = decision.holding
        return self

    @property
    def answers(self) -> list[str]:
        return [_word(decision) for decision in self.decisions if decision.answer is not None]

    @property
    def moved(self) -> dict[str, tuple[int, int]]:
        """Item → (on hand, reserved), as the movements say."""
        return totals([m for decision in self.decisions for m in decision.movements])

    @property
    def reserved(self) -> dict[str, int]:
        return {item: reserved for item, (_, reserved) in self.moved.items() if reserved}

    @property
    def on_hand(self) -> dict[str, int]:
        return {item: on_hand for item, (on_hand, _) in self.moved.items() if on_hand}


def _word(decision: Decision) -> str:
    match decision.answer:
        case Reserved():
            return f"reserved {decision.holding.generation}"
        case Rejected(reason=reason) | Refunded(reason=reason):
            return f"{type(decision.answer).__name__.lower()} {reason}"
    return type(decision.answer).__name__.lower()


def _any_of(held: Holding) -> st.SearchStrategy[Holding]:
    return st.one_of(
        st.just(replace(OPEN, manual=held.manual)),
        st.builds(
            replace,
            st.just(replace(held, **_NO_TIMES)),
            status=st.sampled_from([s for s in HoldingStatus if s not in {HoldingStatus.OPEN, HoldingStatus.HELD}]),
            cancelled=st.booleans() if not held.manual else st.just(False),
            generation=st.integers(0, 3),
            returns=st.sampled_from([(), (CAME_BACK,)]),
        ),
        st.builds(lambda at: replace(held, expires_at=at, wake_at=at), st.sampled_from([NOW, LATER, NOW - TTL])),
    )


any_order_holding = st.one_of(
    _any_of(HELD), st.just(PAID), st.just(HELD), st.just(replace(HELD, wake_at=NOW)), st.just(replace(OPEN))
)
any_manual_hold = _any_of(MANUAL)
any_holding = st.one_of(any_order_holding, any_manual_hold)
any_event = st.sampled_from(EVERY_EVENT)
any_saga_event = st.sampled_from((*SAGA_EVENTS, AWAITS_APPROVAL, *TIMERS))
any_shelf = st.fixed_dictionaries({"mug": st.integers(0, 5), "tea": st.integers(0, 3)})
any_hours = st.lists(st.integers(0, 1), min_size=14)
