"""What an engine keeps in files: where it is to begin, and whether its snapshot is complete.

Owns: these two files. Must not know: where an engine should begin (slot.py).

The offset file is Debezium's way to be told a position. It is written as a whole before each start, so that one which a
kill has cut in half is of no consequence.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from shared.change_data import machine
from shared.change_data.settings import EngineSettings


def write_offset(settings: EngineSettings, lsn: int) -> None:
    """Begin after ``lsn``, which is the end of a transaction. The machine runs.

    Without lsn_proc and lsn_commit, which Debezium would search for in the log: two records may have the same position
    (the end of a transaction, the beginning of the next), and then it passes over one.
    """
    key = orjson.dumps([settings.name, {"server": settings.database}])
    value = orjson.dumps({"lsn": lsn})
    _write(settings.offset_file, machine.serialized_map({key: value}))


def has_snapshot(settings: EngineSettings) -> bool:
    return settings.snapshot_file.exists()


def snapshot_is_complete(settings: EngineSettings) -> None:
    _write(settings.snapshot_file, b"complete\n")


def forget_snapshot(settings: EngineSettings) -> None:
    settings.snapshot_file.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """In one step, and on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
