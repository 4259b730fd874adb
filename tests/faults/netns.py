"""A network of our own on this machine, whose cables can be pulled: a bridge, and a namespace for each far end.

Owns: namespaces, cables, addresses. Must not know: what is sent.

Here packets are lost for real: nobody acknowledges them, the kernel sends them again, and keepalives find nobody.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ops.processes import base_environment, run_once

from .fault import NotPossibleHere

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/var/run/netns")
_NETWORK = "10.213.{number}"
_HOME = ".1"


@dataclass(frozen=True, kw_only=True)
class FarEnd:
    """What hangs at the other end of one cable."""

    name: str
    address: str
    cable: str
    namespace: str
    bridge: str

    def listen(self, port: int) -> socket.socket:
        """A listening socket there; what it accepts is there too, whichever thread uses it."""
        return _inside(self.namespace, lambda: socket.create_server((self.address, port), backlog=128))

    @contextmanager
    def pulled_silently(self) -> Iterator[None]:
        """The cable ends nowhere: packets are dropped, and no interface says so."""
        _ip("link", "set", self.cable, "nomaster")
        try:
            yield
        finally:
            _ip("link", "set", self.cable, "master", self.bridge)

    @contextmanager
    def pulled_visibly(self) -> Iterator[None]:
        """The interface is down, and the kernel knows of no way there: whoever sends hears so at once."""
        _ip("link", "set", self.cable, "down")
        _ip("route", "add", "unreachable", self.address)
        try:
            yield
        finally:
            _ip("route", "del", "unreachable", self.address)
            _ip("link", "set", self.cable, "up")


class Network:
    """One far end for each name. Use as a context manager; what an earlier run has left behind goes first.

    ``identity``: a few hex digits that no other network of this machine has.
    """

    def __init__(self, identity: str, names: Sequence[str]) -> None:
        prefix = f"os{identity[:6]}"
        self._bridge = f"{prefix}b"
        self._network = _NETWORK.format(number=int(identity[:6], 16) % 250)
        self.ends = {
            name: FarEnd(
                name=name,
                address=f"{self._network}.{number + 1}",
                cable=f"{prefix}v{number}",
                namespace=f"{prefix}n{number}",
                bridge=self._bridge,
            )
            for number, name in enumerate(names, start=1)
        }

    def __enter__(self) -> Network:
        self._remove()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._remove()

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self._network}{_HOME}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for end in self.ends.values():
            _ip("netns", "add", end.namespace)
            _ip("link", "add", end.cable, "type", "veth", "peer", "name", "eth0", "netns", end.namespace)
            _ip("link", "set", end.cable, "master", self._bridge, "up")
            _ip("-n", end.namespace, "address", "add", f"{end.address}/24", "dev", "eth0")
            _ip("-n", end.namespace, "link", "set", "eth0", "up")

    def _remove(self) -> None:
        """A cable goes with the namespace at its end, a moment later: whoever deletes it may come too late."""
        for end in self.ends.values():
            if (_NAMESPACES / end.namespace).exists():
                _ip("netns", "delete", end.namespace)
            _remove_link(end.cable)
        _remove_link(self._bridge)


def _remove_link(name: str) -> None:
    try:
        _ip("link", "delete", name)
    except NotPossibleHere:
        if Path(f"/sys/class/net/{name}").exists():
            raise


def _ip(*arguments: str) -> None:
    try:
        done = run_once(["ip", *arguments], environment=base_environment(Path("/")))
    except OSError as error:
        raise NotPossibleHere(f"the program ip (Debian's iproute2): {error}") from error
    if done.returncode != 0:
        raise NotPossibleHere(f"ip {' '.join(arguments)}: {done.stdout.strip()}")


def _inside(namespace: str, make: Callable[[], T]) -> T:
    """``make`` in a thread that enters the namespace and ends there; its sockets stay."""
    made: list[T] = []
    errors: list[Exception] = []

    def enter() -> None:
        try:
            _enter(namespace)
            made.append(make())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=enter, name=f"in {namespace}")
    thread.start()
    thread.join()
    if errors:
        raise NotPossibleHere(f"a socket in a network namespace: {errors[0]}")
    return made[0]


def _enter(namespace: str) -> None:
    handle = os.open(_NAMESPACES / namespace, os.O_RDONLY)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(handle, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)
