"""Who reads a log may read what is published there, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
import pytest
from harness.change_data import replication_urls
from harness.databases import Databases

from ops.replication import close_replication, drop_slots, main
from shared.change_data.captured import CAPTURED, REPLICATING_SERVICES

# Neither Java nor the extra is needed.
pytestmark = [pytest.mark.cdc, pytest.mark.integration]

FORBIDDEN = (
    "insert into orders select * from orders",
    "update orders set status = 'CONFIRMED'",
    "delete from orders",
    "truncate outbox",
    "select * from audit_log",
    "select * from idempotency_keys",
    "select * from inbox",
    "create table mine (id int)",
    "create schema mine",
    "create temporary table mine (id int)",
    "create publication mine for table orders",
    "alter publication ordersaga_cdc drop table orders",
    "drop publication ordersaga_cdc",
    "alter table orders replica identity full",
    "create role other",
    "create database other",
    "set role order_service",
    "set session_replication_role = 'replica'",
    "copy orders to program 'cat'",
    "select pg_read_file('postgresql.conf')",
    "alter system set wal_level = 'minimal'",
)


@pytest.fixture(scope="module")
def urls(empty_stack: None, stack_environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    yield replication_urls(stack_environment)
    close_replication(stack_environment["ADMIN_DATABASE_URL"])


def connect(url: str, **options: Any) -> Any:
    return psycopg2.connect(url, connect_timeout=5, **options)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_it_changes_nothing_and_reads_nothing_else(urls: Mapping[str, str], statement: str) -> None:
    connection = connect(urls["ORDER_REPLICATION_URL"])
    connection.autocommit = statement.startswith(("create database", "alter system"))
    try:
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.mark.parametrize("captured", CAPTURED.values(), ids=list(CAPTURED))
def test_it_reads_what_is_captured(urls: Mapping[str, str], captured: Any) -> None:
    connection = connect(urls[f"{captured.database.upper()}_REPLICATION_URL"])
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "select tablename from pg_publication_tables where pubname = 'ordersaga_cdc' order by tablename"
            )
            assert [name for (name,) in cursor.fetchall()] == sorted(captured.tables)
            for table in captured.tables:
                cursor.execute(f'select count(*) from "{table}"')  # noqa: S608
                assert cursor.fetchone() is not None
    finally:
        connection.close()


@pytest.mark.parametrize("other", ["payment_service", "inventory_service", "psp", "postgres", "template1"])
def test_no_other_database_lets_it_in(urls: Mapping[str, str], other: str) -> None:
    url = urls["ORDER_REPLICATION_URL"].rpartition("/")[0] + f"/{other}"
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        connect(url)


def test_it_cannot_copy_the_whole_cluster(urls: Mapping[str, str]) -> None:
    """pg_hba.conf has no line for physical replication."""
    url = urls["ORDER_REPLICATION_URL"].rpartition("/")[0] + "/"
    with pytest.raises(psycopg2.OperationalError, match="entry for replication"):
        connect(url, replication="true")


def test_an_outbox_is_published_of_every_service(urls: Mapping[str, str], databases: Databases) -> None:
    statement = """
        select tablename, pubinsert, pubupdate, pubdelete, pubtruncate
        from pg_publication_tables join pg_publication using (pubname) where pubname = 'ordersaga_outbox'
    """
    for service in REPLICATING_SERVICES:
        assert databases.query(service, statement) == [("outbox", True, False, False, False)]


def test_taken_back_as_often_as_you_like_with_its_slots(
    urls: Mapping[str, str], stack_environment: Mapping[str, str], databases: Databases
) -> None:
    administrator = stack_environment["ADMIN_DATABASE_URL"]
    roles = "select count(*) from pg_roles where rolname like '%%\\_cdc'"
    slots = "select count(*) from pg_replication_slots"
    connection = connect(urls["INVENTORY_REPLICATION_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_create_logical_replication_slot('inventory_outbox', 'pgoutput')")
    connection.close()
    assert databases.value("order_service", roles + " and 1 = %s", 1) == len(REPLICATING_SERVICES)

    drop_slots(administrator, "order_service", ["inventory_outbox"])
    assert databases.value("order_service", slots) == 1, "a slot of another database is none of its business"
    for _ in range(2):
        close_replication(administrator)
    assert databases.value("order_service", roles + " and 1 = %s", 1) == 0
    assert databases.value("order_service", slots) == 0
    for _ in range(2):
        replication_urls(stack_environment)
    assert databases.value("order_service", roles + " and 1 = %s", 1) == len(REPLICATING_SERVICES)


def test_the_command_says_what_it_needs(
    stack_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ADMIN_DATABASE_URL", raising=False)
    assert main(["open"]) == 2
    monkeypatch.setenv("ADMIN_DATABASE_URL", stack_environment["ADMIN_DATABASE_URL"])
    assert main(["open"]) == 1
    assert "ORDER_REPLICATION_PASSWORD" in capsys.readouterr().err
