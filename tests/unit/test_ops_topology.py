"""How definitions are prepared for a broker, and what counts as a conflict."""

import base64
import hashlib
from typing import Any

import pytest

from ops.errors import StackError
from ops.quorum import parse_names
from ops.rabbitmq import hashed_password, normal_uri
from ops.topology import for_nodes, for_vhost, load_definitions, refuse_conflicts, vhost_of, with_passwords

QUEUE = {
    "name": "order_service.INVENTORY_RESERVED",
    "vhost": "/",
    "durable": True,
    "auto_delete": False,
    "arguments": {"x-queue-type": "quorum", "x-delivery-limit": 20},
}
DEFINITIONS: dict[str, Any] = {
    "vhosts": [{"name": "/"}],
    "users": [{"name": "ordersaga", "password_hash": "", "tags": ""}, {"name": "stranger", "password_hash": "x"}],
    "permissions": [],
    "queues": [QUEUE],
    "exchanges": [{"name": "order_service.events", "vhost": "/", "type": "topic", "durable": True}],
    "bindings": [],
    "policies": [],
}


def test_password_hash_is_salt_and_sha256_of_salt_and_password() -> None:
    raw = base64.b64decode(hashed_password("secret", salt=b"\x01\x02\x03\x04"))
    assert raw[:4] == b"\x01\x02\x03\x04"
    assert raw[4:] == hashlib.sha256(b"\x01\x02\x03\x04secret").digest()
    assert hashed_password("secret") != hashed_password("secret")


def test_only_known_users_get_a_password_and_the_file_is_left_alone() -> None:
    ours, stranger = with_passwords(DEFINITIONS, {"ordersaga": "pw"})["users"]
    assert ours["password_hash"]
    assert ours["hashing_algorithm"] == "rabbit_password_hashing_sha256"
    assert stranger == {"name": "stranger", "password_hash": "x"}
    assert DEFINITIONS["users"][0]["password_hash"] == ""


def test_a_foreign_broker_gets_no_users_and_no_vhosts() -> None:
    part = for_vhost(DEFINITIONS)
    assert set(part) == {"queues", "exchanges", "bindings", "policies"}
    assert "vhost" not in part["queues"][0]


@pytest.mark.parametrize(
    ("uri", "vhost"),
    [
        ("amqp://u:p@h:5672", "/"),
        ("amqp://u:p@h:5672/", "/"),
        ("amqp://u:p@h:5672//", "/"),
        ("amqp://u:p@h:5672/%2F", "/"),
        ("amqp://u:p@h:5672/shop", "shop"),
    ],
)
def test_every_way_to_write_a_vhost(uri: str, vhost: str) -> None:
    assert vhost_of(uri) == vhost
    assert vhost_of(normal_uri(uri)) == vhost
    assert vhost_of(f"{uri};{uri}") == vhost


def test_equal_or_absent_queues_are_no_conflict() -> None:
    refuse_conflicts(DEFINITIONS, [], [])
    refuse_conflicts(DEFINITIONS, [QUEUE, {"name": "another"}], DEFINITIONS["exchanges"])


def test_a_queue_with_other_arguments_is_named() -> None:
    other = {**QUEUE, "arguments": {"x-queue-type": "classic"}}
    with pytest.raises(StackError) as caught:
        refuse_conflicts(DEFINITIONS, [other], [])
    assert "queue order_service.INVENTORY_RESERVED exists" in caught.value.message
    assert "classic" in caught.value.message


def test_an_exchange_of_another_type_is_named() -> None:
    with pytest.raises(StackError, match=r"exchange order_service\.events"):
        refuse_conflicts(DEFINITIONS, [], [{"name": "order_service.events", "type": "fanout", "durable": True}])


def test_names_are_read_from_printed_erlang() -> None:
    assert parse_names('[<<"a.B">>,\n <<"c.D.dead">>]\n') == ["a.B", "c.D.dead"]
    assert parse_names("[]") == []


def test_with_several_nodes_no_queue_lives_on_only_one() -> None:
    one, several = "amqp://u:p@a/", "amqp://u:p@a/;amqp://u:p@b/"
    known = load_definitions()
    assert for_nodes(known, one) == known
    kinds = {queue["arguments"]["x-queue-type"] for queue in for_nodes(known, several)["queues"]}
    # A stream is kept by several nodes as well.
    assert kinds == {"quorum", "stream"}
    assert [queue["name"] for queue in for_nodes(known, several)["queues"]] == [q["name"] for q in known["queues"]]
