"""Owns: choosing TCP ports on 127.0.0.1. Must not know: who will listen on them."""

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

# Below Linux's ephemeral range (32768 and up): no outgoing connection can sit on a port between two starts.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
_PORTS_PER_STACK = 40


class PortChooser:
    """Keeps, prefers or finds ports, and holds each against other stacks that choose at the same moment.

    The hold is an abstract Unix socket named after the port: machine-wide like the port itself, needs no
    rights and no file, and vanishes with this process.
    """

    def __init__(self, *, seed: str) -> None:
        self._seed = int(seed, 16)
        self._holds: dict[int, socket.socket] = {}

    def choose(self, candidates: Iterable[int]) -> int:
        """The first of the candidates that is free, else the first free one of this stack's own range."""
        for port in (*candidates, *self._own_range()):
            if self.take(port):
                return port
        raise OSError("no free TCP port on 127.0.0.1")

    def take(self, port: int) -> bool:
        """Hold this very port if it is free."""
        return port not in self._holds and is_free(port) and self._hold(port)

    def _own_range(self) -> Iterator[int]:
        width = _LAST_PORT - _FIRST_PORT
        start = (self._seed * _PORTS_PER_STACK) % width
        return (_FIRST_PORT + (start + step) % width for step in range(width))

    def _hold(self, port: int) -> bool:
        hold = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            hold.bind(f"\0ordersaga-port-{port}")
        except OSError:
            hold.close()
            return False
        self._holds[port] = hold
        return True

    def release(self) -> None:
        for hold in self._holds.values():
            hold.close()
        self._holds.clear()


@contextmanager
def port_chooser(seed: str) -> Iterator[PortChooser]:
    chooser = PortChooser(seed=seed)
    try:
        yield chooser
    finally:
        chooser.release()


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: connections of a predecessor in TIME_WAIT do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(
    chooser: PortChooser, *, remembered: Mapping[str, int], preferred: Mapping[str, int]
) -> dict[str, int]:
    """A port for every name in `preferred` (0 = any): the remembered one, the preferred one, a free one.

    Remembered ports are settled first, so that one that is taken does not push the others around.
    """
    kept = {name: port for name in preferred if (port := remembered.get(name, 0)) and chooser.take(port)}
    return {name: kept.get(name) or chooser.choose([wish] if wish else []) for name, wish in preferred.items()}
