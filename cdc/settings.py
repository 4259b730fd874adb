"""A connector's settings: names, defaults, units. Reads them from the environment it is handed.

Owns: these. Must not know: what is captured (shared/change_data/captured.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.change_data import EngineSettings
from shared.change_data.captured import PUBLICATION, CapturedDatabase
from shared.change_data.settings import url_parts
from shared.config import Source


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``folder``: what the connector keeps between two lives; each connector has one of its own."""

    amqp_uri: str
    folder: Path
    engine: EngineSettings

    @classmethod
    def read(cls, source: Source, captured: CapturedDatabase) -> Settings:
        folder = Path(source.text("CDC_FOLDER"))
        parts = url_parts(source.text(replication_variable(captured.service)))
        return cls(
            amqp_uri=source.text("AMQP_URI"),
            folder=folder,
            engine=EngineSettings(
                name=captured.slot,
                database=captured.database,
                **parts,  # type: ignore[arg-type]
                slot=captured.slot,
                publication=PUBLICATION,
                tables=captured.tables,
                snapshot_tables=captured.snapshot_tables,
                kept_back=captured.kept_back,
                offset_file=folder / "offsets.dat",
                heartbeat_s=source.seconds("CDC_HEARTBEAT_S", 5),
            ),
        )


def replication_variable(service: str) -> str:
    """The address of a service's database for the role that reads its log."""
    return f"{service.removesuffix('_service').upper()}_REPLICATION_URL"
