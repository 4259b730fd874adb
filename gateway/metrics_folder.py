"""The folder through which gunicorn's workers share their figures: each writes its own files, any of them reads all.

Owns: making, emptying and removing it, in the master process. Must not know: which figures there are.
prometheus_client looks for PROMETHEUS_MULTIPROC_DIR when it is first imported, and then makes files: it must not be
imported before ``prepare``, which is why nothing here or in ``metrics`` imports it with the module.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "ordersaga-metrics-"
_JUST_NOW_S = 60.0


class MetricsFolder:
    """Given by the operator, or made in the temporary folder and removed at the end."""

    def __init__(self, path: Path, *, is_ours: bool) -> None:
        self._path = path
        self._is_ours = is_ours

    @classmethod
    def prepare(cls, environment: MutableMapping[str, str]) -> MetricsFolder:
        """Empty, and named in ``environment`` for the workers. Raises OSError."""
        given = environment.get(VARIABLE)
        if not given:
            _remove_left_behind()
        folder = cls(Path(given or tempfile.mkdtemp(prefix=_PREFIX)), is_ours=not given)
        folder._empty()
        _lock(folder._path)
        environment[VARIABLE] = str(folder._path)
        return folder

    def _empty(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        # What an earlier gateway counted is not what this one counts.
        for old in self._path.glob("*.db"):
            old.unlink()

    def forget_worker(self, pid: int) -> None:
        """Its counters stay, for the sums; what it had under way is over."""
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(self._path))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        if self._is_ours:
            shutil.rmtree(self._path, ignore_errors=True)


def _lock(path: Path) -> int | None:
    """The lock's descriptor, which is never closed: this process and its workers hold it until the last has ended."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_left_behind() -> None:
    """Folders of gateways that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            # One that was made just now may not be locked yet.
            lock = _lock(path) if time.time() - path.stat().st_mtime > _JUST_NOW_S else None
        except OSError:
            # Somebody else's, or gone meanwhile.
            continue
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
