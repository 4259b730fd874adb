"""Owns: change data capture that stands still for minutes: what finance reads meanwhile, and how it catches up.

Must not know: how a rehearsal is run, how a connector works.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.change_data import send_command
from ops.errors import StackError
from ops.rehearsals.figures import Figure, samples_of
from ops.rehearsals.options import Option, Options
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from shared.change_data.captured import CAPTURED

_USUAL_STALE_S = 60.0
_NEEDED = ("order_cdc", "payment_cdc", "finance_service", "finance_feed")
_PRICE = Decimal("10.00")
_CURRENCY = "EUR"
# A heartbeat is a second old, and the figures are remembered for two.
_FRESH_S = 10.0
_SAMPLES = 6
_HEADINGS = (
    "paused for",
    "view of payments is",
    "said to be stale",
    "lag by metric",
    "unread log",
    "missing in the view",
)


def settings(options: Options) -> Mapping[str, str]:
    """A short pause is to be called stale, too."""
    stale_s = min(_USUAL_STALE_S, options.number("pause") / 3)
    return {} if stale_s == _USUAL_STALE_S else {"FINANCE_STALE_AFTER_S": f"{stale_s:g}"}


def play(play: Play) -> Conclusion:
    _refuse_without(play)
    pause_s, orders = play.options.number("pause"), play.options.whole("orders")
    play.patience_s = max(play.patience_s, 180.0)
    item = play.product(on_hand=2 * orders)
    _ordered(play, item, orders)
    play.until(lambda: _view(play).is_caught_up, "finance and ledger agree")
    before = _view(play)
    play.expect("finance and ledger, before", "agrees", before.verdict)
    with _connectors_paused(play):
        _ordered(play, item, orders)
        samples = _watched(play, pause_s)
    worst = samples[-1]
    _expect_stale(play, worst, pause_s, _PRICE * orders)
    caught_up_s = _caught_up(play)
    view = _view(play)
    play.expect("finance and ledger, afterwards", "agrees", view.verdict)
    play.expect("orders whose money does not fit, more than before", 0, max(0, view.differing - before.differing))
    play.facts |= {
        "pausedS": pause_s,
        "oldestViewS": round(worst.age_s),
        "missing": str(worst.missing),
        "caughtUpS": round(caught_up_s, 1),
    }
    return harmless(
        f"for {pause_s:g} s finance read figures up to {worst.age_s:.0f} s old, {worst.missing} {_CURRENCY} too low, "
        f"and said so; {caught_up_s:.0f} s after the pause the view was whole again, nothing lost or counted twice"
    )


def _refuse_without(play: Play) -> None:
    running = {process.name for process in play.stage.stack.processes() if process.pid}
    missing = [name for name in _NEEDED if name not in running]
    if missing:
        raise StackError(f"{', '.join(missing)} does not run here", hint="`make cdc`, then `ordersaga up --cdc`")


def _ordered(play: Play, item: str, orders: int) -> None:
    for order_id in [play.place(item) for _ in range(orders)]:
        play.ended(order_id)
    play.step(f"{orders} orders are paid: {_PRICE * orders} {_CURRENCY}")


@dataclass(frozen=True, kw_only=True)
class View:
    """What GET /admin/finance says of payments, and of itself."""

    document: Mapping[str, Any] = field(repr=False)

    @property
    def _payments(self) -> Mapping[str, Any]:
        [source] = [one for one in self.document["sources"] if one["database"] == "payment"]
        return dict(source)

    @property
    def age_s(self) -> float:
        """Infinite while nothing is known."""
        age = self._payments["ageS"]
        return float("inf") if age is None else float(age)

    @property
    def is_stale(self) -> bool:
        return bool(self._payments["isStale"])

    @property
    def verdict(self) -> str:
        """Of the comparison with the ledger: agrees, behind, differs, unknown."""
        return str(self.document["reconciliation"]["verdict"])

    @property
    def missing(self) -> Decimal:
        """What the ledger has captured and the view does not know of."""
        lines = self.document["reconciliation"]["lines"]
        found = [Decimal(line["missing"]["captured"]) for line in lines if line["currency"] == _CURRENCY]
        return sum(found, Decimal("0.00"))

    @property
    def differing(self) -> int:
        """Orders of which the view knows for certain that money and order do not fit."""
        return int(self.document["differences"]["certain"])

    @property
    def is_caught_up(self) -> bool:
        return self.verdict == "agrees" and self.age_s < _FRESH_S


def _view(play: Play) -> View:
    return View(document=play.get("/admin/finance?limit=1"))


@contextmanager
def _connectors_paused(play: Play) -> Iterator[None]:
    """As `ordersaga cdc pause` and `resume` do it; resumed whatever happens."""
    try:
        _told(play, "pause")
        play.until(lambda: _paused(play) == len(CAPTURED), "both connectors stand still")
        play.step("ordersaga cdc pause: both connectors stand still; PostgreSQL keeps the log for them")
        yield
    finally:
        _told(play, "resume")
        play.step("ordersaga cdc resume")


def _told(play: Play, command: str) -> None:
    for captured in CAPTURED.values():
        send_command(play.environment["AMQP_URI"], captured, command)


def _paused(play: Play) -> int:
    figure = Figure(name="ordersaga_cdc_paused")
    return int(sum(figure.of(samples_of(play.stage.stack, captured.slot)) for captured in CAPTURED.values()))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look while the connectors stand still. ``lag_s`` and ``lag_bytes``: as the connector's figures have it."""

    after_s: float
    age_s: float
    is_stale: bool
    missing: Decimal
    lag_s: float
    lag_bytes: float


