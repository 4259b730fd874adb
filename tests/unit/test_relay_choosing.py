"""By which way a relay gets its rows: what the environment has to say, and what is said of a wrong one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.change_data import EngineSettings
from shared.config import Source
from shared.errors import Misconfigured
from shared.relaying import choosing
from shared.relaying.sources import PollingSource

CDC = {
    "OUTBOX_RELAY": "cdc",
    "ORDER_REPLICATION_URL": "postgresql://order_service_cdc:secret@db:5433/order_service",
    "CDC_FOLDER": "/var/lib/ordersaga",
}


def chosen(values: Mapping[str, str]) -> object:
    return choosing.read_source(Source(values=values), "order_service")


@pytest.mark.parametrize("values", [{}, {"OUTBOX_RELAY": "polling"}, {"OUTBOX_RELAY": ""}])
def test_polling_needs_nothing_more(values: Mapping[str, str]) -> None:
    assert chosen(values) is PollingSource


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"OUTBOX_RELAY": "debezium"}, "OUTBOX_RELAY must be one of polling, cdc"),
        ({"ORDER_REPLICATION_URL": ""}, "ORDER_REPLICATION_URL is not set"),
        ({"ORDER_REPLICATION_URL": "postgresql://db/order_service"}, "needs a host, a database, a user and a password"),
        ({"CDC_FOLDER": ""}, "CDC_FOLDER is not set"),
    ],
)
def test_what_is_missing_is_named(changed: Mapping[str, str], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        chosen({**CDC, **changed})


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jpype", None)
    with pytest.raises(Misconfigured, match="make cdc"):
        chosen(CDC)


def test_the_engine_reads_the_outbox_on_a_slot_of_its_own() -> None:
    settings = choosing._engine_settings(Source(values=CDC), "order_service")
    assert isinstance(settings, EngineSettings)
    assert (settings.slot, settings.publication, settings.tables) == ("order_outbox", "ordersaga_outbox", ("outbox",))
    assert (settings.user, settings.host, settings.port) == ("order_service_cdc", "db", 5433)
    assert settings.snapshot_mode == "no_data"
    assert settings.offset_file == Path("/var/lib/ordersaga/order_outbox/offsets")
