"""What operators do outside the services is recorded once for each key, and only for operators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from order_service import audit_requests
from shared.errors import Forbidden, InvalidRequest
from shared.identity import ANONYMOUS, TRUSTED, Identity, Role

ADMIN = Identity(subject="ada", roles=frozenset({Role.ADMIN}))
ENTRY: dict[str, Any] = {
    "action": "redrive_dead_letters",
    "object_type": "dead_letters",
    "object_id": "inventory_service.ORDER_CREATED",
    "request_id": "req-1",
    "before": {"count": 1},
    "after": None,
}


class Kept:
    """A transaction that remembers what it was told to run, and no key but ``known``."""

    def __init__(self, known: dict[str, str] | None = None) -> None:
        self.known = known or {}
        self.executed: list[dict[str, Any]] = []
        self.saved: list[Any] = []
        self.now = "now"

    def fetch(self, statement: Any, **parameters: Any) -> list[Any]:
        if "pg_try_advisory" in str(statement):
            return [SimpleNamespace(key=key, is_locked=True) for key in parameters["keys"]]
        return [
            SimpleNamespace(key=key, request_hash=self.known[key], answer={"recorded": True})
            for key in parameters["keys"]
            if key in self.known
        ]

    def execute(self, _statement: Any, **parameters: Any) -> None:
        self.executed.append(parameters)

    def save(self, _statement: Any, rows: list[Any], **_parameters: Any) -> None:
        self.saved += rows


def test_an_entry_is_recorded_in_its_callers_name() -> None:
    tx: Any = Kept()

    assert audit_requests.record_audit(tx, ADMIN, ENTRY, None) == {"replayed": False}

    [row] = tx.executed
    assert (row["actor"], row["roles"], row["action"]) == ("ada", "ADMIN", "redrive_dead_letters")
    assert (row["object_id"], row["request_id"], row["before"]) == (ENTRY["object_id"], "req-1", '{"count":1}')
    assert tx.saved == []


def test_a_key_records_once_whatever_the_request_is_called() -> None:
    first: Any = Kept()
    audit_requests.record_audit(first, ADMIN, ENTRY, "k-1")
    [kept] = first.saved
    assert kept["key"] == "ada/k-1"
    again: Any = Kept({kept["key"]: kept["request_hash"]})

    answer = audit_requests.record_audit(again, ADMIN, {**ENTRY, "request_id": "req-2"}, "k-1")

    assert answer == {"replayed": True}
    assert again.executed == []


@pytest.mark.parametrize("caller", [ANONYMOUS, Identity(subject="sam", roles=frozenset({Role.USER, Role.SELLER}))])
def test_only_operators_record(caller: Identity) -> None:
    tx: Any = Kept()

    with pytest.raises(Forbidden):
        audit_requests.record_audit(tx, caller, ENTRY, None)

    assert tx.executed == []


def test_our_own_tools_record_too() -> None:
    tx: Any = Kept()
    audit_requests.record_audit(tx, TRUSTED, ENTRY, "k-1")
    assert tx.executed[0]["actor"] == "broker"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"action": ""}, "action"),
        ({"action": None}, "action"),
        ({"object_type": 7}, "objectType"),
        ({"object_id": "x" * 300}, "objectId"),
        ({"request_id": 7}, "correlationId"),
        ({"before": "text"}, "before"),
        ({"after": [1]}, "after"),
    ],
)
def test_what_is_no_entry_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        audit_requests.read_audit_entry(**{**ENTRY, **changes})

    assert set(refused.value.details["errors"]) == {field}


def test_an_entry_is_read_as_it_is() -> None:
    assert audit_requests.read_audit_entry(**ENTRY) == ENTRY
