"""How often somebody may ask, counted by what they cannot choose, in memory that ends."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient
from harness.login import ADMIN, USER, bearer, client_of
from harness.services import FakeServices

from gateway.auth import limits
from gateway.auth.counters import BoundedCounters
from gateway.auth.limits import RateLimits
from gateway.auth.passwords import Passwords
from gateway.settings import HttpSettings
from shared.config import Source
from shared.errors import Misconfigured

LOGIN = "/api/v1/auth/token"


class Clock:
    """Stands in for ``time`` where limits are counted; tokens keep the real one."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Passwords, "identity_of", lambda *_: None)


def client_with(identity: Any = None, *, proxies: int = 0, **allowed: str) -> FlaskClient:
    services = FakeServices()
    services.answers["inventory_service.list_products"] = {"products": [], "nextCursor": None}
    services.answers["inventory_service.create_product"] = {"product": {"item": "mug"}, "replayed": False}
    services.answers["payment_service.psp_webhook"] = {"applied": True}
    settings = HttpSettings(rate_limits=RateLimits(**allowed), trusted_proxies=proxies)
    return client_of(services, identity, settings)


def log_in(client: FlaskClient, name: str, address: str = "192.0.2.1", **headers: str) -> int:
    response = client.post(
        LOGIN,
        json={"username": name, "password": "x"},
        environ_overrides={"REMOTE_ADDR": address},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    return response.status_code


def create(client: FlaskClient, headers: Mapping[str, str] | None = None) -> int:
    product = {"item": "mug", "name": "Mug", "price": "1.00", "currency": "EUR", "onHand": 1, "sellerId": "s"}
    response = client.post("/api/v1/products", json=product, headers={"Idempotency-Key": "k", **(headers or {})})
    return response.status_code


@pytest.mark.usefixtures("quick_passwords")
class TestLogins:
    def test_from_one_address(self) -> None:
        client = client_with(login="3/minute")

        assert [log_in(client, f"name-{number}") for number in range(5)] == [401, 401, 401, 429, 429]
        assert log_in(client, "name-9", "192.0.2.2") == 401

    def test_of_one_name_from_anywhere_however_it_is_written(self) -> None:
        client = client_with(login="3/minute")
        names = ["anna", "ANNA", " anna ", "Anna", "anna"] * 4

        answers = [log_in(client, name, f"192.0.2.{number}") for number, name in enumerate(names)]

        assert answers == [401] * 15 + [429] * 5
        assert log_in(client, "bob", "192.0.2.99") == 401

    def test_nobody_is_locked_out_from_a_single_address(self) -> None:
        client = client_with(login="3/minute")
        for _ in range(30):
            log_in(client, "anna")

        assert log_in(client, "anna", "192.0.2.2") == 401

    def test_who_is_refused_for_their_address_uses_up_nobodys_name(self) -> None:
        client = client_with(login="2/minute")
        for _ in range(10):
            log_in(client, "someone")
        for _ in range(10):
            log_in(client, "anna")

        assert log_in(client, "anna", "192.0.2.2") == 401

    def test_a_line_of_version_6_is_one_address(self) -> None:
        client = client_with(login="2/minute")
        answers = [log_in(client, f"n{number}", f"2001:db8:1:2:{number}::1") for number in range(4)]

        assert answers == [401, 401, 429, 429]
        assert log_in(client, "n", "2001:db8:1:3::1") == 401

    def test_what_is_no_login_counts_too(self) -> None:
        client = client_with(login="3/minute")
        bodies: list[Any] = [b"{", b"[]", b'{"username": 7}']
        for body in bodies:
            client.post(LOGIN, data=body, content_type="application/json")

        assert log_in(client, "anna", "127.0.0.1") == 429

    def test_the_answer_says_when_to_come_back(self) -> None:
        client = client_with(login="1/minute")
        log_in(client, "anna")

        response = client.post(
            LOGIN, json={"username": "anna", "password": "x"}, environ_overrides={"REMOTE_ADDR": "192.0.2.1"}
        )

        body = response.get_json()
        assert (response.status_code, body["code"]) == (429, "too_many_requests")
        assert response.content_type == "application/problem+json"
        assert 50 <= int(response.headers["Retry-After"]) <= 60
        assert "1 per 1 minute" in body["detail"]

    def test_at_that_time_there_is_room_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(limits, "time", clock)
        monkeypatch.setattr(limits, "BoundedCounters", partial(BoundedCounters, clock=clock.time))
        client = client_with(login="1/minute")
        client_limits = {"REMOTE_ADDR": "192.0.2.1"}
        log_in(client, "anna")
        clock.now += 20.5
        refused = client.post(LOGIN, json={"username": "anna", "password": "x"}, environ_overrides=client_limits)
        wait_s = int(refused.headers["Retry-After"])

        assert wait_s == 40
        clock.now += wait_s - 1
        assert log_in(client, "anna") == 429
        clock.now += 1
        assert log_in(client, "anna") == 401

    @pytest.mark.parametrize("nothing", ["", "off"])
    def test_without_a_limit(self, nothing: str) -> None:
        client = client_with(login=nothing)
        assert {log_in(client, "anna") for _ in range(100)} == {401}


@pytest.mark.usefixtures("quick_passwords")
class TestProxies:
    def test_without_one_nobody_can_say_where_they_come_from(self) -> None:
        client = client_with(login="2/minute")
        answers = [log_in(client, f"n{n}", X_Forwarded_For=f"198.51.100.{n}") for n in range(4)]
        assert answers == [401, 401, 429, 429]

    def test_a_trusted_one_says_it(self) -> None:
        client = client_with(login="2/minute", proxies=1)
        answers = [log_in(client, f"n{n}", X_Forwarded_For=f"198.51.100.{n}") for n in range(4)]
        assert answers == [401] * 4

    def test_what_a_client_puts_before_it_is_not_believed(self) -> None:
        client = client_with(login="2/minute", proxies=1)
        answers = [log_in(client, f"n{n}", X_Forwarded_For=f"203.0.113.{n}, 198.51.100.7") for n in range(4)]
        assert answers == [401, 401, 429, 429]


class TestCallers:
    def test_writes_are_counted_for_each_subject(self) -> None:
        client = client_with(write="2/minute")
        anna, ada = bearer(ADMIN), bearer(type(ADMIN)(subject="other", roles=ADMIN.roles))

        assert [create(client, anna) for _ in range(4)] == [201, 201, 429, 429]
        assert create(client, ada) == 201

    def test_reads_are_counted_apart(self) -> None:
        client = client_with(ADMIN, write="1/minute", read="2/minute")

        assert [create(client), create(client)] == [201, 429]
        assert [client.get("/api/v1/products").status_code for _ in range(3)] == [200, 200, 429]
        assert client.head("/api/v1/products").status_code == 429

    def test_several_limits_at_once(self) -> None:
        client = client_with(ADMIN, write="100/minute;2/hour")
        assert [create(client) for _ in range(3)] == [201, 201, 429]

    def test_a_request_without_the_role_counts(self) -> None:
        client = client_with(write="1/minute")
        assert [create(client, bearer(USER)), create(client, bearer(ADMIN))] == [403, 201]

    def test_what_is_public_is_not_counted(self) -> None:
        client = client_with(ADMIN, write="1/minute", read="1/minute")
        for path in ("/health/live", "/openapi.json", "/.well-known/jwks.json"):
            assert [client.get(path).status_code for _ in range(3)] == [200] * 3
        webhook = {"headers": {"PSP-Signature": "t=1,v1=a"}, "json": {}}
        assert [client.post("/api/v1/psp/webhooks", **webhook).status_code for _ in range(3)] == [200] * 3

    def test_unknown_paths_stay_unknown(self) -> None:
        client = client_with(ADMIN, read="1/minute")
        assert [client.get("/nope").status_code for _ in range(3)] == [404] * 3


def http_settings(**values: str) -> HttpSettings:
    return HttpSettings.read(Source(values=values), place_timeout_s=1.0)


class TestSettings:
    def test_defaults(self) -> None:
        allowed = http_settings().rate_limits
        assert (allowed.login, allowed.write, allowed.read) == ("10/minute", "600/minute", "6000/minute")

    def test_an_empty_value_is_no_limit(self) -> None:
        allowed = http_settings(LOGIN_RATE_LIMIT="", READ_RATE_LIMIT=" ").rate_limits
        assert (allowed.login, allowed.write, allowed.read) == ("", "600/minute", "")

    @pytest.mark.parametrize("name", ["LOGIN_RATE_LIMIT", "WRITE_RATE_LIMIT", "READ_RATE_LIMIT"])
    @pytest.mark.parametrize("text", ["10", "ten/minute", "10/fortnight", "none", "-1/minute", "0/minute"])
    def test_a_limit_that_is_none_is_refused(self, name: str, text: str) -> None:
        with pytest.raises(Misconfigured, match=name):
            http_settings(**{name: text})

    @pytest.mark.parametrize(("text", "number"), [("", 0), ("0", 0), ("2", 2)])
    def test_proxies(self, text: str, number: int) -> None:
        assert http_settings(TRUSTED_PROXIES=text).trusted_proxies == number

    def test_a_number_of_proxies_that_is_none(self) -> None:
        with pytest.raises(Misconfigured, match="TRUSTED_PROXIES"):
            http_settings(TRUSTED_PROXIES="all")


class TestCounters:
    def test_a_window_ends_and_another_begins(self) -> None:
        now = [100.0]
        counters = BoundedCounters(clock=lambda: now[0])

        assert [counters.incr("a", 10), counters.incr("a", 10), counters.incr("b", 10)] == [1, 2, 1]
        assert (counters.get("a"), counters.get_expiry("a")) == (2, 110.0)
        now[0] = 110.0
        assert counters.get("a") == 0
        assert (counters.incr("a", 10), counters.get_expiry("a")) == (1, 120.0)

    def test_the_one_used_least_recently_is_forgotten_first(self) -> None:
        counters = BoundedCounters(most_keys=3, clock=lambda: 0.5)
        for key in ("a", "b", "c", "a", "d"):
            counters.incr(key, 10)

        assert [counters.get(key) for key in "abcd"] == [2, 0, 1, 1]

    def test_clearing(self) -> None:
        counters = BoundedCounters()
        for key in ("a", "b", "c"):
            counters.incr(key, 10)
        counters.clear("a")
        assert (counters.get("a"), counters.reset(), counters.get("b"), counters.check()) == (0, 2, 0, True)

    def test_as_many_names_as_anybody_can_think_of_take_a_few_megabytes(self) -> None:
        counters = BoundedCounters()
        tracemalloc.start()
        try:
            for number in range(60_000):
                counters.incr(f"LIMITER/login-name/{number:064x}/10/1/minute", 60)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert counters.reset() == 20_000
        assert used < 12_000_000
