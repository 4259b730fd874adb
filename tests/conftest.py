"""Fixtures of the integration and e2e tests: one real broker and database server for each worker of a run.

ORDERSAGA_TEST_KEEP_STACK=1 leaves them running in .stack-test and .stack-test-2, so that the next run starts at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytest.register_assert_rewrite("harness")

from harness.broker import Broker  # noqa: E402
from harness.databases import Databases  # noqa: E402
from harness.processes import ROOT, Processes  # noqa: E402
from harness.shop import Shop  # noqa: E402
from harness.whole_stack import WholeStack  # noqa: E402

from gateway.rpc import RpcClient  # noqa: E402
from ops.stack import Stack  # noqa: E402

RPC_TIMEOUT_S = 20.0
# gw0, gw1: so pytest-xdist names its workers. Modules run side by side, each on the stack of its worker.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
STACK_FOLDER = ROOT / (".stack-test" if _WORKER == 1 else f".stack-test-{_WORKER}")

# Tests restart the broker: pika writes pages about each refused connection.
logging.getLogger("pika").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """RabbitMQ and PostgreSQL, migrated, with the topology; no services."""
    stack = Stack(STACK_FOLDER, report=print)
    stack.up(infrastructure_only=True)
    yield stack
    if not os.environ.get("ORDERSAGA_TEST_KEEP_STACK"):
        stack.down()


@pytest.fixture(scope="session")
def stack_environment(stack: Stack) -> Mapping[str, str]:
    """AMQP_URI, *_DATABASE_URL, MANAGEMENT_URL, ADMIN_MANAGEMENT_URL, ADMIN_DATABASE_URL."""
    return {**stack.environment(), **stack.administrator()}


@pytest.fixture(scope="session")
def relay_settings() -> Mapping[str, str]:
    """By which way relays get their rows: by polling. The modules in tests/cdc have another one."""
    return {}


@pytest.fixture(scope="session")
def databases(stack_environment: Mapping[str, str]) -> Iterator[Databases]:
    databases = Databases(stack_environment)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def broker(stack_environment: Mapping[str, str]) -> Iterator[Broker]:
    broker = Broker(stack_environment["AMQP_URI"])
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def rpc(stack_environment: Mapping[str, str]) -> Iterator[RpcClient]:
    client = RpcClient(stack_environment["AMQP_URI"], timeout_s=RPC_TIMEOUT_S)
    client.start()
    yield client
    client.close()


@pytest.fixture(scope="session")
def shop(rpc: RpcClient, databases: Databases) -> Shop:
    return Shop(rpc, databases)


@pytest.fixture(scope="session")
def whole_stack(stack: Stack, databases: Databases, broker: Broker) -> Iterator[WholeStack]:
    """For the modules that use what people use; the others stop it."""
    whole_stack = WholeStack(stack, databases, broker)
    yield whole_stack
    whole_stack.infrastructure_only()


@pytest.fixture(scope="module")
def empty_stack(whole_stack: WholeStack, databases: Databases, broker: Broker) -> None:
    """Nothing in any table or queue when a module's first process starts."""
    whole_stack.infrastructure_only()
    broker.purge_all()
    databases.empty()


@pytest.fixture(scope="module")
def processes(
    empty_stack: None, stack_environment: Mapping[str, str], stack: Stack, request: pytest.FixtureRequest
) -> Iterator[Processes]:
    """Services and relays of one module; their logs are in logs/tests/<module> of the stack."""
    logs = stack.folder / "logs" / "tests" / Path(str(request.path)).stem
    for old in logs.glob("*.log"):
        old.unlink()
    processes = Processes(stack_environment, logs)
    yield processes
    processes.stop()


@pytest.fixture
def clean(databases: Databases, broker: Broker) -> None:
    """Nothing in any table or queue when a test begins, also while the module's services run."""
    broker.purge_all()
    databases.empty()
