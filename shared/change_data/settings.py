"""What an engine is told.

Owns: the settings of one engine. Must not know: Debezium's names for them (properties.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import make_url

from shared.errors import Misconfigured

SnapshotMode = Literal["initial", "no_data"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """``database``: what changes are said to come from ("order"); ``dbname``: what PostgreSQL calls it.

    ``offset_file``: in a folder of this engine's own, which is made if there is none; the file itself is written anew
    at each start, as the slot knows the position. Beside it stands whether the snapshot is complete.
    ``snapshot_mode``: "initial" reads all rows once, "no_data" never.
    ``snapshot_tables``: of ``tables`` those that a snapshot reads; None: all. ``kept_back``: columns ("table.column")
    that are in no change.
    ``poll_ms``: how long a change may wait for others to go with it.
    """

    name: str
    database: str
    host: str
    port: int
    dbname: str
    user: str
    password: str
    slot: str
    publication: str
    tables: tuple[str, ...]
    offset_file: Path
    snapshot_mode: SnapshotMode = "initial"
    snapshot_tables: tuple[str, ...] | None = None
    kept_back: tuple[str, ...] = ()
    heartbeat_s: float = 5.0
    poll_ms: int = 50
    largest_batch: int = 2048

    @property
    def snapshot_file(self) -> Path:
        """Exists once a snapshot has been handed over as a whole."""
        return self.offset_file.with_suffix(".snapshot")


def url_parts(url: str) -> dict[str, str | int]:
    """host, port, dbname, user and password of a database URL, as EngineSettings takes them. Raises Misconfigured."""
    parts = make_url(url)
    if not (parts.host and parts.database and parts.username and parts.password):
        raise Misconfigured("a database URL for replication needs a host, a database, a user and a password")
    return {
        "host": parts.host,
        "port": parts.port or 5432,
        "dbname": parts.database,
        "user": parts.username,
        "password": str(parts.password),
    }
