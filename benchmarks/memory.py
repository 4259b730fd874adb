"""Phase ``memory``: how much our processes have grown after a great many orders.

Owns: rss_mb_max, and whether anything still grows in the second half. Must not know: what the processes do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import wrk
from benchmarks.bench import SETTLE_S, Bench, Measured
from benchmarks.cpu import descendants
from benchmarks.orders import DECLINED_SHARE, place_in_bulk, wait_until_ended
from ops.stack import Stack

_NOT_OURS = ("postgres", "rabbitmq")
_EVERY_S = 1.0
_PARTS = 10
_SLOWEST_ORDERS_PER_S = 50
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
Sample = Mapping[str, float]


def measure(bench: Bench) -> Measured:
    """Orders that the same processes had before (phase ``backlog``) count as the first half."""
    before = int(bench.figures.get("backlog_events", 0))
    orders = max(bench.sizes.memory_orders - before, bench.sizes.memory_orders // 2)
    with _sampled(bench.stack) as samples:
        for _ in range(_PARTS):
            _place(bench, orders // _PARTS)
    half = samples if before else samples[len(samples) // 2 :]
    third, fourth = _largest(half[: len(half) // 2]), _largest(half[len(half) // 2 :])
    return Measured(
        figures={
            "rss_mb_max": max(_largest(samples).values()),
            "rss_grew_mb_max": round(max(fourth[name] - third.get(name, 0.0) for name in fourth), 1),
            "rss_orders": before + orders,
        },
        details={"third_quarter_mb": third, "fourth_quarter_mb": fourth, "samples": samples},
    )


def _place(bench: Bench, orders: int) -> None:
    """Some through the gateway, so that it works as well, and the others in bulk."""
    wrk.place_orders(
        bench.environment,
        bench.items,
        seconds=bench.sizes.memory_http_seconds / _PARTS,
        declined_share=DECLINED_SHARE,
        seed=bench.chance.randrange(1_000_000),
    )
    with bench.rpc() as rpc:
        place_in_bulk(rpc, bench.items, orders, bench.chance)
    wait_until_ended(bench.books, timeout_s=SETTLE_S + orders / _SLOWEST_ORDERS_PER_S)


@contextmanager
def _sampled(stack: Stack) -> Iterator[list[Sample]]:
    """Resident megabytes of each process of ours, once a second, in a thread of its own."""
    samples: list[Sample] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_EVERY_S):
            samples.append(_resident_mb(stack))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _resident_mb(stack: Stack) -> Sample:
    """By name; a process's children are numbered in the order of their start."""
    found = {}
    for process in stack.processes():
        if process.pid is not None and process.name not in _NOT_OURS:
            pids = [process.pid, *descendants(process.pid)]
            for number, pid in enumerate(pids):
                resident_mb = _pages(pid) * _PAGE_MB
                if resident_mb:
                    found[f"{process.name}.{number}" if number else process.name] = round(resident_mb, 1)
    return found


def _pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0


def _largest(samples: Sequence[Sample]) -> dict[str, float]:
    names = {name for sample in samples for name in sample}
    return {name: max(sample.get(name, 0.0) for sample in samples) for name in sorted(names)}
