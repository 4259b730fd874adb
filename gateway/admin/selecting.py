"""Which dead letters are meant, and what is written down of each.

Owns: the filters, and a letter as one of a selection. Must not know: endpoints, the broker, what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.admin.desk import DeadLetterDesk
from shared.messaging.fingerprints import fingerprint, identity, inbox_id
from shared.messaging.letters import Letter
from shared.messaging.sending_back import Stop

_LONGEST = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """All that are given must hold. ``text``: an event's or request's id, or anything in the body, as an order's id.

    ``ids`` are fingerprints. A letter that does not say when it failed is in no period.
    """

    queue: str | None = None
    consumer: str | None = None
    event: str | None = None
    error: str | None = None
    text: str | None = None
    failed_after: datetime | None = None
    failed_before: datetime | None = None
    ids: frozenset[str] = frozenset()

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Wanted:
        """From a request's fields, by the API's names."""
        return cls(
            queue=said.get("queue"),
            consumer=said.get("consumer"),
            event=said.get("event"),
            error=said.get("error"),
            text=said.get("text"),
            failed_after=_moment(said.get("failedAfter")),
            failed_before=_moment(said.get("failedBefore")),
            ids=frozenset(said.get("ids", ())),
        )

    def queues(self, known: Iterable[str]) -> list[str]:
        """Those of the work queues ``known`` that are to be looked at."""
        return [queue for queue in known if self._is_meant(queue)]

    def _is_meant(self, queue: str) -> bool:
        consumer, _, event = queue.partition(".")
        pairs = ((self.queue, queue), (self.consumer, consumer), (self.event, event))
        return all(asked in (None, there) for asked, there in pairs)

    def matches(self, letter: Letter) -> bool:
        return (
            self.error in (None, letter.reason)
            and (self.text is None or _mentions(letter, self.text))
            and self._is_in_time(letter)
            and (not self.ids or fingerprint(letter) in self.ids)
        )

    def _is_in_time(self, letter: Letter) -> bool:
        if self.failed_after is None and self.failed_before is None:
            return True
        failed_at = _moment(letter.failed_at)
        return (
            failed_at is not None
            and (self.failed_after is None or self.failed_after <= failed_at)
            and (self.failed_before is None or failed_at < self.failed_before)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """A letter of a selection, by what is needed to find and judge it again; ``unsendable``: why it stays where it is.

    ``letter`` is kept only where its content is needed.
    """

    queue: str
    destination: str
    fingerprint: str
    identity: str
    inbox_id: str | None
    event_id: str | None
    event_type: str | None
    error_code: str | None
    failed_at: str | None
    unsendable: Stop | None
    letter: Letter | None = None

    @property
    def consumer(self) -> str:
        return self.destination.partition(".")[0]

    @property
    def event(self) -> str:
        """The name under which its consumer knows it."""
        return self.destination.partition(".")[2]

    def as_asked(self) -> dict[str, Any]:
        """As the order service writes it down."""
        return {
            "queue": self.queue,
            "destination": self.destination,
            "fingerprint": self.fingerprint,
            "identity": self.identity,
            "inboxId": self.inbox_id,
            "eventId": self.event_id,
            "eventType": self.event_type,
            "errorCode": self.error_code,
            "failedAt": self.failed_at,
            "code": self.unsendable.code if self.unsendable else None,
        }


def select(desk: DeadLetterDesk, wanted: Wanted, *, keeps_content: bool = False) -> list[Selected]:
    """All that match, of what can be seen of each queue, the longest dead first. Raises BrokerUnavailable."""
    depths = desk.depths()
    found = [
        selected
        for queue in wanted.queues(depths)
        if depths[queue]
        for selected in desk.each(queue, _see(desk, queue, wanted, keeps_content))
    ]
    return sorted(found, key=lambda selected: selected.failed_at or "")


def _see(desk: DeadLetterDesk, queue: str, wanted: Wanted, keeps_content: bool) -> Callable[[Letter], Selected | None]:
    def see(letter: Letter) -> Selected | None:
        return _selected(desk, queue, letter, keeps_content) if wanted.matches(letter) else None

    return see


def _selected(desk: DeadLetterDesk, queue: str, letter: Letter, keeps_content: bool) -> Selected:
    destination = letter.origin_queue or queue
    id_ = inbox_id(letter, destination.partition(".")[2])
    return Selected(
        queue=queue,
        destination=storable(destination, 200) or "?",
        fingerprint=fingerprint(letter),
        identity=identity(letter),
        inbox_id=str(id_) if id_ else None,
        event_id=storable(letter.event_id),
        event_type=storable(letter.type),
        error_code=storable(letter.reason),
        failed_at=storable(letter.failed_at),
        unsendable=desk.unsendable(letter, queue),
        letter=letter if keeps_content else None,
    )


def storable(text: str | None, longest: int = _LONGEST) -> str | None:
    """Whoever sent the message chose its texts; no RPC and no database takes a NUL or half a character."""
    if not text:
        return None
    return text[:longest].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _mentions(letter: Letter, text: str) -> bool:
    return text in (letter.event_id, letter.correlation_id) or text.encode() in letter.body


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def queues_of(letters: Collection[Mapping[str, Any]], *names: str) -> list[str]:
    """Each once: the values of ``names`` in ``letters``."""
    return list(dict.fromkeys(letter[name] for letter in letters for name in names))
