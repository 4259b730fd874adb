"""Is the client of a long answer still there?

Owns: looking without reading or waiting. Must not know: what is being answered.
"""

from __future__ import annotations

import select
import socket


def is_gone(client: socket.socket | None) -> bool:
    """Whether it has closed the connection; without a socket (in tests) it is there."""
    if client is None:
        return False
    try:
        if not select.select([client], [], [], 0)[0]:
            return False
        return client.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
