"""What a service says of itself when asked whether it can work."""

from __future__ import annotations

from shared.database import Sessions, transaction
from shared.errors import TransientError


def health_of(service: str, sessions: Sessions) -> dict[str, str]:
    """``broker`` is up whenever this answer arrives, because it came through it."""
    try:
        with transaction(sessions):
            database = "up"
    except TransientError:
        database = "down"
    return {"service": service, "database": database, "broker": "up"}
