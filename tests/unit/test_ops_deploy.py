"""Preparing a broker in containers: what is asked for, and of how many nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops import deploy
from ops.errors import StackError
from ops.topology import load_definitions

LOGINS = {
    "RABBITMQ_MANAGEMENT_URL": "http://administrator@rabbitmq:15672",
    "ORDERSAGA_PASSWORD": "own",
    "OPERATOR_PASSWORD": "own",
}
THREE = "amqp://me@a/%2F;amqp://me@b/%2F;amqp://me@c/%2F"


class Broker:
    """A management API that sees one node more each time it is asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen = 0
        self.imported: dict[str, Any] = {}
        BROKERS.append(self)

    def why_unreachable(self) -> None:
        return None

    def running_nodes(self) -> int:
        self.seen += 1
        return self.seen

    def queues(self, _vhost: str = "/") -> list[dict[str, Any]]:
        return []

    def exchanges(self, _vhost: str = "/") -> list[dict[str, Any]]:
        return []

    def import_definitions(self, definitions: dict[str, Any]) -> None:
        assert self.seen >= 1
        self.imported = definitions


BROKERS: list[Broker] = []


@pytest.fixture(autouse=True)
def _brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    BROKERS.clear()
    monkeypatch.setattr(deploy, "ManagementApi", Broker)
    monkeypatch.setattr("ops.waiting.time.sleep", lambda _seconds: None)


def _request_queues(broker: Broker) -> set[str]:
    queues = [queue for queue in broker.imported["queues"] if queue["name"].startswith("rpc-")]
    return {queue["arguments"].get("x-queue-type", "classic") for queue in queues}


def test_a_single_node_gets_the_definitions_as_they_are() -> None:
    deploy.prepare_broker(LOGINS)
    assert BROKERS[0].imported["queues"] == load_definitions()["queues"]
    assert _request_queues(BROKERS[0]) == {"classic"}


def test_several_nodes_are_waited_for_and_hold_every_queue() -> None:
    deploy.prepare_broker({**LOGINS, "AMQP_URI": THREE})
    assert BROKERS[0].seen == 3
    assert _request_queues(BROKERS[0]) == {"quorum"}


def test_passwords_may_be_in_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    files = {f"{name}_PASSWORD_FILE": str(tmp_path / "password") for name in ("ORDERSAGA", "OPERATOR")}
    url = {"RABBITMQ_MANAGEMENT_URL": LOGINS["RABBITMQ_MANAGEMENT_URL"]}
    deploy.prepare_broker({**url, **files, "RABBITMQ_MANAGEMENT_PASSWORD_FILE": str(tmp_path / "password")})
    assert BROKERS[0].url == "http://administrator:s3cret@rabbitmq:15672"


def test_a_missing_password_is_named() -> None:
    with pytest.raises(StackError, match="not set: OPERATOR_PASSWORD"):
        deploy.prepare_broker({**LOGINS, "OPERATOR_PASSWORD": ""})
