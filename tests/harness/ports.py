"""Owns: choosing a TCP port for a process that a test starts. Must not know: who will listen on it."""

from __future__ import annotations

import random

from ops.ports import is_free


def free_port() -> int:
    """Below the ephemeral range: no outgoing connection sits on it, also between two starts of who listens there."""
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311 - no secret
        if is_free(port):
            return port
