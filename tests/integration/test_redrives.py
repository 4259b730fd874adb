"""Redrives on a real broker and real services: a frozen selection goes back where it failed, one first, until it fails
again; whoever drives it may die anywhere, and nothing is lost nor done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from flask.testing import FlaskClient
from harness.broker import Broker
from harness.databases import Databases
from harness.gateway_process import address_of, start_gateway
from harness.login import ADMIN, client_of, token
from harness.payloads import new_order_id, order_created, payment_failed
from harness.processes import ROOT, Processes, ServiceProcess
from harness.redrive_driver import LABELS, WORK_QUEUES, Drivers, exit_code
from harness.waiting import wait_until

from gateway.admin.desk import register_desk
from gateway.rpc import RpcClient
from ops.stack import Stack
from order_service.redriving import MISSED_FOR
from shared.messaging.dead_letters import DeadLetters

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("services", "clean")]

QUEUE = "inventory_service.ORDER_CREATED"
DEAD = f"{QUEUE}.dead"
REDRIVES = "/api/v1/admin/redrives"
FAILED = {
    "schema_version": 1,
    "x-attempts": 3,
    "x-error": "RetriesExhausted: failed 4 times",
    "x-error-code": "retries_exhausted",
    "x-failed-at": "2026-01-01T12:00:00+00:00",
    "x-origin-queue": QUEUE,
    "x-origin-exchange": "order_service.events",
}
FAST = {"perSecond": 1000}
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def services(processes: Processes) -> dict[str, ServiceProcess]:
    started = {name: processes.start(name) for name in ("order_service", "inventory_service")}
    for process in started.values():
        process.wait_ready()
    return started


@pytest.fixture(scope="module")
def client(stack_environment: Mapping[str, str], rpc: RpcClient, services: Any) -> Iterator[FlaskClient]:
    with pytest.MonkeyPatch.context() as patient:
        # Of hundreds of connections one may meet a broker that has a lot to do.
        patient.setattr("shared.messaging.brief_connection.CONNECT_LIMIT_S", PATIENCE_S)
        client = client_of(rpc)
        register_desk(client.application, DeadLetters(stack_environment["AMQP_URI"], WORK_QUEUES, limit_s=PATIENCE_S))
        yield client


@pytest.fixture
def item(rpc: RpcClient, clean: None) -> str:
    name = f"item-{uuid4().hex[:8]}"
    product = {"item": name, "name": name, "sellerId": "shop", "price": "10.00", "currency": "EUR", "onHand": 10_000}
    rpc.call("inventory_service", "create_product", product=product)
    return name


def _bury(broker: Broker, payload: Any, queue: str = QUEUE, under: str = "", **changes: Any) -> str:
    """A dead letter of ``queue``, found ``under`` another one's; its event id."""
    id_ = str(uuid4())
    headers = {**FAILED, "x-origin-queue": queue, **changes}
    broker.publish(
        "",
        f"{under or queue}.dead",
        payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
        pika.BasicProperties(
            message_id=id_,
            type=queue.partition(".")[2],
            content_type="application/json",
            delivery_mode=2,
            headers={name: value for name, value in headers.items() if value is not None},
        ),
    )
    return id_


def _bury_good(broker: Broker, item: str, count: int) -> list[str]:
    ids = [_bury(broker, order_created(new_order_id(), item)) for _ in range(count)]
    _depth_is(broker, DEAD, count)
    return ids


def _select(broker: Broker, client: FlaskClient, count: int, **said: Any) -> dict[str, Any]:
    """A run over that many letters, all of them back in their queue after they were looked at."""
    run = _create(client, **said)
    _depth_is(broker, DEAD, count)
    return run


