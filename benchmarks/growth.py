"""Phase ``growth``: the same load on empty tables and on full ones, side by side.

Owns: growth_ratio. Must not know: how tables are filled.

Two stacks of the same kind stand side by side, one of them with finished orders in its tables; they are measured in
turn, so that whatever else the machine does in these minutes happens to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import saga
from benchmarks.bench import ALL, SETTLE_S, Bench, CannotMeasure, Measured, open_bench, per_order_ms
from benchmarks.orders import BATCH, place_in_bulk
from benchmarks.preload import Preload
from benchmarks.preload.preload import session
from ops.invariants import open_work, violations
from ops.people import NO_LIMITS
from ops.stack import Stack
from ops.waiting import holds_within

TEMPLATE = 500
"""Orders that are really placed, paid and shipped, and then copied."""
_SHIPPERS = 16
_WORTH_A_STOP = 1_000


def measure(bench: Bench) -> Measured:
    folder = bench.stack.folder
    stack = Stack(folder.with_name(f"{folder.name}-grown"), report=bench.say)
    stack.up(settings=NO_LIMITS)
    try:
        with open_bench(stack, bench.sizes, bench.chance, bench.say) as grown:
            return _measure(bench, grown)
    finally:
        stack.down(delete_data=True)


def _measure(bench: Bench, grown: Bench) -> Measured:
    most = bench.sizes.grown // TEMPLATE
    _finish_orders(grown, TEMPLATE)
    preload = Preload(grown.environment, most=most)
    preload.prepare()
    steps = [_step(bench, grown, preload, copies) for copies in _sizes(most)]
    preload.forget()
    _check(grown)
    last = steps[-1]
    return Measured(
        figures={
            "growth_ratio": round(last["grown_orders_per_s"] / last["empty_orders_per_s"], 3),
            # The same in CPU time, which depends less on what else the machine does.
            "growth_cpu_ratio": round(last["empty_cpu_ms_per_order"][ALL] / last["cpu_ms_per_order"][ALL], 3),
            "growth_finished_orders": last["finished_orders"],
            "growth_orders_per_s": last["grown_orders_per_s"],
            "growth_cpu_ms_per_order": last["cpu_ms_per_order"],
        },
        details={"steps": steps},
    )


def _sizes(most: int) -> list[int]:
    """Many copies are worth a look on the way: how does it go on from there?"""
    return [most // 10, most] if most >= _WORTH_A_STOP else [most]


def _finish_orders(bench: Bench, orders: int) -> None:
    with bench.rpc() as rpc, ThreadPoolExecutor(_SHIPPERS) as shippers:
        place_in_bulk(rpc, bench.items, orders, bench.chance)
        _wait_for_all_work(bench)
        paid = [str(row[0]) for row in bench.books.rows("order", "select id from orders where status = 'CONFIRMED'")]
        list(shippers.map(lambda id_: rpc.call("order_service", "fulfil_order", timeout_s=60, order_id=id_), paid))
    _wait_for_all_work(bench)


def _wait_for_all_work(bench: Bench) -> None:
    if not holds_within(lambda: open_work(bench.books).is_done, timeout_s=SETTLE_S):
        raise CannotMeasure(f"not all work ended within {SETTLE_S:.0f} s: {open_work(bench.books)}")


def _step(bench: Bench, grown: Bench, preload: Preload, copies: int) -> dict[str, Any]:
    """Fill up to so many copies, then measure both."""
    grown.stack.up(infrastructure_only=True)
    with grown.cpu() as copying:
        seconds = preload.grow_to(copies)
    grown.stack.up()
    finished = bench.books.number("order", "select count(*) from orders")
    finished_grown = grown.books.number("order", "select count(*) from orders")
    copying_s = sum(s for name, s in copying.items() if name.startswith("postgres"))
    bench.say(f"{finished_grown} finished orders in the tables after {seconds:.0f} s ({copying_s:.0f} s of CPU time)")
    (with_few, few_cost), (with_many, many_cost) = _in_turn(bench, grown)
    return {
        "finished_orders": finished_grown,
        "empty_finished_orders": finished,
        "copied_in_s": round(seconds, 1),
        "empty_orders_per_s": with_few,
        "grown_orders_per_s": with_many,
        "empty_cpu_ms_per_order": few_cost,
        "cpu_ms_per_order": many_cost,
        "megabytes": _megabytes(grown),
    }


def _in_turn(bench: Bench, grown: Bench) -> list[tuple[float, dict[str, float]]]:
    """Of both, orders per second and what one costs."""
    stacks = (bench, grown)
    for one in stacks:
        _write_everything(one.stack)
        saga.orders_per_s(one, max(bench.sizes.growth_orders // 10, BATCH))
    rounds = [[_round(one) for one in stacks] for _ in range(bench.sizes.growth_rounds)]
    return [_together(of_one) for of_one in zip(*rounds, strict=True)]


def _round(bench: Bench) -> tuple[float, dict[str, float]]:
    with bench.cpu() as spent:
        per_s = saga.orders_per_s(bench, bench.sizes.growth_orders)
    return per_s, per_order_ms(spent, bench.sizes.growth_orders)


def _together(rounds: Sequence[tuple[float, dict[str, float]]]) -> tuple[float, dict[str, float]]:
    """Of rounds with the same number of orders: all orders by all seconds, and the mean of the costs."""
    per_s = len(rounds) / sum(1 / rate for rate, _ in rounds)
    names = {name for _, cost in rounds for name in cost}
    cost = {name: round(sum(c.get(name, 0.0) for _, c in rounds) / len(rounds), 3) for name in sorted(names)}
    return round(per_s, 1), cost


def _write_everything(stack: Stack) -> None:
    """A checkpoint, so that none falls into the measurement because of what came before it."""
    with session(stack.administrator()["ADMIN_DATABASE_URL"]) as cursor:
        cursor.execute("checkpoint")


def _megabytes(bench: Bench) -> dict[str, int]:
    size = "select pg_database_size(current_database()) / 1048576"
    return {name: bench.books.number(name, size) for name in ("order", "inventory", "payment", "psp")}


def _check(grown: Bench) -> None:
    """The copies are orders like any other: all that must hold of those holds of them."""
    _wait_for_all_work(grown)
    broken = violations(grown.books)
    if broken:
        raise CannotMeasure("; ".join(broken)[:1000])
