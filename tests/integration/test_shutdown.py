"""SIGTERM: what is in flight is finished, the rest goes back to its queue, and every process ends in time.

Given all processes, each connected to broker and databases through links that can be damaged, and orders under way.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from faults.proxy import Damage, Proxies
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway_process import address_of, start_gateway
from harness.ports import free_port
from harness.processes import Processes, ServiceProcess
from harness.shop import Shop
from harness.whole import assert_whole

from ops.state import DATABASE_VARIABLES
from shared.messaging.addresses import split_addresses
from shared.process import DRAIN_LIMIT_S

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

ORDERS = 60
COUNTED = "select count(*), count(*) filter (where status = 'CONFIRMED') from orders"
START_WITHIN_S = 120.0
# The operating system's share, on a busy machine.
MARGIN_S = 20.0
# A server that stands still with the process's question can be waited for, or not: then it is cut off at the limit.
TROUBLES: dict[str, dict[str, Damage]] = {
    "all is well": {},
    "the broker is down": {"broker": Damage.REFUSE},
    "the broker is frozen": {"broker": Damage.STALL},
    "the databases are down": {"database": Damage.REFUSE},
    "the databases are frozen": {"database": Damage.STALL},
    "everything is down": {"broker": Damage.REFUSE, "database": Damage.REFUSE},
    "everything is frozen": {"broker": Damage.STALL, "database": Damage.STALL},
}


@pytest.fixture
def links(stack_environment: Mapping[str, str]) -> Iterator[Proxies]:
    [broker] = split_addresses(stack_environment["AMQP_URI"])
    ports = {
        "broker": urlsplit(broker).port or 5672,
        "database": urlsplit(stack_environment["ORDER_DATABASE_URL"]).port or 5432,
    }
    with Proxies(ports) as links:
        yield links


def _moved(address: str, port: int) -> str:
    return re.sub(r":\d+/", f":{port}/", address)


@pytest.fixture
def settings(links: Proxies, stack_environment: Mapping[str, str]) -> dict[str, str]:
    """Addresses that lead through the links."""
    ports = {name: link.port for name, link in links.links.items()}
    databases = {name: _moved(stack_environment[name], ports["database"]) for name in DATABASE_VARIABLES.values()}
    return {**databases, "AMQP_URI": _moved(stack_environment["AMQP_URI"], ports["broker"])}


@pytest.fixture
def ours(processes: Processes, settings: dict[str, str]) -> Iterator[list[ServiceProcess]]:
    """One of each kind that ends in its own way, ready. Inventory is out of it: it goes on."""
    psp = {
        "PSP_PORT": str(free_port()),
        "PSP_WEBHOOK_URL": "http://127.0.0.1:1/nobody",
        "PSP_WEBHOOK_SECRET": "secret",
    }
    try:
        inventory = [processes.start("inventory_service", command) for command in ("serve", "relay")]
        for service, command, more in (
            ("order_service", "serve", {}),
            ("order_service", "relay", {}),
            ("payment_service", "serve", {}),
            ("payment_service", "psp", psp),
        ):
            processes.start(service, command, **settings, **more).wait_ready(timeout_s=START_WITHIN_S)
        for process in inventory:
            process.wait_ready(timeout_s=START_WITHIN_S)
        yield [process for process in processes.all if process not in inventory]
    finally:
        for process in processes.all:
            process.kill()
        processes.all.clear()


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_every_process_ends_in_time(
    trouble: Mapping[str, Damage],
    links: Proxies,
    settings: dict[str, str],
    ours: list[ServiceProcess],
    processes: Processes,
    shop: Shop,
    databases: Databases,
    broker: Broker,
) -> None:
    gateway = start_gateway(settings["AMQP_URI"], GATEWAY_PORT="", GATEWAY_WORKERS="2")
    address_of(gateway)
    item = shop.product(on_hand=1_000)
    for _ in range(ORDERS):
        shop.place(item)

    with ExitStack() as damages:
        for name, damage in trouble.items():
            damages.enter_context(links.links[name].damaged(damage))
        began_s = time.monotonic()
        for process in ours:
            process.send(signal.SIGTERM)
        gateway.terminate()
        ends = {f"{p.service} {p.command}": (p.wait_end(), time.monotonic() - began_s) for p in ours}
        gateway.communicate(timeout=DRAIN_LIMIT_S)
        ends["gateway"] = (gateway.returncode, time.monotonic() - began_s)
    cut_off = {0, -signal.SIGALRM} if trouble.get("database") is Damage.STALL else {0}
    assert {code for code, _ in ends.values()} <= cut_off, ends
    assert max(took_s for _, took_s in ends.values()) < DRAIN_LIMIT_S + MARGIN_S, ends

    for process in ours[:-1]:
        process.start()
        process.wait_ready(timeout_s=START_WITHIN_S)
    processes.start("payment_service", "relay").wait_ready(timeout_s=START_WITHIN_S)
    shop.wait_until_all_ended()
    assert_whole(databases, broker)
    placed, confirmed = databases.query("order_service", COUNTED)[0]
    # A charge that the outage kept from ending in time is voided, and its order cancelled.
    assert (placed, shop.stock(item)) == (ORDERS, (1_000, confirmed))
