"""The payment simulator on its real book and as a real process: what anyone may rely on who deals with it."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from uuid import uuid4

import eventlet
import psycopg2
import pytest
from harness.broker import Broker
from harness.databases import Databases
from harness.payloads import inventory_reserved, new_order_id
from harness.ports import free_port
from harness.processes import Processes, ServiceProcess
from harness.waiting import wait_until
from sqlalchemy import event

from ops.errors import StackError
from ops.psp_client import PspClient
from payment_service.circuit import within
from payment_service.provider import Approved, Charge, ChargeOutcome, Declined, Processing
from payment_service.psp_book import create_book
from payment_service.psp_simulator import PspSimulator
from payment_service.webhooks import SIGNATURE_HEADER, WebhookEvent, read_webhook
from shared.errors import IdempotencyKeyReused, ProviderUnavailable

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

T = TypeVar("T")
CALLERS, NEVER = 20, 0
VOIDED = Declined(reason="voided")
CARD = {"number": "4242 4242 4242 4242", "expMonth": 12, "expYear": 2099, "cvc": "123"}
STATUS = "select status from charges where key = %s"
OLD_BOOK = """
create schema old_book;
create table old_book.charges (
    key text primary key, reference text not null, amount numeric(12, 2) not null, currency text not null,
    status text not null check (status in ('APPROVED', 'DECLINED', 'VOIDED')), reason text,
    created_at timestamptz not null default now());
create table old_book.refunds (
    key text primary key, charge_key text not null references old_book.charges (key), reference text not null,
    amount numeric(12, 2) not null check (amount > 0), created_at timestamptz not null default now());
