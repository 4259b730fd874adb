"""How much of everything is measured.

Owns: the sizes of a full and of a quick run, and the options that change them. Must not know: how it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _size(full: float, what: str) -> Any:
    return field(default=full, metadata={"what": what})


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The full run; quality of the figures grows with them, and so does the time."""

    orders: int = _size(20_000, "Orders placed in bulk.")
    single: int = _size(300, "Orders placed one at a time.")
    http_seconds: float = _size(60.0, "How long orders are placed over HTTP as fast as possible.")
    loaded_seconds: float = _size(40.0, "How long they are placed at a given pace.")
    loaded_rate: float = _size(0.0, "That pace, in orders per second; 0: half of what `http` measured.")
    naive_orders: int = _size(1_500, "Orders through the naive services.")
    floor_orders: int = _size(20_000, "Orders whose rows and messages are written bare.")
    grown: int = _size(1_000_000, "Finished orders in the full tables.")
    growth_orders: int = _size(10_000, "Orders of one round of `growth`.")
    growth_rounds: int = _size(2, "How often empty and full tables are measured in turn.")
    hot_orders: int = _size(2_000, "Orders for one item, of which there is a quarter of that.")
    relay_rows: int = _size(50_000, "Events in the outbox of `relay`, in thousands.")
    backlog: int = _size(100_000, "Events that wait for services that start cold.")
    memory_orders: int = _size(200_000, "Orders before memory is compared; those of the backlog count too.")
    memory_http_seconds: float = _size(30.0, "How much of that time some of them come over HTTP.")


QUICK = Sizes(
    orders=8_000,
    single=150,
    http_seconds=10.0,
    loaded_seconds=10.0,
    naive_orders=400,
    floor_orders=4_000,
    grown=20_000,
    growth_orders=2_000,
    growth_rounds=1,
    hot_orders=400,
    relay_rows=10_000,
    backlog=4_000,
    memory_orders=8_000,
    memory_http_seconds=10.0,
)


def size_options(command: Command) -> Command:
    """An option for each size."""
    for one in reversed(fields(Sizes)):
        option = f"--{one.name.replace('_', '-')}"
        command = click.option(option, type=type(one.default), metavar="N", help=one.metadata["what"])(command)
    return command


def sizes_of(quick: bool, said: Mapping[str, Any]) -> Sizes:
    """The usual ones with those that were said."""
    return replace(QUICK if quick else Sizes(), **{name: size for name, size in said.items() if size is not None})
