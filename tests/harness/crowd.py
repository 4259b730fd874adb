"""Threads that do something while a test does something else.

Owns: starting them, telling them that it is enough, and that each comes to its end. Must not know: what they do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOST_S = 60


@contextmanager
def at_work(work: Callable[[threading.Event], None], count: int) -> Iterator[None]:
    """``work`` runs in ``count`` threads until the block ends; it is told so by the event that it is given."""
    enough = threading.Event()
    threads = [threading.Thread(target=work, args=(enough,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join(MOST_S)
    assert not any(thread.is_alive() for thread in threads)
