"""Dead letters: those that a fault has sent on purpose, against those that lie there in the end.

Owns: the comparison. Must not know: what is wrong with a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ops.books import report
from tests.harness.broker import DeadLetter


@dataclass(kw_only=True)
class ExpectedLetters:
    """What must lie in the dead-letter queues. A letter that lies there twice was moved, then delivered again."""

    _expected: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    _possible: set[tuple[str, bytes]] = field(default_factory=set)

    def allow(self, queue: str, body: bytes) -> None:
        """``queue`` is the work queue. Said before it is sent: whether it arrives is not known yet."""
        self._possible.add((f"{queue}.dead", body))

    def expect(self, queue: str, body: bytes) -> None:
        """Said once the broker has confirmed it."""
        self._expected[f"{queue}.dead", body] += 1

    @property
    def count(self) -> int:
        return self._expected.total()

    def complaints(self, found: Mapping[str, Sequence[DeadLetter]]) -> Iterator[str]:
        """What is missing, and what nobody can explain."""
        there = Counter((queue, letter.body) for queue, letters in found.items() for letter in letters)
        missing = self._expected - there
        yield from report("times that poison is gone", [f"{queue}: {body[:40]!r}" for queue, body in missing])
        for queue, letters in found.items():
            strange = [letter for letter in letters if (queue, letter.body) not in self._possible]
            if strange:
                yield f"{len(strange)} dead letters in {queue} that nobody sent on purpose: {_reason(strange[0])}"


def _reason(letter: DeadLetter) -> str:
    said = letter.headers.get("x-error") or letter.headers.get("x-first-death-reason")
    return f"{said} (message {letter.properties.message_id})"
