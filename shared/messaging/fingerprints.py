"""Which dead letter is which, told from its content: the broker gives its messages no names.

Owns: what makes two letters the same. Must not know: queues, or why anybody asks.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from shared.envelope import read_envelope
from shared.errors import InvalidEnvelope
from shared.messaging.letters import BROKERS_COUNTERS, Letter


def fingerprint(letter: Letter) -> str:
    """32 hex digits. The same however often it is looked at; another one as soon as it has failed once more.

    Only a message that the broker itself doubled shares its fingerprint with another one.
    """
    properties = {name: value for name, value in vars(letter.properties).items() if name != "headers"}
    # The broker sorts them when it adds its counter, at the second look.
    headers = sorted(repr((name, value)) for name, value in letter.headers.items() if name not in BROKERS_COUNTERS)
    return _digest(letter.body, repr((sorted(properties.items()), headers)))


def identity(letter: Letter) -> str:
    """32 hex digits: the same before and after it was sent once more and failed again."""
    return _digest(letter.body, repr((letter.properties.message_id, letter.properties.type)))


def inbox_id(letter: Letter, event_type: str) -> UUID | None:
    """Under which id a consumer of ``event_type`` keeps it in its inbox; None if it could not read even that."""
    try:
        return read_envelope(
            type=event_type,
            publisher="",
            body=letter.body,
            properties={"message_id": letter.properties.message_id, "type": letter.properties.type},
            headers={},
        ).event_id
    except InvalidEnvelope:
        return None


def _digest(body: bytes, said: str) -> str:
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass"))
    digest.update(b"\0")
    digest.update(body)
    return digest.hexdigest()[:32]
