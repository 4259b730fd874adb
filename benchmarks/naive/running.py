"""Databases and processes of the naive saga, on the broker and the PostgreSQL of a stack.

Owns: making them and ending them. Must not know: what is measured.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from benchmarks.alone import started
from ops.databases import create_databases
from ops.folder import PROJECT_FOLDER, StackFolder
from ops.processes import ProcessSpec, base_environment
from ops.stack import Stack
from ops.state import StackState, load_state
from payment_service.psp_book import create_book
from shared.migrations import upgrade

SERVICES = {
    "naive_order": ("benchmarks.naive.orders:NaiveOrders", "order_service"),
    "naive_inventory": ("benchmarks.naive.inventory:NaiveInventory", "inventory_service"),
    "naive_payment": ("benchmarks.naive.payments:NaivePayments", "payment_service"),
}
_PROVIDER = "naive_psp"


def create_tables(stack: Stack) -> dict[str, str]:
    """Databases with the tables of the real services, by their own migrations; database → URL."""
    names = (*SERVICES, _PROVIDER)
    passwords = {name: secrets.token_hex(16) for name in names}
    create_databases(stack.administrator()["ADMIN_DATABASE_URL"], names, passwords)
    port = _state(stack).ports["postgres"]
    urls = {name: f"postgresql+psycopg2://{name}:{passwords[name]}@127.0.0.1:{port}/{name}" for name in names}
    for name, (_, service) in SERVICES.items():
        upgrade(PROJECT_FOLDER / service / "migrations", urls[name])
    create_book(urls[_PROVIDER])
    return urls


@contextmanager
def services(stack: Stack, urls: Mapping[str, str]) -> Iterator[dict[int, str]]:
    """All three, one process each; pid → name."""
    with ExitStack() as running:
        yield {running.enter_context(_service(stack, name, urls)): name for name in SERVICES}


@contextmanager
def _service(stack: Stack, name: str, urls: Mapping[str, str]) -> Iterator[int]:
    config = stack.folder / f"{name}.yml"
    settings = {"AMQP_URI": _state(stack).amqp_uri(), "DB_URIS": {f"{name}:Base": urls[name]}}
    config.touch(mode=0o600)
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    spec = ProcessSpec(
        name=name,
        command=(str(Path(sys.executable).with_name("nameko")), "run", "--config", str(config), SERVICES[name][0]),
        environment={
            **base_environment(stack.folder),
            "PYTHONPATH": str(PROJECT_FOLDER),
            "PYTHONWARNINGS": "ignore",
            "PSP_DATABASE_URL": urls[_PROVIDER],
        },
        stage=2,
    )
    with started(stack, spec, log=name) as pid:
        yield pid


def _state(stack: Stack) -> StackState:
    state = load_state(StackFolder(root=stack.folder))
    if state is None:
        raise RuntimeError(f"there is no stack in {stack.folder}")
    return state
