"""Older majors are brought to the one a view is written for, step by step, and what came stays as it came."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from marshmallow import fields

from shared import foresight, inbox
from shared.envelope import Received
from shared.errors import InvalidPayload, UnknownSchemaVersion
from shared.event_schema import EventSchema, Payload, order_id, unchanged
from shared.foresight import Outcome
from shared.identity import Identity, Role
from shared.messaging.loading import load_event

ORDER = "0189c1d0-0000-7000-8000-000000000001"


def renamed(payload: Payload) -> Payload:
    payload["lines"] = payload.pop("items")
    payload["tags"].append("renamed")
    return payload


def counted(payload: Payload) -> Payload:
    return {**payload, "number": len(payload["lines"])}


class Third(EventSchema):
    schema_version = 3
    upcasters = {1: renamed, 2: counted}  # noqa: RUF012
    order_id = order_id()
    lines = fields.List(fields.String(), required=True)
    number = fields.Integer(required=True, strict=True)
    tags = fields.List(fields.String(), load_default=list)


def load(schema: EventSchema, payload: Any, version: int | None) -> Received[Any]:
    headers = {} if version is None else {"schema_version": version}
    body = json.dumps(payload).encode()
    return load_event("THING", "some_service", schema, body=body, properties={}, headers=headers)


FIRST = {"id": ORDER, "items": ["a", "b"], "tags": ["old"]}


class TestUpcasting:
    @pytest.mark.parametrize(
        ("version", "payload", "tags"),
        [
            (1, FIRST, ["old", "renamed"]),
            (2, {"id": ORDER, "lines": ["a", "b"]}, []),
            (3, {"id": ORDER, "lines": ["a", "b"], "number": 2, "tags": []}, []),
        ],
    )
    def test_every_version_ends_as_the_newest(self, version: int, payload: Payload, tags: list[str]) -> None:
        event = load(Third(), payload, version)

        assert event.body == {"order_id": UUID(ORDER), "lines": ["a", "b"], "number": 2, "tags": tags}
        assert (event.envelope.schema_version, event.payload) == (version, payload)

    def test_an_event_sent_by_hand_has_no_header_and_is_of_the_first(self) -> None:
        assert load(Third(), FIRST, None).body["number"] == 2

    def test_an_upcaster_may_change_what_it_is_given_without_harm(self) -> None:
        payload = {"id": ORDER, "items": ["a"], "tags": []}
        Third().upcast(payload, 1)

        assert payload == {"id": ORDER, "items": ["a"], "tags": []}

    @pytest.mark.parametrize("version", [4, 7])
    def test_a_newer_one_is_not_read(self, version: int) -> None:
        with pytest.raises(UnknownSchemaVersion, match=rf"version {version}; readable: \(1, 2, 3\)"):
            load(Third(), {"id": ORDER}, version)

    def test_one_that_is_too_old_is_not_read(self) -> None:
        class Forgetful(Third):
            upcasters = {2: counted}  # noqa: RUF012

        assert Forgetful.readable_versions == (2, 3)
        with pytest.raises(UnknownSchemaVersion, match=r"version 1; readable: \(2, 3\)"):
            load(Forgetful(), FIRST, 1)

    @pytest.mark.parametrize(
        ("payload", "said"),
        [
            ({"id": ORDER}, "version 1 does not become 3: KeyError: 'items'"),
            ({"id": ORDER, "items": 5, "tags": []}, "version 1 does not become 3: TypeError"),
            ({"id": ORDER, "items": [1], "tags": []}, "lines"),
        ],
    )
    def test_a_payload_that_is_not_what_it_says_is_invalid(self, payload: Payload, said: str) -> None:
        with pytest.raises(InvalidPayload, match=said):
            load(Third(), payload, 1)


class TestDeclaring:
    def test_a_view_that_uses_nothing_of_what_changed_says_so(self) -> None:
        class Indifferent(EventSchema):
            schema_version = 2
            upcasters = {1: unchanged}  # noqa: RUF012
            order_id = order_id()

        assert load(Indifferent(), {"id": ORDER, "anything": 1}, 1).body == {"order_id": UUID(ORDER)}

    @pytest.mark.parametrize("upcasters", [{1: unchanged}, {3: unchanged}, {2: unchanged, 4: unchanged}])
    def test_a_chain_with_a_gap_is_refused_when_it_is_declared(self, upcasters: dict[int, Any]) -> None:
        with pytest.raises(TypeError, match="Gap is of version 3; upcasters"):
            type("Gap", (EventSchema,), {"schema_version": 3, "upcasters": upcasters})


class TestDryRun:
    @pytest.fixture
    def foresee(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """(the verdict, what the handler was given) for a payload that is said to be of the second version."""
        tx = SimpleNamespace(now=datetime.now(UTC), execute=lambda _statement: None, fetch=lambda _statement, **_: [])
        monkeypatch.setattr(foresight, "transaction", lambda _sessions: nullcontext(tx))
        monkeypatch.setattr(inbox, "claim", lambda _tx, events: events)
        operator, given = Identity(subject="ada", roles=frozenset({Role.ADMIN})), []

        def rehearse(_tx: Any, event: Received[Any]) -> Outcome:
            given.append(event.body)
            return Outcome(decision="done")

        def ask(payload: Payload) -> tuple[dict[str, Any], list[Any]]:
            body = b64encode(json.dumps(payload).encode()).decode()
            letter = {"event": "THING", "body": body, "properties": {}, "headers": {"schema_version": 2}}
            sessions: Any = None
            [verdict] = foresight.foresee(
                sessions, operator, [letter], {"THING": Third}, rehearse, horizon=timedelta(days=1)
            )
            return verdict, given

        return ask

    def test_the_handler_is_given_the_newest(self, foresee: Any) -> None:
        verdict, [given] = foresee({"id": ORDER, "lines": ["a", "b"], "tags": ["old"]})
        assert verdict == {"verdict": "will_apply", "decision": "done", "events": []}
        assert given == {"order_id": UUID(ORDER), "lines": ["a", "b"], "number": 2, "tags": ["old"]}

    def test_one_that_is_not_what_it_says_is_invalid(self, foresee: Any) -> None:
        verdict, given = foresee({"id": ORDER})
        assert (verdict["verdict"], given) == ("invalid", [])
        assert "version 2 does not become 3" in verdict["decision"]
