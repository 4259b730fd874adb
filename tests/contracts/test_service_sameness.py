"""The same file names in each service: that sameness is the map of the house."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

SERVICES = ("order_service", "inventory_service", "payment_service")
CORE = {"__init__", "__main__", "service", "handlers", "domain", "models", "queries", "schemas", "settings", "requests"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_core_files(service: str) -> None:
    assert {path.stem for path in (ROOT / service).glob("*.py")} >= CORE
    assert (ROOT / service / "migrations" / "versions" / "0001_first.py").exists()
    assert (ROOT / service / "py.typed").exists()


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_says_what_it_is(service: str) -> None:
    for path in (ROOT / service).glob("*.py"):
        assert path.read_text(encoding="utf-8").startswith('"""'), path


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("service", ()),
        ("handlers", ("SERVICE", "Changes", "apply_events")),
        ("domain", ("TRANSITIONS", "Happening", "Rules", "Decision", "decide")),
        ("schemas", ("PUBLISHED",)),
        ("models", ("Base", "Outbox", "Inbox")),
        ("settings", ("Settings",)),
        ("__main__", ("PROCESS",)),
    ],
)
def test_the_same_words_mean_the_same_in_every_service(service: str, module: str, names: tuple[str, ...]) -> None:
    found = import_module(f"{service}.{module}")
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_process_points_at_what_exists(service: str) -> None:
    process = import_module(f"{service}.__main__").PROCESS
    assert (process.name, import_module(f"{service}.handlers").SERVICE) == (service, service)
    for path in (process.service, process.settings):
        module, _, name = path.partition(":")
        assert hasattr(import_module(module), name)
    assert process.database_setting == f"{service.removesuffix('_service').upper()}_DATABASE_URL"
    assert (process.migrations / "env.py").exists()


def test_both_sides_know_how_many_events_come_at_once() -> None:
    """The gateway takes a full answer for "there may be more"."""
    assert import_module("gateway.feed").MOST_EVENTS == import_module("order_service.listings").MOST_EVENTS
