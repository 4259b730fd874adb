"""Dead letters that somebody holds: seen all of them, sent back those that are meant, the others put back.

Owns: what of each is remembered while it is held, and sending one by its fingerprint. Must not know: who decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from shared.messaging.brief_connection import BriefConnection
from shared.messaging.fingerprints import fingerprint, identity
from shared.messaging.letters import Letter
from shared.messaging.sending_back import CannotBeMoved, Stop, send_back
from shared.messaging.window import hold_oldest

NOT_IN_HAND = "not_in_hand"


@dataclass(frozen=True, kw_only=True, slots=True)
class Glimpse:
    """What is remembered of every letter; ``letter`` itself only of those that may be sent."""

    fingerprint: str
    identity: str
    reason: str | None
    error: str | None
    letter: Letter | None


@dataclass(kw_only=True, slots=True)
class InHand:
    """The letters of one queue, and the connection by which they are held."""

    connection: BriefConnection
    held: list[tuple[int, Glimpse]]


@dataclass(slots=True)
class Hands:
    """What is held of several work queues' dead letters."""

    work_queues: Collection[str]
    _queues: dict[str, InHand] = field(default_factory=dict)

    def add(self, queue: str, held: InHand) -> None:
        self._queues[queue] = held

    def glimpses(self, queue: str) -> list[Glimpse]:
        """All that is held of ``queue``, oldest first."""
        return [glimpse for _, glimpse in self._queues[queue].held]

    def copies(self, queue: str) -> Counter[str]:
        """Fingerprint → how many letters have it."""
        return Counter(glimpse.fingerprint for glimpse in self.glimpses(queue))

    def send(self, queue: str, print_: str, destination: str) -> Stop | None:
        """Send the letter of ``queue`` with this fingerprint to ``destination``, then take it away; None: it is done.

        Raises BrokerUnavailable (from the block in which it is held): then it may be in both queues.
        """
        source = self._queues[queue]
        for place, (tag, glimpse) in enumerate(source.held):
            if glimpse.fingerprint == print_ and glimpse.letter is not None:
                return self._send(source, place, tag, glimpse.letter, destination)
        return Stop(code=NOT_IN_HAND, detail="it is not there, or somebody else holds it")

    def _send(self, source: InHand, place: int, tag: int, letter: Letter, destination: str) -> Stop | None:
        source.connection.go_on()
        try:
            send_back(source.connection.channel, letter, destination, self.work_queues)
        except CannotBeMoved as error:
            return error.stop
        source.connection.channel.basic_ack(tag)
        del source.held[place]
        return None


def take_in_hand(connection: BriefConnection, queue: str, there: int, wanted: frozenset[str]) -> InHand:
    """``queue`` is the one of the dead letters itself."""

    def glimpse(letter: Letter) -> Glimpse:
        print_ = fingerprint(letter)
        return Glimpse(
            fingerprint=print_,
            identity=identity(letter),
            reason=letter.reason,
            error=letter.error,
            letter=letter if print_ in wanted else None,
        )

    return InHand(connection=connection, held=hold_oldest(connection, queue, there, glimpse))
