"""By which way a relay gets its rows, as its environment says.

Owns: reading OUTBOX_RELAY and what goes with it. Must not know: how the ways work.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shared.config import Source
from shared.relaying.database import RelayDatabase
from shared.relaying.sources import PollingSource, RowSource, SourceMaker

if TYPE_CHECKING:
    from shared.change_data import EngineSettings
    from shared.relaying.feed import Engine, Handle

POLLING, CDC = "polling", "cdc"
# How soon a feed is known to stream, and so how long a relay polls after its start. A beat is a line in the log.
HEARTBEAT_S = 1.0
# How long a row may wait for others, which is felt in every step of every order.
GATHER_CHANGES_MS = 5


def read_source(source: Source, service: str) -> SourceMaker:
    """Raises Misconfigured: an unknown way, or CDC without what it needs."""
    if source.choice("OUTBOX_RELAY", (POLLING, CDC), POLLING) == POLLING:
        return PollingSource
    from shared.change_data import ChangeEngine
    from shared.change_data.machine import check_installed

    settings = _engine_settings(source, service)
    check_installed()
    return from_changes(lambda handle: ChangeEngine(settings, handle))


def from_changes(make_engine: Callable[[Handle], Engine]) -> SourceMaker:
    """Each source has a feed of its own."""
    from shared.relaying.changes import ChangeSource
    from shared.relaying.feed import ChangeFeed

    def make(database: RelayDatabase, service: str) -> RowSource:
        return ChangeSource(database, service, feed=ChangeFeed(make_engine))

    return make


def _engine_settings(source: Source, service: str) -> EngineSettings:
    from shared.change_data import EngineSettings
    from shared.change_data.captured import OUTBOX, OUTBOX_PUBLICATION, outbox_slot
    from shared.change_data.settings import url_parts

    slot, database = outbox_slot(service), service.removesuffix("_service")
    return EngineSettings(
        name=slot,
        database=database,
        **url_parts(source.text(f"{database.upper()}_REPLICATION_URL")),  # type: ignore[arg-type]
        slot=slot,
        publication=OUTBOX_PUBLICATION,
        tables=(OUTBOX,),
        offset_file=Path(source.text("CDC_FOLDER")) / slot / "offsets",
        snapshot_mode="no_data",
        heartbeat_s=HEARTBEAT_S,
        poll_ms=GATHER_CHANGES_MS,
    )
