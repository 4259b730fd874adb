"""The declared contract: what it refuses, and what the generated files must hold."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.dashboard import diagram
from shared.choreography import ContractBroken, load_choreography
from shared.choreography.__main__ import check, generated_files, main
from shared.choreography.definitions import definitions
from shared.choreography.events_page import events_page
from shared.choreography.model import COMPENSATION, DEFAULT_FILE, FAILURE
from shared.choreography.storming_page import storming_page

CHOREOGRAPHY = load_choreography()
DEFINITIONS = definitions(CHOREOGRAPHY)
QUEUES = {queue["name"]: queue["arguments"] for queue in DEFINITIONS["queues"]}
WORK_QUEUES = [name for name, _ in CHOREOGRAPHY.work_queues()]
RETRY_QUEUES = [
    f"{service}.retry.{delay_s}s" for service in CHOREOGRAPHY.services for delay_s in CHOREOGRAPHY.retry_delays_s
]


def broken(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    """What is said of the contract after ``change``."""
    raw = yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8"))
    change(raw)
    file = tmp_path / "choreography.yml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ContractBroken) as refused:
        load_choreography(file)
    return str(refused.value)


def consumers(raw: dict[str, Any], event: str) -> dict[str, Any]:
    found: dict[str, Any] = raw["events"][event]["consumers"]
    return found


class TestContradictions:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            pytest.param(
                lambda raw: raw["events"]["ORDER_CREATED"].update(publisher="shop"),
                "ORDER_CREATED is published by shop, which is no service",
                id="unknown publisher",
            ),
            pytest.param(
                lambda raw: raw["events"]["PAYMENT_PENDING"].update(consumers={}),
                "PAYMENT_PENDING has no consumer and does not say why",
                id="no consumer, no reason",
            ),
            pytest.param(
                lambda raw: raw["events"]["ORDER_CONFIRMED"].pop("unconsumed_because"),
                "ORDER_CONFIRMED has no consumer and does not say why",
                id="reason taken away",
            ),
            pytest.param(
                lambda raw: consumers(raw, "PAYMENT_PENDING").update(shop={"does": "x", "answers": []}),
                "PAYMENT_PENDING is consumed by shop, which is no service",
                id="unknown consumer",
            ),
            pytest.param(
                lambda raw: consumers(raw, "ORDER_CREATED").update(order_service={"does": "x", "answers": []}),
                "ORDER_CREATED is consumed by its own publisher",
                id="own consumer",
            ),
            pytest.param(
                lambda raw: consumers(raw, "PAYMENT_PENDING")["order_service"].update(answers=["ORDER_LOST"]),
                "order_service answers PAYMENT_PENDING with unknown ORDER_LOST",
                id="unknown answer",
            ),
            pytest.param(
                lambda raw: consumers(raw, "PAYMENT_PENDING")["order_service"].update(answers=["PAYMENT_FAILED"]),
                "order_service answers PAYMENT_PENDING with PAYMENT_FAILED, which payment_service publishes",
                id="another's answer",
            ),
            pytest.param(
                lambda raw: raw["flows"][0]["events"].append("ORDER_LOST"),
                "flow Happy path names unknown ORDER_LOST",
                id="unknown in a flow",
            ),
            pytest.param(
                lambda raw: consumers(raw, "INVENTORY_RESERVED")["payment_service"]["answers"].remove(
                    "PAYMENT_PENDING"
                ),
                "PAYMENT_PENDING is nobody's answer and nothing starts it",
                id="from nowhere",
            ),
            pytest.param(
                lambda raw: raw["commands"]["pay"].update(leads_to=["ORDER_LOST"]),
                "the command pay leads to unknown ORDER_LOST",
                id="command to nowhere",
            ),
            pytest.param(
                lambda raw: raw["commands"]["pay"].update(to="order_service"),
                "the command pay goes to order_service, and PAYMENT_SUCCESS comes from payment_service",
                id="command to another service",
            ),
            pytest.param(
                lambda raw: raw["commands"]["pay"].update(by=["bank"]),
                "bank may not pay: nobody knows them",
                id="command of a stranger",
            ),
            pytest.param(
                lambda raw: raw["events"]["PAYMENT_FAILED"].update(kind="sad"),
                "PAYMENT_FAILED is of kind sad, which is none of forward, failure, compensation",
                id="unknown kind",
            ),
            pytest.param(
                lambda raw: raw["flows"][0].update(commands={}),
                "flow Happy path: nothing before ORDER_CREATED leads to it",
                id="a flow that begins by itself",
            ),
            pytest.param(
                lambda raw: raw["flows"][0]["commands"].update(ORDER_CREATED="pay"),
                "flow Happy path: pay does not lead to ORDER_CREATED",
                id="a flow's wrong command",
            ),
            pytest.param(
                lambda raw: raw["flows"][0]["commands"].update(ORDER_CANCELLED="cancel an order"),
                "flow Happy path has a command for ORDER_CANCELLED, which is not in it",
                id="a command for what is not in the flow",
            ),
            pytest.param(
                lambda raw: raw["flows"][0].update(fails_with="PAYMENT_FAILED"),
                "flow Happy path fails with PAYMENT_FAILED, which is not in it",
                id="a failure from elsewhere",
            ),
            pytest.param(
                lambda raw: raw["board"]["Payment"].remove("PAYMENT_PENDING"),
                "PAYMENT_PENDING is on the board 0 times, and should be once",
                id="not on the board",
            ),
            pytest.param(
                lambda raw: raw["board"]["Payment"].append("ORDER_LOST"),
                "the board names unknown ORDER_LOST",
                id="unknown on the board",
            ),
        ],
    )
    def test_each_is_named(self, tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
        assert said in broken(tmp_path, change)

    def test_all_of_them_are_named_at_once(self, tmp_path: Path) -> None:
        def change(raw: dict[str, Any]) -> None:
            raw["events"]["ORDER_CREATED"].update(publisher="shop")
            raw["flows"][0]["events"].append("ORDER_LOST")

        said = broken(tmp_path, change)
        assert "shop" in said
        assert "ORDER_LOST" in said

    def test_the_contract_as_it_is_has_none(self) -> None:
        assert set(CHOREOGRAPHY.services) == {"order_service", "inventory_service", "payment_service"}


class TestGeneratedFiles:
    def test_they_are_in_step(self) -> None:
        check()

    def test_a_file_that_is_out_of_step_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stale = {path: text + "x" for path, text in generated_files().items()}
        monkeypatch.setattr("shared.choreography.__main__.generated_files", lambda: stale)
        assert main(["check"]) == 1
        said = capsys.readouterr().err
        assert "rabbitmq/definitions.json" in said
        assert "docs/events.md" in said

    def test_writing_makes_what_checking_wants(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = {tmp_path / path.name: text for path, text in generated_files().items()}
        monkeypatch.setattr("shared.choreography.__main__.generated_files", lambda: made)
        assert main(["write"]) == 0
        assert main(["check"]) == 0

    @pytest.mark.parametrize("arguments", [[], ["both"], ["write", "check"]])
    def test_anything_else_is_told_how(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments) == 2
        assert "write|check" in capsys.readouterr().err

    def test_the_page_shows_every_event_and_deadline(self) -> None:
        page = events_page(CHOREOGRAPHY)
        for event in CHOREOGRAPHY.events.values():
            assert f"| {event.type} |" in page
        for deadline in CHOREOGRAPHY.deadlines:
            assert f"`{deadline.setting}`" in page

    def test_the_storming_page_shows_every_command_flow_and_failure(self) -> None:
        page = storming_page(CHOREOGRAPHY)
        for command in CHOREOGRAPHY.commands:
            assert f"| {command} |" in page
        for flow in CHOREOGRAPHY.flows:
            assert f"### {flow.name}" in page
            if flow.fails_with:
                assert f"| {flow.fails_with} |" in page

    def test_what_undoes_comes_after_the_failure(self) -> None:
        flows = {flow.name: flow.compensations for flow in CHOREOGRAPHY.flows}
        assert flows["Happy path"] == ()
        assert flows["Payment declined"] == ("ORDER_CANCELLED", "INVENTORY_REFUNDED")
        assert flows["Abandoned checkout"] == ("INVENTORY_REFUNDED", "ORDER_CANCELLED", "PAYMENT_CANCELLED")
        assert flows["Paid order cancelled on request"] == ("ORDER_CANCELLED", "INVENTORY_REFUNDED", "PAYMENT_REFUNDED")

    def test_the_order_page_colours_events_as_the_contract_has_them(self) -> None:
        kinds = {
            kind: {e.type for e in CHOREOGRAPHY.events.values() if e.kind == kind} for kind in (FAILURE, COMPENSATION)
        }
        assert kinds == {FAILURE: set(diagram._FAILURES), COMPENSATION: set(diagram._COMPENSATIONS)}

    def test_every_event_is_in_a_flow_or_says_why_it_ends_nowhere(self) -> None:
        in_flows = {event for flow in CHOREOGRAPHY.flows for event in flow.events}
        assert set(CHOREOGRAPHY.events) - in_flows == {
            "PRODUCT_UPDATED",
            "PAYMENT_REFUND_FAILED",
        }


class TestTopology:
    def test_it_is_plain_json_and_without_secrets(self) -> None:
        assert json.loads(json.dumps(DEFINITIONS)) == DEFINITIONS
        assert {user["password_hash"] for user in DEFINITIONS["users"]} == {""}
        assert not any("administrator" in user["tags"] for user in DEFINITIONS["users"])

    def test_names_are_unique(self) -> None:
        for kind in ("queues", "exchanges", "users", "policies"):
            names = Counter(entry["name"] for entry in DEFINITIONS[kind])
            assert [name for name, count in names.items() if count > 1] == []

    def test_everything_is_durable(self) -> None:
        for entry in DEFINITIONS["queues"] + DEFINITIONS["exchanges"]:
            assert (entry["durable"], entry["auto_delete"]) == (True, False), entry["name"]

    @pytest.mark.parametrize("queue", WORK_QUEUES)
    def test_a_work_queue_loses_nothing(self, queue: str) -> None:
        """At least once needs reject-publish; without it the broker silently falls back to at most once."""
        assert QUEUES[queue] == {
            "x-queue-type": "quorum",
            "x-delivery-limit": CHOREOGRAPHY.delivery_limit,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": f"{queue}.dead",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }

    @pytest.mark.parametrize("queue", WORK_QUEUES)
    def test_a_work_queue_has_its_own_dead_letters_that_never_expire(self, queue: str) -> None:
        assert QUEUES[f"{queue}.dead"] == {"x-queue-type": "quorum"}

    def test_dead_letters_are_not_shared(self) -> None:
        keys = [QUEUES[queue]["x-dead-letter-routing-key"] for queue in WORK_QUEUES]
        assert len(set(keys)) == len(keys)

    @pytest.mark.parametrize("queue", RETRY_QUEUES)
    def test_a_retry_queue_returns_a_message_to_where_it_came_from(self, queue: str) -> None:
        """Through the default exchange by the message's own key; a key here would send it elsewhere."""
        arguments = QUEUES[queue]
        assert "x-dead-letter-routing-key" not in arguments
        assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-strategy"]) == ("", "at-least-once")
        assert arguments["x-overflow"] == "reject-publish"
        assert f"{arguments['x-message-ttl'] // 1000}s" == queue.rpartition(".")[2]

    def test_delays_grow(self) -> None:
        assert list(CHOREOGRAPHY.retry_delays_s) == sorted(set(CHOREOGRAPHY.retry_delays_s))

    def test_every_binding_joins_what_exists(self) -> None:
        exchanges = {exchange["name"] for exchange in DEFINITIONS["exchanges"]}
        for binding in DEFINITIONS["bindings"]:
            assert binding["source"] in exchanges
            assert binding["destination"] in QUEUES

    def test_no_two_services_share_a_queue_and_none_hears_another_ones_event(self) -> None:
        bound = [b for b in DEFINITIONS["bindings"] if b["source"].endswith(".events")]
        assert sorted(b["destination"] for b in bound) == sorted(WORK_QUEUES)
        for binding in bound:
            service, _, event_type = binding["destination"].partition(".")
            event = CHOREOGRAPHY.events[event_type]
            assert binding["routing_key"] == event_type
            assert binding["source"] == f"{event.publisher}.events"
            assert service in {consumer.service for consumer in event.consumers}

    def test_every_event_has_a_publisher_and_a_consumer_or_a_reason(self) -> None:
        for event in CHOREOGRAPHY.events.values():
            assert event in CHOREOGRAPHY.published_by(event.publisher)
            assert bool(event.consumers) != bool(event.unconsumed_because)

    def test_policies_reach_the_queues_they_are_for_and_no_others(self) -> None:
        patterns = {policy["name"]: re.compile(policy["pattern"]) for policy in DEFINITIONS["policies"]}
        bounded = {queue for queue in QUEUES if patterns["bounded-work"].search(queue)}
        requests = {queue for queue in QUEUES if patterns["short-lived-requests"].search(queue)}
        kept = {queue for queue in QUEUES if patterns["kept-dead-letters"].search(queue)}
        assert bounded == set(WORK_QUEUES)
        assert kept == {f"{queue}.dead" for queue in WORK_QUEUES}
        assert requests == {f"rpc-{service}" for service in (*CHOREOGRAPHY.services, "finance_service")}

    def test_every_queue_is_one_of_the_known_kinds(self) -> None:
        rpc = {f"rpc-{service}" for service in (*CHOREOGRAPHY.services, "finance_service")}
        changes = {"cdc.changes", "cdc.order.commands", "cdc.payment.commands"}
        dead = {f"{queue}.dead" for queue in WORK_QUEUES}
        assert set(QUEUES) == {*WORK_QUEUES, *dead, *RETRY_QUEUES, *rpc, *changes}

    def test_every_row_change_comes_into_one_stream_that_does_not_grow_for_ever(self) -> None:
        arguments = QUEUES["cdc.changes"]
        assert arguments["x-queue-type"] == "stream"
        assert 0 < arguments["x-stream-max-segment-size-bytes"] < arguments["x-max-length-bytes"] / 10
        assert arguments["x-max-age"] == "7D"
        kinds = {e["name"]: e["type"] for e in DEFINITIONS["exchanges"] if e["name"].startswith("cdc.")}
        assert set(kinds.values()) == {"fanout"}
        assert {"cdc.order.orders", "cdc.order.heartbeat", "cdc.payment.ledger_entries"} <= set(kinds)
        bound = {b["source"] for b in DEFINITIONS["bindings"] if b["destination"] == "cdc.changes"}
        assert bound == set(kinds)