def _create(client: FlaskClient, filter_: Mapping[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    body = {"filter": dict(filter_ or {}), "pace": {**FAST, **said.pop("pace", {})}, **said}
    response = client.post(REDRIVES, json=body, headers=_key())
    assert response.status_code == 201, response.text
    return dict(response.get_json())


def _key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


def _step(client: FlaskClient, run: Mapping[str, Any]) -> dict[str, Any]:
    response = client.post(f"{REDRIVES}/{run['id']}/advance", json={})
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def _drive(client: FlaskClient, run: Mapping[str, Any], *, timeout_s: float = 150.0) -> list[dict[str, Any]]:
    """All steps until the run is done or stopped."""
    steps: list[dict[str, Any]] = []

    def has_ended() -> bool:
        steps.append(_step(client, run))
        return steps[-1]["step"] in ("done", "stopped")

    wait_until(has_ended, "the run has ended", timeout_s=timeout_s)
    return steps


def _reserved(databases: Databases, item: str) -> int:
    return int(databases.value("inventory_service", "select reserved from stock where item = %s", item))


def _depth_is(broker: Broker, queue: str, depth: int) -> None:
    wait_until(lambda: broker.depth(queue) == depth, f"{queue} has {depth} messages")


def _let_the_lease_lapse(databases: Databases) -> None:
    databases.query("order_service", "update redrive_runs set leased_until = now() - interval '1 second'")


def _let_the_missed_be_missed_for_long(databases: Databases) -> None:
    missed = "update redrive_letters set since = since - %s where state = 'SELECTED' and since is not null"
    databases.query("order_service", missed, MISSED_FOR)


def _audited(client: FlaskClient, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the run, oldest first. Payment does not run, so the order service's own log is asked."""
    answer = client.application.extensions["ordersaga.services"].call(
        "order_service", "list_audit", object_id=run["id"]
    )
    return list(reversed(answer["entries"]))


class TestAllGoesWell:
    def test_one_first_then_growing_batches_until_all_are_applied(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        ids = _bury_good(broker, item, 20)

        run = _create(client, pace={"most": 6})
        steps = _drive(client, run)

        assert [step["sent"] for step in steps if step["sent"]] == [1, 2, 4, 6, 6, 1]
        done = steps[-1]["redrive"]
        assert (done["state"], done["total"], done["letters"]["applied"]) == ("DONE", 20, 20)
        assert _reserved(databases, item) == 20
        assert (broker.depth(DEAD), broker.depth(QUEUE)) == (0, 0)
        entries = _audited(client, run)
        assert [entry["action"] for entry in entries] == ["create_redrive", *["redrive_batch"] * 6, "finish_redrive"]
        told = [id_ for entry in entries[1:-1] for id_ in entry["after"]["eventIds"]]
        assert sorted(told) == sorted(ids)

    def test_what_is_not_selected_stays_in_its_place(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        before = [_bury(broker, b"x", **{"x-error-code": "undecodable"}) for _ in range(3)]
        _bury(broker, order_created(new_order_id(), item))
        after = [_bury(broker, b"y", **{"x-error-code": "undecodable"}) for _ in range(3)]
        _depth_is(broker, DEAD, 7)

        run = _create(client, {"error": "retries_exhausted"})
        late = _bury(broker, order_created(new_order_id(), item))
        _drive(client, run)

        assert run["total"] == 1
        assert _reserved(databases, item) == 1
        _depth_is(broker, DEAD, 7)
        assert [letter.properties.message_id for letter in broker.take(DEAD)] == [*before, *after, late]

    def test_each_goes_to_the_queue_in_which_it_failed_and_to_no_other_consumer(
        self, broker: Broker, client: FlaskClient
    ) -> None:
        """Given PAYMENT_FAILED, which two services consume, dead for one of them and found under another queue."""
        order_id = new_order_id()
        _bury(
            broker, payment_failed(order_id), "inventory_service.PAYMENT_FAILED", under="order_service.PAYMENT_FAILED"
        )
        _depth_is(broker, "order_service.PAYMENT_FAILED.dead", 1)

        run = _create(client, {"consumer": "order_service"})
        done = _drive(client, run)[-1]["redrive"]

        assert done["letters"]["applied"] == 1
        # The order service would have noted an event of an order that it does not know.
        inbox = client.application.extensions["ordersaga.services"]
        applied = {
            service: inbox.call(service, "known_events", event_ids=[_letters(client, run)[0]["eventId"]])
            for service in ("order_service", "inventory_service")
        }
        assert [bool(found) for found in applied.values()] == [False, True]

    def test_the_rate_is_kept(self, broker: Broker, client: FlaskClient, item: str) -> None:
        _bury_good(broker, item, 3)
        run = _select(broker, client, 3, pace={"perSecond": 0.1})

        first, *_ = (_step(client, run) for _ in range(1))
        paced = wait_until(lambda: _only(_step(client, run), "pace"), "the first one is applied")

        assert first["sent"] == 1
        assert 1 < paced["waitS"] <= 10
        assert broker.depth(QUEUE) == 0
        stopped = client.post(f"{REDRIVES}/{run['id']}/stop", json={"note": "enough"}, headers=_key()).get_json()
        assert (stopped["state"], stopped["reason"], stopped["detail"]) == ("STOPPED", "operator", "enough")
        _depth_is(broker, DEAD, 2)


def _only(step: dict[str, Any], name: str) -> dict[str, Any] | None:
    return step if step["step"] == name else None


def _letters(client: FlaskClient, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(client.get(f"{REDRIVES}/{run['id']}/letters").get_json()["letters"])


class TestFailingAgain:
    def test_it_stops_at_the_first_batch_that_fails_and_sends_no_more(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        """Given three good ones before a bad one, then the batch with the bad one is the last."""
        for number in range(10):
            good = order_created(new_order_id(), item)
            bad = {"id": new_order_id()}
            _bury(broker, bad if number == 3 else good, **{"x-failed-at": f"2026-01-01T12:00:{number:02}+00:00"})
        _depth_is(broker, DEAD, 10)

        run = _create(client)
        steps = _drive(client, run)

        stopped = steps[-1]["redrive"]
        assert [step["sent"] for step in steps if step["sent"]] == [1, 2, 4]
        assert (stopped["state"], stopped["reason"]) == ("STOPPED", "failed_again")
        assert "InvalidPayload" in stopped["detail"]
        assert (stopped["letters"]["failedAgain"], stopped["letters"]["selected"]) == (1, 3)
        assert [letter["number"] for letter in stopped["troubled"]] == [4]
        wait_until(lambda: _reserved(databases, item) == 6, "the others of its batch are applied")
        _depth_is(broker, DEAD, 4)

        resumed = client.post(f"{REDRIVES}/{run['id']}/resume", json={}, headers=_key()).get_json()
        again = _drive(client, run)

        assert (resumed["state"], resumed["nextBatch"]) == ("RUNNING", 1)
        assert [step["sent"] for step in again if step["sent"]] == [1, 2]
        assert again[-1]["redrive"]["state"] == "DONE"
        assert _reserved(databases, item) == 9
        _depth_is(broker, DEAD, 1)

    def test_one_that_was_applied_before_and_cannot_be_read_any_more_stops_it_too(
        self, broker: Broker, client: FlaskClient
    ) -> None:
        _bury(broker, {"id": "no id"})
        _depth_is(broker, DEAD, 1)

        stopped = _drive(client, _create(client))[-1]["redrive"]

        assert (stopped["state"], stopped["letters"]["failedAgain"]) == ("STOPPED", 1)
        _depth_is(broker, DEAD, 1)

    def test_what_cannot_be_sent_is_left_out_and_stays(self, broker: Broker, client: FlaskClient, item: str) -> None:
        _bury(broker, order_created(new_order_id(), item), "nobody.NOTHING", under=QUEUE)
        _bury(broker, order_created(new_order_id(), item))
        _depth_is(broker, DEAD, 2)

        run = _create(client)
        done = _drive(client, run)[-1]["redrive"]

        assert (done["state"], done["letters"]["leftOut"], done["letters"]["applied"]) == ("DONE", 1, 1)
        assert {letter["detail"] for letter in _letters(client, run)} == {"unknown_origin", None}
        _depth_is(broker, DEAD, 1)

    def test_what_somebody_else_took_is_gone(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        _bury_good(broker, item, 2)
        run = _select(broker, client, 2)
        broker.take(DEAD)

        missed = _step(client, run)
        _let_the_missed_be_missed_for_long(databases)
        done = _drive(client, run)[-1]["redrive"]

        assert (missed["step"], missed["redrive"]["letters"]["gone"]) == ("await_letters", 0)
        assert (done["state"], done["letters"]["gone"]) == ("DONE", 2)

    def test_what_follows_many_that_are_gone_is_sent_all_the_same(
        self, stack_environment: Mapping[str, str], broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        _bury_good(broker, item, 45)
        run = _select(broker, client, 45)
        assert len(DeadLetters(stack_environment["AMQP_URI"], WORK_QUEUES).discard(QUEUE, 40).events) == 40
        _depth_is(broker, DEAD, 5)

        assert _step(client, run)["step"] == "await_letters"
        _let_the_missed_be_missed_for_long(databases)
        wait_until(lambda: _step(client, run)["sent"], "what is there is sent, while the rest of the others is missed")
        _let_the_missed_be_missed_for_long(databases)
        done = _drive(client, run)[-1]["redrive"]

        assert (done["state"], done["letters"]["gone"], done["letters"]["applied"]) == ("DONE", 40, 5)
        assert _reserved(databases, item) == 5

    def test_nothing_selected_is_a_refusal(self, client: FlaskClient) -> None:
        response = client.post(REDRIVES, json={"filter": {"error": "none"}}, headers=_key())

        assert (response.status_code, response.get_json()["code"]) == (422, "nothing_selected")


class TestInterrupted:
    @pytest.fixture
    def drivers(self, stack_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Drivers]:
        monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests'}:{ROOT}")
        drivers = Drivers(stack_environment["AMQP_URI"])
        yield drivers
        drivers.stop()

    @pytest.mark.parametrize("label", LABELS)
    def test_killed_at_each_step_nothing_is_lost_and_each_has_its_effect_once(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str, drivers: Drivers, label: str
    ) -> None:
        _bury_good(broker, item, 7)
        run = _create(client)

        # Twice, so that it also dies on what the first one left behind.
        codes = []
        for _ in range(2):
            codes.append(exit_code(drivers.start(run["id"], label)))
            _let_the_lease_lapse(databases)
        _drive(client, run, timeout_s=120)

        assert codes == [-signal.SIGKILL] * 2
        done = client.get(f"{REDRIVES}/{run['id']}").get_json()
        assert (done["state"], done["letters"]["applied"]) == ("DONE", 7)
        wait_until(lambda: broker.depth(QUEUE) == 0, "all is consumed")
        assert _reserved(databases, item) == 7
        assert broker.depth(DEAD) == 0

    def test_several_at_once_do_no_harm(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str, drivers: Drivers
    ) -> None:
        ids = _bury_good(broker, item, 40)
        run = _create(client, pace={"most": 5})

        started = [drivers.start(run["id"]) for _ in range(3)]

        assert [exit_code(driver) for driver in started] == [0, 0, 0]
        assert _reserved(databases, item) == 40
        told = [id_ for e in _audited(client, run) if e["action"] == "redrive_batch" for id_ in e["after"]["eventIds"]]
        assert sorted(told) == sorted(ids)
        assert broker.depth(DEAD) == 0

    def test_the_broker_is_killed_in_between(
        self, stack: Stack, broker: Broker, databases: Databases, client: FlaskClient, item: str, drivers: Drivers
    ) -> None:
        _bury_good(broker, item, 12)
        run = _create(client, pace={"most": 2})
        driver = drivers.start(run["id"])
        wait_until(lambda: _reserved(databases, item) >= 3, "some were applied")

        stack.kill("rabbitmq")
        stack.up(infrastructure_only=True)

        assert exit_code(driver, timeout_s=180) == 0
        assert _reserved(databases, item) == 12
        _depth_is(broker, DEAD, 0)

    def test_the_order_service_is_killed_in_between(
        self,
        services: dict[str, ServiceProcess],
        broker: Broker,
        databases: Databases,
        client: FlaskClient,
        item: str,
        drivers: Drivers,
    ) -> None:
        _bury_good(broker, item, 12)
        run = _create(client, pace={"most": 2})
        driver = drivers.start(run["id"])
        wait_until(lambda: _reserved(databases, item) >= 3, "some were applied")

        services["order_service"].restart_killed()
        services["order_service"].wait_ready()

        assert exit_code(driver, timeout_s=180) == 0
        assert _reserved(databases, item) == 12
        _depth_is(broker, DEAD, 0)

    def test_its_consumer_is_away_then_nothing_more_is_sent_until_it_is_back(
        self,
        services: dict[str, ServiceProcess],
        broker: Broker,
        databases: Databases,
        client: FlaskClient,
        item: str,
    ) -> None:
        _bury_good(broker, item, 3)
        run = _select(broker, client, 3)
        services["inventory_service"].kill()

        first = _step(client, run)
        waits = _step(client, run)
        services["inventory_service"].start()
        services["inventory_service"].wait_ready()
        _drive(client, run)

        assert (first["sent"], waits["sent"], waits["step"]) == (1, 0, "await_outcome")
        assert _reserved(databases, item) == 3


class TestCommandLine:
    def test_it_and_the_gateways_worker_are_killed_and_another_one_goes_on(
        self, stack_environment: Mapping[str, str], broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        _bury_good(broker, item, 12)
        gateway = start_gateway(stack_environment["AMQP_URI"])
        try:
            host, port = address_of(gateway)
            there = {"ORDERSAGA_GATEWAY": f"http://{host}:{port}", "ORDERSAGA_TOKEN": token(ADMIN)}
            first = _command(there, "--rate", "1", "--yes")
            wait_until(lambda: _reserved(databases, item) >= 2, "some were applied")
            for worker in _children(gateway.pid):
                os.kill(worker, signal.SIGKILL)
            first.kill()
            first.wait()
            [run] = client.get(REDRIVES).get_json()["redrives"]
            second = _command(there, "--resume", run["id"])

            assert second.wait(120) == 0
        finally:
            gateway.terminate()
            gateway.wait(30)
            assert gateway.stdout is not None
            gateway.stdout.close()
        assert (run["state"], run["total"]) == ("RUNNING", 12)
        assert _reserved(databases, item) == 12
        assert broker.depth(DEAD) == 0


def _command(there: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "ops.cli", "dead-letters", "redrive", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **there}, stdout=subprocess.DEVNULL)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class TestOverlapping:
    def test_two_runs_of_the_same_letters_send_each_once(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        _bury_good(broker, item, 10)
        runs = [_create(client) for _ in range(2)]

        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lambda run: _drive(client, run)[-1]["redrive"], runs))

        assert [run["state"] for run in ended] == ["DONE", "DONE"]
        assert sum(run["letters"]["applied"] for run in ended) >= 10
        assert _reserved(databases, item) == 10
        assert broker.depth(DEAD) == 0

    def test_twins_to_the_byte_are_two_letters(
        self, broker: Broker, databases: Databases, client: FlaskClient, item: str
    ) -> None:
        body = json.dumps(order_created(new_order_id(), item)).encode()
        properties = pika.BasicProperties(message_id=str(uuid4()), type="ORDER_CREATED", headers=dict(FAILED))
        for _ in range(2):
            broker.publish("", DEAD, body, properties)
        _depth_is(broker, DEAD, 2)

        done = _drive(client, _create(client))[-1]["redrive"]

        assert (done["total"], done["letters"]["applied"]) == (2, 2)
        assert _reserved(databases, item) == 1
        assert broker.depth(DEAD) == 0

    def test_a_repeated_request_makes_no_second_run(self, broker: Broker, client: FlaskClient, item: str) -> None:
        _bury_good(broker, item, 2)
        key = _key()

        first = client.post(REDRIVES, json={"filter": {}}, headers=key)
        _drive(client, first.get_json())
        second = client.post(REDRIVES, json={"filter": {}}, headers=key)

        assert first.get_json()["id"] == second.get_json()["id"]
        assert second.headers["Idempotent-Replayed"] == "true"
