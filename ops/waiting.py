"""Owns: the only loop of the stack that waits. Must not know: what is waited for.

Every wait has a deadline, can be called off (`ordersaga down` during `ordersaga up`), and can give up
early when what it waits for has no hope left.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ops.errors import StackError

_PAUSE_S = 0.1


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """Polls conditions; `called_off` is asked between two polls."""

    called_off: Callable[[], bool] = _never

    def until(
        self,
        condition: Callable[[], bool],
        *,
        timeout_s: float,
        failure: Callable[[], StackError],
        hopeless: Callable[[], StackError | None] = lambda: None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        """Return once `condition` holds; raise `failure()` at the deadline or `hopeless()` before it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self.called_off():
                raise StackError("called off by `ordersaga down`")
            lost = hopeless()
            if lost is not None:
                raise lost
            if time.monotonic() >= deadline:
                raise failure()
            time.sleep(pause_s)


def holds_within(condition: Callable[[], bool], *, timeout_s: float, pause_s: float = _PAUSE_S) -> bool:
    """Whether `condition` came true before the deadline; for waits whose failure has a next step."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True