insert into old_book.charges values ('old', 'psp_old', 10, 'EUR', 'APPROVED');
"""


def new_key() -> str:
    return str(uuid4())


def a_charge(key: str, token: str = "", amount: str = "10.00") -> Charge:
    return Charge(key=key, amount=Decimal(amount), currency="EUR", token=token or "tok_success")


@pytest.fixture
def simulators(stack_environment: Mapping[str, str]) -> Iterator[Callable[..., PspSimulator]]:
    """Makes simulators: each has connections of its own, as each process of the payment service has."""
    made: list[PspSimulator] = []

    def make(**options: Any) -> PspSimulator:
        made.append(PspSimulator(stack_environment["PSP_DATABASE_URL"], **options))
        return made[-1]

    yield make
    for simulator in made:
        simulator.close()


@pytest.fixture
def simulator(simulators: Callable[..., PspSimulator]) -> PspSimulator:
    return simulators()


def at_once(callers: list[Callable[[], T]]) -> list[T]:
    """What each returned or raised, all called at the same moment from threads of their own."""
    start = threading.Barrier(len(callers))

    def call(caller: Callable[[], T]) -> Any:
        start.wait(10)
        try:
            return caller()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(callers)) as pool:
        return list(pool.map(call, callers))


class TestCharges:
    def test_twenty_at_once_with_one_key_are_one_charge(
        self, simulators: Callable[..., PspSimulator], databases: Databases
    ) -> None:
        key = new_key()
        outcomes = at_once([partial(simulators().charge, a_charge(key)) for _ in range(CALLERS)])
        assert len(set(outcomes)) == 1
        assert isinstance(outcomes[0], Approved)
        assert databases.query("psp", "select key, amount from charges") == [(key, Decimal("10.00"))]

    def test_those_that_share_a_commit_share_a_charge_too(self, simulator: PspSimulator, databases: Databases) -> None:
        keys = [new_key() for _ in range(5)]
        calls = [eventlet.spawn(simulator.charge, a_charge(key)) for key in keys * 4]
        outcomes = [call.wait() for call in calls]
        assert len({outcome.reference for outcome in outcomes}) == len(keys)
        assert outcomes[:5] * 4 == outcomes
        assert databases.value("psp", "select count(*) from charges") == len(keys)

    def test_a_charge_that_goes_well_is_one_statement(
        self, simulator: PspSimulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Behaviour, tokens, webhooks: nothing of that costs the usual charge a query."""
        monkeypatch.setattr("payment_service.psp_simulator.BEHAVIOUR_READ_AGAIN_S", 3600.0)
        simulator.charge(a_charge(new_key()))
        statements: list[str] = []
        event.listen(simulator._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        calls = [eventlet.spawn(simulator.charge, a_charge(new_key())) for _ in range(10)]
        assert all(isinstance(call.wait(), Approved) for call in calls)
        assert len(statements) == 1, statements

    def test_a_key_stands_for_one_charge_only(self, simulator: PspSimulator) -> None:
        key = new_key()
        simulator.charge(a_charge(key))
        with pytest.raises(IdempotencyKeyReused):
            simulator.charge(a_charge(key, amount="11.00"))
        assert simulator.charge(a_charge(key, "tok_card_declined")) == simulator.lookup(key)

    def test_a_void_before_the_charge_refuses_it(self, simulator: PspSimulator, databases: Databases) -> None:
        key = new_key()
        simulator.void(key)
        assert simulator.charge(a_charge(key)) == VOIDED
        assert simulator.lookup(key) == VOIDED
        assert databases.value("psp", STATUS, key) == "VOIDED"

    def test_a_charge_that_meets_an_unfinished_void_waits_for_it(
        self, simulator: PspSimulator, databases: Databases
    ) -> None:
        """Given a void on another connection that has not committed, then the charge is refused once it has."""
        key = new_key()
        with databases.transaction("psp") as void, ThreadPoolExecutor(1) as pool:
            void.execute("insert into charges values (%s, 'psp_v', 0, '', 'VOIDED', 'voided')", (key,))
            charge = pool.submit(simulator.charge, a_charge(key))
            waiting = "select count(*) from pg_locks where not granted"
            wait_until(lambda: databases.value("psp", waiting), "the charge waits")
            assert not charge.done()
            void.connection.commit()
            assert charge.result(10) == VOIDED

    def test_whoever_wins_no_voided_charge_stands(
        self, simulators: Callable[..., PspSimulator], databases: Databases
    ) -> None:
        one, other = simulators(), simulators()
        for _ in range(30):
            key = new_key()
            charged, _ = at_once([lambda key=key: one.charge(a_charge(key)), lambda key=key: other.void(key)])
            assert charged == VOIDED or isinstance(charged, Approved)
            assert databases.value("psp", STATUS, key) == "VOIDED"

    def test_the_book_of_the_first_release_is_brought_to_this_one(
        self, stack_environment: Mapping[str, str], databases: Databases
    ) -> None:
        databases.query("psp", OLD_BOOK)
        url = stack_environment["PSP_DATABASE_URL"] + "?options=-csearch_path%3Dold_book"
        try:
            at_once([lambda: create_book(url) for _ in range(4)])
            databases.query("psp", "insert into old_book.charges values ('new', 'psp_new', 1, 'EUR', 'PROCESSING')")
            with pytest.raises(psycopg2.IntegrityError):
                databases.query("psp", "insert into old_book.charges values ('x', 'psp_x', 1, 'EUR', 'NONSENSE')")
            kept = "select key, status from old_book.charges order by key"
            assert databases.query("psp", kept) == [("new", "PROCESSING"), ("old", "APPROVED")]
        finally:
            databases.query("psp", "drop schema old_book cascade")


class TestRefunds:
    def refund(self, simulator: PspSimulator, charge: str, amount: str, key: str | None = None) -> ChargeOutcome:
        return simulator.refund(charge_key=charge, refund_key=key or new_key(), amount=Decimal(amount))

    @pytest.fixture
    def charged(self, simulator: PspSimulator) -> str:
        key = new_key()
        simulator.charge(a_charge(key))
        return key

    def test_twenty_at_once_never_give_back_more_than_was_taken(
        self, simulators: Callable[..., PspSimulator], databases: Databases, charged: str
    ) -> None:
        answers = at_once([partial(self.refund, simulators(), charged, "1.50") for _ in range(CALLERS)])
        assert sum(isinstance(answer, Approved) for answer in answers) == 6
        assert sum(answer == Declined(reason="exceeds_charge") for answer in answers) == CALLERS - 6
        assert databases.value("psp", "select sum(amount) from refunds") == Decimal("9.00")

    def test_twenty_at_once_with_one_key_are_one_refund(
        self, simulators: Callable[..., PspSimulator], databases: Databases, charged: str
    ) -> None:
        answers = at_once([partial(self.refund, simulators(), charged, "10.00", "r1") for _ in range(CALLERS)])
        assert len(set(answers)) == 1
        assert isinstance(answers[0], Approved)
        assert databases.query("psp", "select key, amount from refunds") == [("r1", Decimal("10.00"))]

    def test_what_was_refused_stays_refused(self, simulator: PspSimulator) -> None:
        key = new_key()
        assert self.refund(simulator, key, "1.00", "r1") == Declined(reason="nothing_to_refund")
        simulator.charge(a_charge(key))
        assert self.refund(simulator, key, "1.00", "r1") == Declined(reason="nothing_to_refund")
        assert isinstance(self.refund(simulator, key, "1.00", "r2"), Approved)

    def test_a_key_stands_for_one_refund_only(self, simulator: PspSimulator, charged: str) -> None:
        self.refund(simulator, charged, "1.00", "r1")
        for charge, amount in ((charged, "2.00"), (new_key(), "1.00")):
            with pytest.raises(IdempotencyKeyReused):
                self.refund(simulator, charge, amount, "r1")

    @pytest.mark.parametrize("token", ["tok_card_declined", "tok_async_late"])
    def test_where_no_money_was_taken_there_is_none_to_give_back(self, simulator: PspSimulator, token: str) -> None:
        key = new_key()
        simulator.charge(a_charge(key, token))
        assert self.refund(simulator, key, "1.00") == Declined(reason="nothing_to_refund")

    def test_a_voided_charge_is_not_refunded_as_well(
        self, simulators: Callable[..., PspSimulator], databases: Databases
    ) -> None:
        """Given a void and a refund at the same moment, then a refund is only there if it was first."""
        one, other = simulators(), simulators()
        for _ in range(20):
            key = new_key()
            one.charge(a_charge(key))
            refunded, _ = at_once([lambda key=key: self.refund(one, key, "10.00"), lambda key=key: other.void(key)])
            count = databases.value("psp", "select count(*) from refunds where charge_key = %s", key)
            assert count == int(isinstance(refunded, Approved))
            assert self.refund(one, key, "1.00") == Declined(reason="nothing_to_refund")


class TestBadDays:
    def test_the_answer_to_a_charge_is_lost_once(self, simulator: PspSimulator) -> None:
        key = new_key()
        with pytest.raises(ProviderUnavailable):
            simulator.charge(a_charge(key, "tok_timeout_after_charge"))
        assert isinstance(simulator.lookup(key), Approved)
        assert simulator.charge(a_charge(key, "tok_timeout_after_charge")) == simulator.lookup(key)

    def test_a_charge_that_hangs_is_never_made(self, simulator: PspSimulator, databases: Databases) -> None:
        key = new_key()
        with pytest.raises(ProviderUnavailable):
            within(0.2, lambda: simulator.charge(a_charge(key, "tok_timeout")))
        assert simulator.lookup(key) is None
        assert databases.query("psp", "select * from charges") == []

    def test_behaviour(self, simulators: Callable[..., PspSimulator], databases: Databases) -> None:
        """Given each setting in turn, then a simulator that begins now goes by it."""

        def with_behaviour(**settings: float) -> PspSimulator:
            databases.query("psp", "delete from behaviour")
            for name, value in settings.items():
                databases.query("psp", "insert into behaviour values (%s, %s)", name, value)
            return simulators(chance=random.Random(1).random)  # noqa: S311 - the same chances in each run

        key = new_key()
        failing = with_behaviour(failure_rate=1)
        for call in (lambda: failing.charge(a_charge(key)), lambda: failing.lookup(key), lambda: failing.void(key)):
            with pytest.raises(ProviderUnavailable):
                call()
        assert databases.query("psp", STATUS, key) == []

        with pytest.raises(ProviderUnavailable):
            with_behaviour(lost_answer_rate=1).charge(a_charge(key))
        assert databases.value("psp", STATUS, key) == "APPROVED"

        strict = with_behaviour(decline_rate=0.5)
        outcomes = [strict.charge(a_charge(new_key())) for _ in range(40)]
        assert 5 < sum(outcome == Declined(reason="card_declined") for outcome in outcomes) < 35

        for behaviour, token in (({"latency_ms": 150}, "tok_success"), ({"slow_ms": 150}, "tok_slow")):
            tired = with_behaviour(**behaviour)
            began = time.monotonic()
            assert isinstance(tired.charge(a_charge(new_key(), token)), Approved)
            assert time.monotonic() - began >= 0.15


class TestAsynchronousCharges:
    def test_a_lookup_tells_the_outcome_once_it_is_there(self, simulator: PspSimulator, databases: Databases) -> None:
        good, bad = new_key(), new_key()
        assert isinstance(simulator.charge(a_charge(good, "tok_async_success")), Processing)
        assert isinstance(simulator.charge(a_charge(bad, "tok_async_failure")), Processing)
        wait_until(lambda: isinstance(simulator.lookup(good), Approved), "it is decided")
        wait_until(lambda: simulator.lookup(bad) == Declined(reason="card_declined"), "it is declined")
        assert databases.value("psp", STATUS, good) == "APPROVED"
        assert simulator.charge(a_charge(good, "tok_async_success")) == simulator.lookup(good)
        assert databases.value("psp", "select count(*) from webhooks") == 4

    def test_what_is_processed_can_be_voided(self, simulator: PspSimulator, databases: Databases) -> None:
        """Given a void before the decision, then the charge never stands, though a webhook still says it succeeded."""
        key = new_key()
        simulator.charge(a_charge(key, "tok_async_success"))
        simulator.void(key)
        due = "select count(*) from webhooks where type = 'charge.succeeded' and due_at < now()"
        wait_until(lambda: databases.value("psp", due), "its time has come")
        assert simulator.lookup(key) == VOIDED
        assert databases.value("psp", STATUS, key) == "VOIDED"

    def test_a_charge_and_its_webhooks_are_recorded_together_or_not_at_all(
        self, simulator: PspSimulator, databases: Databases
    ) -> None:
        key = new_key()
        databases.query("psp", "alter table webhooks rename to webhooks_away")
        try:
            with pytest.raises(ProviderUnavailable):
                simulator.charge(a_charge(key, "tok_async_success"))
        finally:
            databases.query("psp", "alter table webhooks_away rename to webhooks")
        assert simulator.lookup(key) is None
        simulator.charge(a_charge(key, "tok_async_success"))
        assert databases.value("psp", "select count(*) from webhooks where charge_key = %s", key) == 2


# The process


class Receiver:
    """A little server that takes webhooks. ``statuses`` are its first answers, NEVER for none; after them 200."""

    def __init__(self, secret: str) -> None:
        self.events: list[WebhookEvent] = []
        self.statuses: list[int] = []
        self._end = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                assert self.headers["Content-Type"] == "application/json"
                now = datetime.now(UTC)
                receiver.events.append(read_webhook(body, self.headers[SIGNATURE_HEADER], secret=secret, now=now))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                if status == NEVER:
                    receiver._end.wait()
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks?from=psp"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, key: str) -> list[WebhookEvent]:
        return [event for event in self.events if event.key == key]

    def wait_for(self, key: str, count: int) -> list[WebhookEvent]:
        wait_until(lambda: len(self.of(key)) >= count, f"{count} webhooks came")
        return self.of(key)

    def close(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def receiver(stack_environment: Mapping[str, str]) -> Iterator[Receiver]:
    receiver = Receiver(stack_environment["PSP_WEBHOOK_SECRET"])
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def psp(processes: Processes, receiver: Receiver, port: int) -> ServiceProcess:
    return processes.start_ready("payment_service", "psp", PSP_PORT=str(port), PSP_WEBHOOK_URL=receiver.url)


@pytest.fixture
def client(psp: ServiceProcess, port: int, clean: None) -> PspClient:
    return PspClient(f"http://127.0.0.1:{port}")


def fresh(databases: Databases, simulators: Callable[..., PspSimulator], **behaviour: float) -> PspSimulator:
    """A simulator that has read this behaviour."""
    for name, value in behaviour.items():
        databases.query("psp", "insert into behaviour values (%s, %s)", name, value)
    return simulators()


@pytest.mark.usefixtures("psp")
class TestWebhooks:
    def test_each_says_what_happens_and_is_signed(self, simulator: PspSimulator, receiver: Receiver) -> None:
        good, bad = new_key(), new_key()
        begun = [simulator.charge(a_charge(good, "tok_async_success"))]
        simulator.charge(a_charge(bad, "tok_async_failure"))

        # Two senders: whose webhook arrives first, is not said.
        told = [event.outcome for event in receiver.wait_for(good, 2)]
        assert all(outcome in told for outcome in (*begun, simulator.lookup(good)))
        assert {type(outcome) for outcome in told} == {Processing, Approved}
        assert Declined(reason="card_declined") in [event.outcome for event in receiver.wait_for(bad, 2)]

    def test_twice_out_of_order_and_late(
        self, databases: Databases, simulators: Callable[..., PspSimulator], receiver: Receiver
    ) -> None:
        simulator = fresh(databases, simulators, webhook_copies=2, webhook_shuffle=1, webhook_delay_ms=5000)
        key = new_key()
        began = time.monotonic()
        simulator.charge(a_charge(key, "tok_async_success"))
        # Decided long before it is told.
        wait_until(lambda: isinstance(simulator.lookup(key), Approved), "it is decided")
        assert receiver.of(key) == []
        events = receiver.wait_for(key, 4)
        assert time.monotonic() - began > 5
        kinds = [type(event.outcome) for event in events]
        assert (kinds[0], kinds.count(Approved), kinds.count(Processing)) == (Approved, 2, 2)
        assert len({event.id for event in events}) == 2

    def test_a_webhook_is_sent_until_it_is_taken(
        self, databases: Databases, simulator: PspSimulator, receiver: Receiver
    ) -> None:
        receiver.statuses = [500, 302, 404, 503]
        key = new_key()
        simulator.charge(a_charge(key, "tok_async_success"))
        events = receiver.wait_for(key, 6)
        undelivered = "select count(*) from webhooks where delivered_at is null"
        wait_until(lambda: databases.value("psp", undelivered) == 0, "all are delivered")
        assert len({event.id for event in events}) == 2
        assert databases.value("psp", "select sum(tries) from webhooks") == len(receiver.of(key)) == 6

    def test_the_outcome_that_is_told_is_in_the_book(
        self, databases: Databases, simulator: PspSimulator, receiver: Receiver
    ) -> None:
        key = new_key()
        simulator.charge(a_charge(key, "tok_async_success"))
        receiver.wait_for(key, 2)
        # Nobody has asked: it was settled in order to be told.
        assert databases.value("psp", STATUS, key) == "APPROVED"

    def test_a_killed_process_goes_on_where_it_was(
        self, databases: Databases, simulator: PspSimulator, receiver: Receiver, psp: ServiceProcess
    ) -> None:
        """Given kill -9 with webhooks refused and on their way, then the next one sends them; the book is as it was."""
        receiver.statuses = [503, NEVER] * 3
        keys = [new_key() for _ in range(5)]
        references = {key: simulator.charge(a_charge(key, "tok_async_success")).reference for key in keys}  # type: ignore[union-attr]
        wait_until(lambda: not receiver.statuses, "some were refused, some have no answer")
        psp.restart_killed()
        psp.wait_ready()

        for key in keys:
            wait_until(
                lambda key=key: Approved(reference=references[key]) in [event.outcome for event in receiver.of(key)],
                "its outcome came",
                timeout_s=40,
            )
            assert simulator.lookup(key) == Approved(reference=references[key])
        undelivered = "select count(*) from webhooks where delivered_at is null"
        wait_until(lambda: databases.value("psp", undelivered) == 0, "all are delivered", timeout_s=40)


class TestCards:
    def test_a_card_becomes_a_token_that_does_what_the_card_does(
        self, client: PspClient, simulator: PspSimulator, databases: Databases
    ) -> None:
        good = client.tokenise(CARD)
        bad = client.tokenise({**CARD, "number": "4000000000009995"})
        assert (good["brand"], good["last4"]) == ("visa", "4242")
        assert isinstance(simulator.charge(a_charge(new_key(), good["token"])), Approved)
        assert simulator.charge(a_charge(new_key(), bad["token"])) == Declined(reason="insufficient_funds")
        kept = "select behaviour, brand, last4 from tokens where token = %s"
        assert databases.query("psp", kept, good["token"]) == [("success", "visa", "4242")]

    def test_a_token_nobody_issued_is_declined(self, simulator: PspSimulator) -> None:
        assert simulator.charge(a_charge(new_key(), "tok_nobody")) == Declined(reason="card_declined")

    def test_all_cards_are_on_show(self, client: PspClient) -> None:
        shown = client.cards()
        for card in shown["cards"]:
            token = client.tokenise({**shown, "number": card["number"]})
            assert token["last4"] == card["number"][-4:]

    def test_a_number_is_nowhere(self, client: PspClient, psp: ServiceProcess, port: int, databases: Databases) -> None:
        """Given numbers sent in every way there is, good and bad, then no table and no log has one."""
        numbers = ["4242424242424242", "4111111111111111", "4242424242424241"]
        for number in numbers:
            document = json.dumps({**CARD, "number": number})
            path = f"/tokens?number={number}"
            headers = {"Content-Type": "application/json", "X-Card": number}
            for method, target, body in (
                ("POST", path, document),
                ("POST", "/tokens", document[:-1]),
                ("GET", f"/{number}", None),
                ("PATCH", "/behaviour", json.dumps({number: 1, "latency_ms": number})),
                ("GET", f"/book?last={number}", None),
                (f"CARD{number}", path, None),
                ("OPTIONS", path, None),
            ):
                answer = _request(port, method, target, body, headers)
                assert number not in answer[2] or method == "PATCH", (method, target)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(f"{number} is no HTTP at all {number}\r\n\r\n".encode())
                assert number.encode() not in raw.recv(10_000)
        logged = psp.output()
        tables = [
            name for (name,) in databases.query("psp", "select tablename from pg_tables where schemaname='public'")
        ]
        kept = "".join(str(databases.query("psp", f'select * from "{table}"')) for table in tables)  # noqa: S608
        for number in numbers:
            assert number not in logged
            assert number not in kept
        assert "Traceback" not in logged
        assert databases.value("psp", "select count(*) from tokens") == 1


def _request(
    port: int, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read().decode()
    finally:
        connection.close()


@pytest.mark.usefixtures("psp")
class TestHttp:
    JSON: Mapping[str, str] = {"Content-Type": "application/json"}

    @pytest.mark.parametrize(
        ("method", "path", "body", "headers", "status"),
        [
            ("GET", "/health", None, {}, 200),
            ("GET", "/nowhere", None, {}, 404),
            ("POST", "/health", "{}", JSON, 404),
            ("POST", "/tokens", "{}", {"Content-Type": "text/plain"}, 415),
            ("POST", "/tokens", "{}", {}, 415),
            ("POST", "/tokens", "{", JSON, 400),
            ("POST", "/tokens", "[]", JSON, 400),
            ("POST", "/tokens", "{}", JSON, 422),
            ("POST", "/tokens", '{"number": "' + "4" * 5000 + '"}', JSON, 413),
            ("POST", "/tokens", None, {**JSON, "Content-Length": "many"}, 411),
            ("PATCH", "/behaviour", '{"latency_ms": -1}', JSON, 422),
            ("PATCH", "/behaviour", '{"nonsense": 1}', JSON, 422),
            ("GET", "/book?last=0", None, {}, 422),
            ("GET", "/book?last=" + "9" * 50, None, {}, 422),
            ("PUT", "/tokens", None, {}, 501),
        ],
    )
    def test_wrong_requests_are_answered(
        self, port: int, method: str, path: str, body: str | None, headers: Mapping[str, str], status: int
    ) -> None:
        answer = _request(port, method, path, body, headers)
        assert answer[0] == status
        assert isinstance(json.loads(answer[2]), dict)

    def test_a_browser_of_any_origin_may_send_cards_and_nothing_else(self, port: int) -> None:
        for path, is_allowed in (("/tokens", True), ("/cards", True), ("/behaviour", False), ("/book", False)):
            status, headers, _ = _request(port, "OPTIONS", path)
            assert status == (204 if is_allowed else 405)
            assert headers.get("Access-Control-Allow-Origin") == ("*" if is_allowed else None)
        assert _request(port, "POST", "/tokens", json.dumps(CARD), self.JSON)[1]["Access-Control-Allow-Origin"] == "*"

    def test_the_book_is_on_show(self, client: PspClient, simulator: PspSimulator, receiver: Receiver) -> None:
        first, second = new_key(), new_key()
        simulator.charge(a_charge(first))
        simulator.refund(charge_key=first, refund_key=new_key(), amount=Decimal("2.50"))
        simulator.charge(a_charge(second, "tok_async_success"))
        receiver.wait_for(second, 2)
        newest, older = client.book(2)["charges"]
        assert (older["key"], older["amount"], older["refunded"], older["webhooks"]) == (first, "10.00", "2.50", [])
        assert [webhook["type"] for webhook in newest["webhooks"]] == ["charge.processing", "charge.succeeded"]
        assert len(client.book(1)["charges"]) == 1

    def test_behaviour_is_changed_as_a_whole_or_not_at_all(self, client: PspClient) -> None:
        with pytest.raises(StackError, match="failure_rate"):
            client.change_behaviour({"latency_ms": 5, "failure_rate": 2})
        values = {setting["name"]: setting["value"] for setting in client.behaviour()["behaviour"]}
        assert (values["latency_ms"], values["failure_rate"]) == (0, 0)


def test_behaviour_takes_effect_in_a_running_process(
    broker: Broker, databases: Databases, processes: Processes, client: PspClient
) -> None:
    """Given a payment service that runs, then its charges go by what is set meanwhile, within a second."""
    payment = processes.start_ready("payment_service")

    def told() -> str:
        order_id = new_order_id()
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id))
        statement = "select event_type from outbox where aggregate_id = %s"
        answer = wait_until(lambda: databases.query("payment_service", statement, order_id), "it is paid or not")
        return str(answer[0][0])

    assert told() == "PAYMENT_SUCCESS"
    client.change_behaviour({"decline_rate": 1})
    wait_until(lambda: told() == "PAYMENT_FAILED", "charges are declined")
    client.reset_behaviour()
    wait_until(lambda: told() == "PAYMENT_SUCCESS", "charges are approved")
    assert payment.terminate() == 0


def test_a_hanging_charge_keeps_no_order_waiting(broker: Broker, databases: Databases, processes: Processes) -> None:
    """Given charges that hang, fewer than open the circuit, then the next order is paid at once."""
    payment = processes.start_ready("payment_service", PSP_CALL_TIMEOUT_S="300", PSP_LIMIT_S="600")
    hanging, paid = [new_order_id() for _ in range(4)], new_order_id()
    for order_id in hanging:
        broker.publish_event("INVENTORY_RESERVED", inventory_reserved(order_id, paymentMethod="tok_timeout"))
    calling = "select count(*) from payment_attempts where status = 'CALLING'"
    wait_until(lambda: databases.value("payment_service", calling) == len(hanging), "all hang")
    broker.publish_event("INVENTORY_RESERVED", inventory_reserved(paid))
    told = "select event_type from outbox where aggregate_id = %s"
    wait_until(lambda: databases.query("payment_service", told, paid) == [("PAYMENT_SUCCESS",)], "it is paid")
    assert databases.value("payment_service", calling) == len(hanging)
    payment.kill()
