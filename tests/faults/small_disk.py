"""A database on a disk that is too small.

Owns: that arena, and the fault of filling it. Must not know: load, invariants.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ops.folder import StackFolder
from ops.processes import base_environment, run_once
from ops.stack import Stack

from .arena import Wanted, arena_of, arena_settings
from .fault import Arena, ArenaKind, Fault, NotPossibleHere, Simple
from .processes import wait_for
from .strokes import wait_for_database

DISK_MB = 768
_LEFT_BYTES = 64 * 1024
_CHUNK_BYTES = 4 * 1024 * 1024
_FULL_WITHIN_S = 30.0


@contextmanager
def small_disk(wanted: Wanted) -> Iterator[Arena]:
    """As the plain arena; the folder of PostgreSQL is a file system in memory, of its own, so that it can be full."""
    folder = wanted.folder.with_name(f"{wanted.folder.name}-disk")
    stack = Stack(folder, report=wanted.say)
    disk = StackFolder(root=folder).postgres
    _unmount(disk)
    stack.down(delete_data=True)
    disk.mkdir(parents=True, mode=0o700)
    try:
        _mount(disk)
        stack.up(settings=arena_settings(wanted), replicas=wanted.replicas)
        yield replace(arena_of(stack, wanted), kind=ArenaKind.SMALL_DISK)
    finally:
        stack.down()
        _unmount(disk)


def _mount(disk: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(disk)]
    done = run_once(command, environment=base_environment(Path("/")))
    if done.returncode != 0:
        raise NotPossibleHere(f"mounting a small disk: {done.stdout.strip()}")


def _unmount(disk: Path) -> None:
    if disk.is_mount():
        run_once(["umount", "--lazy", str(disk)], environment=base_environment(Path("/")))


def fill_disk(arena: Arena) -> int:
    """To the last block: PostgreSQL cannot write its log, panics, and cannot even recover until there is room again."""
    disk = StackFolder(root=arena.stack.folder).postgres
    filler = disk / "filler"
    log = arena.stack.log("postgres")
    before = _times_full(log)
    arena.say(f"fill the database's disk ({shutil.disk_usage(disk).free // 2**20} MB free)")
    try:
        _fill(filler)
        wait_for(lambda: _times_full(log) > before or _fill(filler) > 0, "the disk is full", timeout_s=_FULL_WITHIN_S)
        wait_for(lambda: _times_full(log) > before, "PostgreSQL runs out of disk", timeout_s=_FULL_WITHIN_S)
        time.sleep(4.0 if arena.is_quick else arena.chance.uniform(5.0, 15.0))
    finally:
        filler.unlink(missing_ok=True)
    arena.say("room again")
    wait_for_database(arena)
    return 1


def _fill(path: Path) -> int:
    """Append until nothing more fits; how many bytes did. Unbuffered: what does not fit must not wait for the end."""
    written = 0
    with path.open("ab", buffering=0) as file:
        for size in (_CHUNK_BYTES, _LEFT_BYTES, 4096):
            with suppress(OSError):
                while True:
                    written += file.write(bytes(size))
    return written


def _times_full(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count("No space left on device")


SMALL_DISK: tuple[Fault, ...] = (
    Simple(name="disk-full", summary="PostgreSQL's disk is full", do=fill_disk, arena=ArenaKind.SMALL_DISK),
)
