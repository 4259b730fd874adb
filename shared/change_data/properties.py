"""An engine's settings in Debezium's words.

Owns: which of Debezium's properties are set, and why. Must not know: Java.
"""

from __future__ import annotations

from shared.change_data.settings import EngineSettings

SCHEMA = "public"
NOTIFICATIONS = "notifications"
_HEARTBEAT = "ordersaga.heartbeat"
_MOST_QUEUED_BYTES = 32 * 1024 * 1024
_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"


def streaming_properties(settings: EngineSettings) -> dict[str, str]:
    """Reading the log from the position in the offset file on."""
    prefix = f"{_HEARTBEAT}.{settings.slot}"
    return {
        **_common_properties(settings),
        "snapshot.mode": "no_data",
        # The slot moves on with what is acknowledged, and with nothing else.
        "slot.name": settings.slot,
        "slot.drop.on.stop": "false",
        "publication.name": settings.publication,
        "publication.autocreate.mode": "disabled",
        "status.update.interval.ms": "5000",
        # A message in the log itself: it comes after everything that was committed before it, so it says how far we
        # are; and the slot moves on with it while no captured table changes, however much others write.
        "heartbeat.interval.ms": str(round(settings.heartbeat_s * 1000)),
        "heartbeat.action.query": f"select pg_logical_emit_message(true, '{prefix}', '')",
        "message.prefix.include.list": prefix.replace(".", r"\."),
        "table.include.list": _qualified(settings.tables),
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(settings.offset_file),
        "offset.flush.interval.ms": "0",
    }


def snapshot_properties(settings: EngineSettings) -> dict[str, str]:
    """Reading all rows once, in one transaction; neither slot nor offset file is touched."""
    tables = settings.tables if settings.snapshot_tables is None else settings.snapshot_tables
    return {
        **_common_properties(settings),
        "name": f"{settings.name}-snapshot",
        "snapshot.mode": "initial_only",
        "snapshot.locking.mode": "none",
        "table.include.list": _qualified(tables),
        "slot.name": settings.slot,
        "publication.name": settings.publication,
        "publication.autocreate.mode": "disabled",
        "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        # Says when it is complete, even of empty tables.
        "notification.enabled.channels": "sink",
        "notification.sink.topic.name": NOTIFICATIONS,
    }


def _common_properties(settings: EngineSettings) -> dict[str, str]:
    kept_back = {"column.exclude.list": _qualified(settings.kept_back)} if settings.kept_back else {}
    return {
        **kept_back,
        "name": settings.name,
        "topic.prefix": settings.database,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": settings.host,
        "database.port": str(settings.port),
        "database.user": settings.user,
        "database.password": settings.password,
        "database.dbname": settings.dbname,
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "interval.handling.mode": "string",
        "binary.handling.mode": "base64",
        "tombstones.on.delete": "false",
        "skipped.operations": "t",
        "provide.transaction.metadata": "false",
        "include.schema.changes": "false",
        "key.converter": _CONVERTER,
        "key.converter.schemas.enable": "false",
        "value.converter": _CONVERTER,
        "value.converter.schemas.enable": "false",
        "max.batch.size": str(settings.largest_batch),
        "max.queue.size": str(settings.largest_batch * 2),
        "max.queue.size.in.bytes": str(_MOST_QUEUED_BYTES),
        "poll.interval.ms": str(settings.poll_ms),
        # Whoever runs the engine starts it anew, from what the slot says.
        "errors.max.retries": "0",
        "slot.max.retries": "0",
        "record.processing.threads": "1",
        "record.processing.shutdown.timeout.ms": "100",
        "task.management.timeout.ms": "30000",
        "database.tcpKeepAlive": "true",
    }


def _qualified(names: tuple[str, ...]) -> str:
    """Regular expressions: table, or table.column."""
    return ",".join(f"{SCHEMA}.{name}".replace(".", r"\.") for name in names)
