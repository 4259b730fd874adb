"""Crash points: comments in the code that become calls here, each of which may be the process's last.

Owns: what a crash point looks like, and dying at one. Must not know: which there are, nor why one is ordered.

A line ``# crash point: relay.published`` does nothing, and leaves no trace in the byte code. In a process that was
started with ORDERSAGA_CRASH_POINTS=<folder> it is compiled as a call of :func:`reached`. An order is a file
``<folder>/orders/relay.published`` with a number K in it: the first process that comes by for the K-th time since then
takes the order away, writes its name into ``<folder>/deaths/relay.published`` and is gone, as by SIGKILL.
"""

from __future__ import annotations

import io
import os
import re
import signal
import tokenize
from pathlib import Path

from . import importing

VARIABLE = "ORDERSAGA_CRASH_POINTS"
LABEL = re.compile(r"# crash point: ([a-z_]+\.[a-z_]+)")
_MARK = "# crash point: "
_CALL = '__import__("ordersaga_injected.crash_points").crash_points.reached("{label}")'

_passed: set[str] = set()
_counted: dict[str, tuple[int, int]] = {}


def install() -> None:
    importing.rewrite_sources(with_calls)


def with_calls(source: str) -> str:
    """The source with each crash point turned into a call; no line moves."""
    lines = source.splitlines(keepends=True)
    for number, label in crash_points(source):
        lines[number - 1] = LABEL.sub(_CALL.format(label=label), lines[number - 1])
    return "".join(lines)


def _folder() -> Path:
    return Path(os.environ[VARIABLE])


def crash_points(source: str) -> list[tuple[int, str]]:
    """Line number and label of each comment that is one; what stands in a text, or behind code, is none."""
    if _MARK not in source:
        return []
    return [
        (token.start[0], found.group(1))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
        and token.line.strip() == token.string
        and (found := LABEL.fullmatch(token.string))
    ]


def reached(label: str) -> None:
    """Returns, unless this is the pass that was ordered to be the last."""
    if label not in _passed:
        _passed.add(label)
        _note("passed", label)
    try:
        order = _folder() / "orders" / label
        given_at, wanted = order.stat().st_mtime_ns, int(order.read_text())
    except (OSError, ValueError):
        return
    counted_for, passes = _counted.get(label, (0, 0))
    passes = passes + 1 if counted_for == given_at else 1
    _counted[label] = (given_at, passes)
    if passes >= wanted:
        _die(label, passes)


def _die(label: str, passes: int) -> None:
    try:
        (_folder() / "orders" / label).unlink()
    except FileNotFoundError:
        return  # another process was quicker
    _note("deaths", label, f"{os.environ.get('ORDERSAGA_PROCESS', '?')} {os.getpid()} {passes}")
    os.kill(os.getpid(), signal.SIGKILL)
    # Other threads may run for a moment; this one goes no further.
    signal.pause()


def _note(kind: str, label: str, text: str = "") -> None:
    folder = _folder() / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / label).write_text(text)
