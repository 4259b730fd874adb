"""What a service says of itself when asked whether it can work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.database import Sessions, transaction
from shared.errors import TransientError


def health_of(service: str, sessions: Sessions, chaos: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """``broker`` is up whenever this answer arrives, because it came through it.

    ``chaos``: the trouble that is made on purpose; said only while there is any.
    """
    try:
        with transaction(sessions):
            database = "up"
    except TransientError:
        database = "down"
    parts = {"service": service, "database": database, "broker": "up"}
    return {**parts, "chaos": list(chaos)} if chaos else parts
