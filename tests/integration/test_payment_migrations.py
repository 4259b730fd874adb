"""A payment database of the first version comes into the present with its money as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import make_url

from ops.databases import driver_url
from shared.migrations import upgrade

pytestmark = pytest.mark.integration

MIGRATIONS = Path(__file__).resolve().parents[2] / "payment_service" / "migrations"
PAID, REFUNDING, WAITING, CHARGING = (f"00000000-0000-0000-0000-00000000000{n}" for n in range(1, 5))
FIRST_VERSION = f"""
insert into payments (order_id, id, status, amount, currency, charging, cancelled, refunded, created_at, updated_at)
values ('{PAID}', gen_random_uuid(), 'SUCCEEDED', 10, 'EUR', false, false, 0, now(), now()),
       ('{REFUNDING}', gen_random_uuid(), 'SUCCEEDED', 10, 'EUR', false, true, 0, now(), now()),
       ('{WAITING}', gen_random_uuid(), 'PENDING', 10, 'EUR', false, false, 0, now(), now()),
       ('{CHARGING}', gen_random_uuid(), 'PENDING', 10, 'EUR', true, false, 0, now(), now());
insert into payment_attempts (id, order_id, kind, amount, currency, status, tries, cause_event_id, correlation_id,
                              started_at, ended_at)
values (gen_random_uuid(), '{PAID}', 'CHARGE', 10, 'EUR', 'SUCCEEDED', 0, gen_random_uuid(), 'c', now(), now()),
       (gen_random_uuid(), '{REFUNDING}', 'CHARGE', 10, 'EUR', 'SUCCEEDED', 0, gen_random_uuid(), 'c', now(), now()),
       ('{REFUNDING}', '{REFUNDING}', 'REFUND', 10, 'EUR', 'CALLING', 0, gen_random_uuid(), 'c', now(), null),
       (gen_random_uuid(), '{CHARGING}', 'CHARGE', 10, 'EUR', 'CALLING', 0, gen_random_uuid(), 'c', now(), null);
insert into refunds (id, order_id, amount, currency, reason, status, created_at)
values ('{REFUNDING}', '{REFUNDING}', 10, 'EUR', 'order_cancelled', 'PENDING', now());
insert into outbox (event_id, event_type, aggregate_id, correlation_id, schema_version, payload, occurred_at)
values (gen_random_uuid(), 'PAYMENT_PENDING', '{WAITING}', 'c', 1, '{{"expiresAt": "2026-01-01T12:00:00Z"}}', now());
"""  # noqa: S608
NOW = "select order_id::text, mode, attempts, refunding, expires_at is not null from payments order by order_id"


@pytest.fixture
def database_url(stack_environment: Mapping[str, str]) -> Iterator[str]:
    """An empty database of its own."""
    name = f"payment_history_{uuid4().hex[:8]}"
    administrator = stack_environment["ADMIN_DATABASE_URL"]
    with closing(psycopg2.connect(driver_url(administrator))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
            yield make_url(administrator).set(database=name).render_as_string(hide_password=False)
            cursor.execute(f"drop database {name} with (force)")


def _run(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(driver_url(database_url))) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
        return rows


def test_what_the_first_version_left(database_url: str) -> None:
    """Given payments paid, being refunded, waiting and being charged, then each goes on from where it was."""
    first = Config()
    first.set_main_option("script_location", str(MIGRATIONS))
    first.attributes["database_url"] = database_url
    command.upgrade(first, "0001")
    _run(database_url, FIRST_VERSION)

    upgrade(MIGRATIONS, database_url)

    assert _run(database_url, NOW) == [
        (PAID, "auto", 1, 0, False),
        (REFUNDING, "auto", 1, 10, False),
        (WAITING, "manual", 0, 0, True),
        (CHARGING, "auto", 1, 0, False),
    ]
    purposes = "select purpose from payment_attempts where kind = 'REFUND'"
    assert _run(database_url, purposes) == [("order_cancelled",)]


A_PAYMENT = f"""
insert into payments (order_id, id, status, amount, currency, charging, cancelled, refunded, created_at, updated_at)
values ('{PAID}', gen_random_uuid(), 'SUCCEEDED', 10, 'EUR', false, false, 0, now(), now())
"""  # noqa: S608
A_CHARGE = f"""
insert into payment_attempts (id, order_id, kind, amount, currency, status, tries, correlation_id, started_at, ended_at)
values (gen_random_uuid(), '{PAID}', 'CHARGE', 10, 'EUR', '%s', 0, 'c', now(), %s);
"""  # noqa: S608


@pytest.mark.parametrize(
    "forbidden",
    [
        "update payments set refunding = 10.01",
        "update payments set refunded = 6, refunding = 5",
        "update payments set refunding = -1",
        A_CHARGE % ("CALLING", "null") + A_CHARGE % ("AWAITING", "null"),
        A_CHARGE % ("SUCCEEDED", "now()") + A_CHARGE % ("SUCCEEDED", "now()"),
        A_CHARGE % ("READY", "null"),
    ],
)
def test_what_no_mistake_can_write(database_url: str, forbidden: str) -> None:
    """Refunds above the amount, two charges at once, two that succeeded."""
    upgrade(MIGRATIONS, database_url)
    _run(database_url, A_PAYMENT)
    _run(database_url, A_CHARGE % ("FAILED", "now()") + A_CHARGE % ("FAILED", "now()"))
    with pytest.raises(psycopg2.IntegrityError):
        _run(database_url, forbidden)
