"""Owns: listening sockets that outlive the processes behind them. Must not know: what is served on them.

While such a process is away, connections wait in the kernel's queue; nobody is refused, and nobody reset.
"""

import logging
import socket
from collections.abc import Collection

logger = logging.getLogger("ordersaga.supervisor")
_WAITING = 2048


class Listeners:
    """One open socket for each address that is wanted."""

    def __init__(self) -> None:
        self._open: dict[str, socket.socket] = {}

    def keep(self, addresses: Collection[str]) -> None:
        """Open those that are new, close those that nobody wants any more; the others stay as they are."""
        for address in [known for known in self._open if known not in addresses]:
            self._open.pop(address).close()
        for address in sorted(set(addresses) - set(self._open) - {""}):
            host, _, port = address.rpartition(":")
            try:
                self._open[address] = socket.create_server((host, int(port)), backlog=_WAITING)
            except (OSError, ValueError) as error:
                # The process opens its own, and says so itself if it cannot.
                logger.error("not_listening address=%s error=%s", address, error)

    def find(self, address: str) -> socket.socket | None:
        return self._open.get(address)
