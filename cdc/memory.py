"""What a connector remembers from one life to the next: whether it is paused.

Owns: that file. Must not know: positions, which PostgreSQL keeps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson


@dataclass(kw_only=True)
class Memory:
    """Written by one thread; read by any."""

    file: Path
    is_paused: bool = False

    @classmethod
    def read(cls, folder: Path) -> Memory:
        """What cannot be read was never paused."""
        file = folder / "connector.json"
        try:
            is_paused = orjson.loads(file.read_bytes()).get("paused") is True
        except (OSError, ValueError, AttributeError):
            is_paused = False
        return cls(file=file, is_paused=is_paused)

    def now_paused(self, is_paused: bool) -> None:
        """On the disk when this returns. Raises OSError."""
        said = {"paused": is_paused, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.write(orjson.dumps(said))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.file)
        self.is_paused = is_paused
