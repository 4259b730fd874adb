"""Owns: showing and following log files. Must not know: who writes them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ops.errors import last_lines

Echo = Callable[[str], None]
_PAUSE_S = 0.2


def show(logs: Mapping[str, Path], lines: int, echo: Echo) -> None:
    """The last lines of each log, each line led by the log's name if there are several."""
    for name, path in logs.items():
        for line in last_lines(path, lines):
            echo(_labelled(name, line, several=len(logs) > 1))


def follow(logs: Mapping[str, Path], lines: int, echo: Echo) -> None:
    """Show, then go on with what is added, until interrupted; a rotated log is opened anew."""
    show(logs, lines, echo)
    tails = {name: Tail(path) for name, path in logs.items()}
    while True:
        for name, tail in tails.items():
            for line in tail.new_lines():
                echo(_labelled(name, line, several=len(logs) > 1))
        time.sleep(_PAUSE_S)


def _labelled(name: str, line: str, *, several: bool) -> str:
    return f"{name:<18} {line}" if several else line


class Tail:
    """What was added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        try:
            with self._path.open("rb") as log:
                added = self._read(log)
        except FileNotFoundError:
            return []
        *complete, self._rest = (self._rest + added).split(b"\n")
        return [line.decode("utf-8", errors="replace") for line in complete]

    def _read(self, log: BinaryIO) -> bytes:
        if log.seek(0, 2) < self._offset:
            self._offset, self._rest = 0, b""
        log.seek(self._offset)
        added = log.read()
        self._offset += len(added)
        return added
