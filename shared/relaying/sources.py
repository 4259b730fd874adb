"""Where a relay's rows come from: what it asks of a source, and the source that polls.

Owns: the seam between the relay's cycle and its source, polling. Must not know: publishing, election, change data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from shared.messaging.pipelined_publisher import Window
from shared.outbox import NOTIFY_CHANNEL, READ_UNPUBLISHED, OutboxRow, row_from_record
from shared.relaying.database import RelayDatabase
from shared.relaying.figures import TAKEN
from shared.relaying.order import first_of_each_aggregate

WINDOW = 500
POLL_S = 1.0


class Waiter(Protocol):
    """What a source needs of the publisher: its connection is kept alive while nothing is published."""

    def wait(self, seconds: float, wake_up: Any = None) -> None: ...


class RowSource(Protocol):
    """Asked by one thread, between :meth:`begin` and :meth:`end`. A source that is ended may begin again.

    ``has_more``: it has rows in hand already, so that waiting for company would gain nothing.
    """

    @property
    def has_more(self) -> bool: ...

    def begin(self) -> None:
        """This relay is the elected one, and its session is open."""

    def window(self) -> list[OutboxRow]:
        """Rows that may be in flight together, the lowest id first; empty when there is nothing to publish now."""

    def settled(self, outcome: Window) -> None:
        """What became of the last window stands in the table."""

    def wait(self, waiter: Waiter) -> None:
        """Until there may be something to publish, POLL_S at most."""

    def end(self) -> None:
        """The session may be gone; whatever was not settled stays in the table."""


SourceMaker = Callable[[RelayDatabase, str], RowSource]
"""From the relay's session and the service's name."""


class PollingSource:
    """Reads what is not published, when told that something was recorded and each POLL_S anyway."""

    has_more = False

    def __init__(self, database: RelayDatabase, service: str) -> None:
        self._database = database
        self._service = service

    def begin(self) -> None:
        self._database.listen(NOTIFY_CHANNEL)

    def window(self) -> list[OutboxRow]:
        records = self._database.rows(READ_UNPUBLISHED, {"limit": WINDOW})
        rows = list(first_of_each_aggregate(row_from_record(r, self._service) for r in records))
        TAKEN.labels("polling").inc(len(rows))
        return rows

    def settled(self, outcome: Window) -> None:
        """The table has it; the next read goes by that."""

    def wait(self, waiter: Waiter) -> None:
        # One that came since the last read, or with it, would not make the socket readable again: read once more.
        if not self._database.was_notified():
            waiter.wait(POLL_S, wake_up=self._database.connection)

    def end(self) -> None:
        """Nothing is kept."""
