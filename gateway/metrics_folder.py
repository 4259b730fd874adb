"""The folder through which gunicorn's workers share their figures: each writes its own files, any of them reads all.

Owns: making, emptying and removing it, in the master process. Must not know: which figures there are.
prometheus_client looks for PROMETHEUS_MULTIPROC_DIR when it is first imported, and then makes files: it must not be
imported before ``prepare``, which is why nothing here or in ``metrics`` imports it with the module.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class MetricsFolder:
    """Given by the operator, or made in the temporary folder and removed at the end."""

    def __init__(self, path: Path, *, is_ours: bool) -> None:
        self._path = path
        self._is_ours = is_ours

    @classmethod
    def prepare(cls, environment: MutableMapping[str, str]) -> MetricsFolder:
        """Empty, and named in ``environment`` for the workers. Raises OSError."""
        given = environment.get(VARIABLE)
        folder = cls(Path(given or tempfile.mkdtemp(prefix="ordersaga-metrics-")), is_ours=not given)
        folder._empty()
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
