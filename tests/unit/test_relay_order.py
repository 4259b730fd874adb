"""In which order rows may leave an outbox, when the log tells of them and the table is read beside it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.relaying.order import RowsInHand

WINDOW = 3
AGGREGATES = "ab"


@dataclass(frozen=True)
class Row:
    id: int
    aggregate_id: str


def rows(*described: str) -> list[Row]:
    """``a1``: row 1 of aggregate a."""
    return [Row(id=int(text[1:]), aggregate_id=text[0]) for text in described]


def told(found: list[Row]) -> list[str]:
    return [f"{row.aggregate_id}{row.id}" for row in found]


class TestAWindow:
    def test_has_one_row_of_each_aggregate_the_lowest_first(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.add_changes(rows("a5", "b3", "a2", "c9"))
        assert told(hand.window(10)) == ["a2", "b3", "c9"]
        hand.settled([2, 3, 9], [])
        assert told(hand.window(10)) == ["a5"]
        hand.settled([5], [])
        assert hand.is_empty

    def test_has_no_more_than_it_may(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.add_changes(rows("a1", "b2", "c3"))
        assert told(hand.window(2)) == ["a1", "b2"]

    def test_has_a_row_once_however_often_it_was_told(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.add_read(rows("a1"))
        hand.add_changes(rows("a1", "a1", "b2"))
        assert told(hand.window(10)) == ["a1", "b2"]
        hand.settled([1, 2], [])
        assert hand.is_empty


class TestARefusedRow:
    def test_takes_what_is_behind_it_out_of_the_hand(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.add_changes(rows("a1", "a3", "b2", "b4"))
        hand.window(10)
        hand.settled([2], [1])
        assert told(hand.window(10)) == ["b4"]
        assert hand.held == {"a"}

    def test_keeps_changes_of_its_aggregate_away(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.hold("a")
        hand.add_changes(rows("a1", "b2"))
        assert told(hand.window(10)) == ["b2"]

    def test_goes_again_when_it_is_read_from_the_table(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.hold("a")
        hand.add_read(rows("a1", "a3"))
        assert told(hand.window(10)) == ["a1"]
        hand.settled([1], [])
        assert told(hand.window(10)) == ["a3"]
        assert hand.held == {"a"}, "nobody has looked yet whether there is more"

    def test_is_over_when_nothing_of_its_aggregate_waits(self) -> None:
        hand: RowsInHand[Row] = RowsInHand()
        hand.hold("ab")
        hand.free_all_but("bc")
        assert hand.held == {"b"}


@dataclass
class World:
    """A table, a log that tells of its rows once and in order, and a relay that uses both as ChangeSource does."""

    table: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    published: set[int] = field(default_factory=set)
    parked: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    sent: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    hand: RowsInHand[Row] = field(default_factory=RowsInHand)

    def record(self, aggregate: str) -> None:
        row = Row(id=len(self.table) + 1, aggregate_id=aggregate)
        self.table.append(row)
        self.log.append(row)

    def unpublished(self, row: Row) -> bool:
        return row.id not in self.published

    def read(self) -> list[Row]:
        """As READ_UNPUBLISHED does: not what is parked until later, nor what is behind it."""
        behind = {r.aggregate_id: r.id for r in reversed(self.table) if r.id in self.waiting}
        last = len(self.table)
        return [r for r in self.table if self.unpublished(r) and r.id < behind.get(r.aggregate_id, last + 1)]

    def publish(self, refused: set[str]) -> None:
        """Until the hand is empty; the broker refuses what is of the aggregates ``refused``."""
        while window := self.hand.window(WINDOW):
            good = [row for row in window if row.aggregate_id not in refused]
            bad = [row for row in window if row.aggregate_id in refused]
            for row in good:
                self.sent[row.aggregate_id].append(row.id)
            self.published |= {row.id for row in good}
            self.parked = (self.parked - self.published) | {row.id for row in bad}
            self.waiting = (self.waiting - self.published) | {row.id for row in bad}
            self.hand.settled([row.id for row in good], [row.id for row in bad])

    def take_changes(self, count: int, refused: set[str]) -> None:
        batch, self.log = self.log[:count], self.log[count:]
        self.hand.add_changes(filter(self.unpublished, batch))
        self.publish(refused)

    def read_held(self, refused: set[str]) -> None:
        self.hand.free_all_but([row.aggregate_id for row in self.table if self.unpublished(row)])
        self.hand.add_read([row for row in self.read() if row.aggregate_id in self.hand.held])
        self.publish(refused)

    def sweep(self, refused: set[str]) -> None:
        self.hand.add_read(self.read())
        self.publish(refused)

    def start_anew(self, refused: set[str]) -> None:
        self.hand = RowsInHand()
        self.sweep(refused)
        self.hand.hold(row.aggregate_id for row in self.table if row.id in self.parked)

    def let_time_pass(self) -> None:
        """Whatever is parked may go again; it counts as parked until it is published."""
        self.waiting.clear()


REFUSED = st.sets(st.sampled_from(AGGREGATES), max_size=1)
STEPS = st.one_of(
    st.tuples(st.just("record"), st.sampled_from(AGGREGATES)),
    st.tuples(st.just("let_time_pass")),
    st.tuples(st.just("take_changes"), st.integers(1, 4), REFUSED),
    st.tuples(st.sampled_from(["read_held", "sweep", "start_anew"]), REFUSED),
)


@settings(max_examples=400)
@given(steps=st.lists(STEPS, max_size=30))
def test_nothing_overtakes_and_all_arrives(steps: list[tuple[str, object]]) -> None:
    """Given any sequence of changes, reads, refusals and restarts, then each aggregate's rows leave in their order."""
    world = World()
    for name, *arguments in steps:
        getattr(world, name)(*arguments)
    world.let_time_pass()
    world.take_changes(len(world.log), set())
    for _ in range(2):
        world.read_held(set())
    recorded = {a: [row.id for row in world.table if row.aggregate_id == a] for a in world.sent}
    assert world.sent == recorded
    assert world.published == {row.id for row in world.table}
