"""Asking for several things at the same time, where one request needs several answers.

Owns: the threads. Must not know: what is asked, or of whom. What a thread asks for must have been read before: the
request being handled, and who sent it, belong to the thread that handles it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ask_at_once(names: Sequence[str], ask: Callable[[str], T]) -> dict[str, T]:
    """Name → its answer, in the order of ``names``. Raises what the first of them raises."""
    if len(names) < 2:
        return {name: ask(name) for name in names}
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))
