"""Which phases there are, in the order in which they run. Must not know: how they measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import backlog, growth, hot, http, latency, loaded, memory, naive_saga, relay, saga
from benchmarks.bench import Bench, Measured
from benchmarks.floor import measure as floor


@dataclass(frozen=True, kw_only=True)
class Phase:
    """``needs`` are phases whose figures it uses."""

    name: str
    summary: str
    measure: Callable[[Bench], Measured]
    needs: tuple[str, ...] = ()


PHASES = (
    Phase(name="saga", summary="orders placed in bulk until their sagas have ended", measure=saga.measure),
    Phase(
        name="naive",
        summary="the same through services as Nameko's documentation shows them",
        measure=naive_saga.measure,
        needs=("saga",),
    ),
    Phase(
        name="floor",
        summary="the same rows and messages, without anybody thinking about them",
        measure=floor.measure,
        needs=("saga",),
    ),
    Phase(name="growth", summary="the same, empty tables and full ones side by side", measure=growth.measure),
    Phase(name="latency", summary="one order at a time until it is confirmed", measure=latency.measure),
    Phase(name="http", summary="orders over HTTP as fast as they are taken", measure=http.measure),
    Phase(name="loaded", summary="latency at half of that", measure=loaded.measure, needs=("http",)),
    Phase(name="hot", summary="everybody wants the same item, and there is not enough", measure=hot.measure),
    Phase(name="relay", summary="one relay and a full outbox", measure=relay.measure),
    Phase(name="backlog", summary="events that have piled up, and services that start cold", measure=backlog.measure),
    Phase(name="memory", summary="what our processes hold after many orders", measure=memory.measure),
)


def chosen(names: Sequence[str]) -> list[Phase]:
    """Those named, with what they need, in order; all when none is named."""
    if not names:
        return list(PHASES)
    by_name = {phase.name: phase for phase in PHASES}
    wanted = {need for name in names for need in (name, *by_name[name].needs)}
    return [phase for phase in PHASES if phase.name in wanted]