def _watched(play: Play, pause_s: float) -> list[Sample]:
    """The pause, looked at from time to time; the last look is at its end."""
    began_s = time.monotonic()
    samples = []
    for number in range(1, _SAMPLES + 1):
        due_s = pause_s * number / _SAMPLES
        play.wait(max(0.0, began_s + due_s - time.monotonic()), "the connectors stand still")
        samples.append(_look(play, time.monotonic() - began_s))
        latest = samples[-1]
        play.step(f"the view is {latest.age_s:.0f} s old, {latest.missing} {_CURRENCY} are missing in it")
    rows = [
        (
            f"{one.after_s:.0f} s",
            f"{one.age_s:.0f} s old",
            "yes" if one.is_stale else "no",
            f"{one.lag_s:.0f} s",
            f"{one.lag_bytes / 1024:.0f} kB",
            f"{one.missing} {_CURRENCY}",
        )
        for one in samples
    ]
    play.grid("while change data capture stands still", _HEADINGS, rows)
    return samples


def _look(play: Play, after_s: float) -> Sample:
    view, figures = _view(play), samples_of(play.stage.stack, CAPTURED["payment"].slot)
    return Sample(
        after_s=after_s,
        age_s=view.age_s,
        is_stale=view.is_stale,
        missing=view.missing,
        lag_s=Figure(name="ordersaga_cdc_lag_seconds", is_gauge=True).of(figures),
        lag_bytes=Figure(name="ordersaga_cdc_lag_bytes", is_gauge=True).of(figures),
    )


def _expect_stale(play: Play, worst: Sample, pause_s: float, unseen: Decimal) -> None:
    play.expect("missing in the view at the end", unseen, worst.missing)
    play.expect("it says that it is stale", True, worst.is_stale)
    is_old = worst.age_s >= pause_s
    play.expect(f"its age, at least {pause_s:g} s", "yes", "yes" if is_old else f"no, {worst.age_s:.0f} s")
    shows = worst.lag_s >= pause_s / 2 and worst.lag_bytes > 0
    play.expect("the lag shows in the connector's figures", "yes", "yes" if shows else f"no: {worst}")


def _caught_up(play: Play) -> float:
    began_s = time.monotonic()
    play.until(lambda: _view(play).is_caught_up, "the view has caught up")
    took_s = time.monotonic() - began_s
    play.step("the view has caught up: it says what the ledger says")
    return took_s


REHEARSAL = Rehearsal(
    name="reconciliation_lag",
    what="Change data capture stands still for minutes while orders go on; finance reads what it knew before.",
    why="A figure that is old and does not say so is a wrong figure; and while a reader stands still, the log grows.",
    watch=(
        Place(
            where="dashboard",
            what="/admin/finance: as of, the warning when it is stale, the comparison with the ledger",
        ),
        Place(where="UI, Queues", what="cdc.changes (a stream): nothing comes in; cdc.payment.commands"),
        Place(where="command", what="ordersaga cdc status: paused, behind, unread, kept"),
        Place(
            where="figures",
            what="ordersaga_cdc_lag_seconds, …_lag_bytes, ordersaga_finance_staleness_seconds",
        ),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    options=(
        Option(
            name="pause", usual=300, short=15, least=5, most=3600, meaning="Seconds that the connectors stand still."
        ),
        Option(
            name="orders", usual=10, short=3, least=1, most=500, meaning="Orders before, and meanwhile.", is_whole=True
        ),
    ),
    settings=settings,
    figures=(
        Figure(name="ordersaga_cdc_changes_total"),
        Figure(name="ordersaga_finance_changes_total"),
        Figure(name="ordersaga_finance_losses_total"),
        Figure(name="ordersaga_finance_staleness_seconds", labels={"database": "payment"}, is_gauge=True),
    ),
)
