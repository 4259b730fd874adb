"""The audit log on the real databases: nobody's role can change a line, filters, and what is sealed stays writable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from harness.databases import SERVICES, Databases
from harness.order_database import OrderDatabase, open_orders

from ops.databases import driver_url
from ops.sealing import seal, unseal
from shared import audit
from shared.audit import AuditFilter
from shared.errors import Forbidden, InvalidRequest
from shared.identity import Identity, Role

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("empty_stack", "clean")]

ADMIN = Identity(subject="root", roles=frozenset({Role.ADMIN}))
SELLER = Identity(subject="sue", roles=frozenset({Role.SELLER}), seller_id="shop")
# Everything that the owner of a table may do to get rid of a line, or of what keeps it.
ATTEMPTS = (
    "update audit_log set actor = 'nobody'",
    "delete from audit_log",
    "truncate audit_log",
    "drop table audit_log",
    "alter table audit_log disable trigger all",
    "drop trigger audit_log_append_only on audit_log",
    "alter table audit_log owner to current_user",
    "alter table audit_log rename to forgotten",
    "alter table audit_log drop column before",
    "drop function audit_log_is_append_only() cascade",
    """create or replace function audit_log_is_append_only() returns trigger language plpgsql
       as $$ begin return null; end $$""",
    "create rule lost as on insert to audit_log do instead nothing",
    "drop schema public cascade",
    "alter schema public owner to current_user",
    "set role audit_keeper",
    "set session_replication_role = 'replica'",
)


@pytest.fixture
def orders(stack_environment: Mapping[str, str], databases: Databases) -> Iterator[OrderDatabase]:
    with open_orders(stack_environment, databases) as opened:
        yield opened


def record(orders: OrderDatabase, object_id: str, action: str = "cancel_order", caller: Identity = ADMIN) -> None:
    orders.run(lambda tx: audit.record(tx, caller, action, "order", object_id, request_id=None, after={"a": 1}))


def entries(orders: OrderDatabase, *, limit: int = 50, caller: Identity = ADMIN, **wanted: Any) -> list[dict[str, Any]]:
    page = orders.run(
        lambda tx: audit.page(tx, caller, limit=limit, cursor=None, wanted=AuditFilter(**wanted)),
    )
    found: list[dict[str, Any]] = page["entries"]
    return found


class TestAppendOnly:
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize("attempt", ATTEMPTS)
    def test_a_services_own_role_can_add_lines_and_no_more(
        self, databases: Databases, service: str, attempt: str
    ) -> None:
        with databases.transaction(service) as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(attempt)

    def test_who_owns_it_still_meets_the_trigger(self, databases: Databases) -> None:
        administrator = databases.environment["ADMIN_DATABASE_URL"]
        url = driver_url(administrator).rpartition("/")[0] + "/order_service"
        connection = psycopg2.connect(url)
        try:
            for attempt in ATTEMPTS[:3]:
                with pytest.raises(psycopg2.errors.RaiseException, match="append-only"), connection.cursor() as cursor:
                    cursor.execute(attempt)
                connection.rollback()
        finally:
            connection.close()

    def test_lines_are_added_as_before(self, orders: OrderDatabase) -> None:
        object_id = uuid4().hex
        record(orders, object_id)
        assert [entry["after"] for entry in entries(orders, object_id=object_id)] == [{"a": 1}]

    def test_unsealed_for_a_migration_and_sealed_again_each_as_often_as_you_like(
        self, databases: Databases, orders: OrderDatabase
    ) -> None:
        administrator = databases.environment["ADMIN_DATABASE_URL"]
        owner = "select pg_get_userbyid(relowner)::text from pg_class where oid = 'audit_log'::regclass"
        try:
            for _ in range(2):
                unseal(administrator)
                assert databases.value("order_service", owner) == "order_service"
        finally:
            for _ in range(2):
                seal(administrator)
        assert databases.value("order_service", owner) == "audit_keeper"
        record(orders, uuid4().hex)


class TestFilters:
    def test_each_and_all_of_them(self, orders: OrderDatabase) -> None:
        mine, other = uuid4().hex, uuid4().hex
        before = datetime.now(UTC).isoformat()
        record(orders, mine)
        record(orders, mine, action="nudge_saga")
        record(orders, other, caller=SELLER)
        after = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()

        def found(**wanted: Any) -> list[tuple[str, str]]:
            seen = entries(orders, since=wanted.pop("since", before), **wanted)
            return [(entry["objectId"], entry["action"]) for entry in seen]

        first, second, third = (mine, "cancel_order"), (mine, "nudge_saga"), (other, "cancel_order")
        assert found() == [third, second, first]
        assert found(action="nudge_saga") == [second]
        assert found(actor="sue") == [third]
        assert found(object_id=mine, object_type="order") == [second, first]
        assert found(object_type="product") == found(until=before) == found(since=after) == []
        assert found(actor="root", action="cancel_order", object_id=mine, until=after) == [first]

    @pytest.mark.parametrize(
        ("filters", "field"),
        [
            ({"since": "yesterday"}, "since"),
            ({"until": "2026-01-01T00:00:00"}, "until"),
            ({"action": ""}, "action"),
            ({"object_type": 5}, "objectType"),
        ],
    )
    def test_nonsense_is_refused(self, orders: OrderDatabase, filters: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            entries(orders, **filters)
        assert list(refused.value.details["errors"]) == [field]

    def test_is_for_operators(self, orders: OrderDatabase) -> None:
        with pytest.raises(Forbidden):
            entries(orders, caller=SELLER)
