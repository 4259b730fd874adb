"""What a stack remembers, and the addresses made from it."""

import json
from pathlib import Path

import pytest

from ops.applications import (
    application_processes,
    checked_replicas,
    gateway_environment,
    merged_settings,
    psp_environment,
    service_environment,
)
from ops.errors import StackError, last_lines
from ops.external import external_servers
from ops.folder import StackFolder, exclusive_lock, lock_holder, write_atomically
from ops.state import (
    DATABASE_VARIABLES,
    StackState,
    fresh_state,
    load_state,
    save_state,
    with_all_passwords,
    with_webhook_secret,
)

PORTS = {"postgres": 21000, "amqp": 21001, "management": 21002, "distribution": 21003, "gateway": 21004, "psp": 21005}
FOREIGN_BROKER = "amqp://someone:secret@broker.example:5672/shop"


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    layout = StackFolder(root=tmp_path / ".stack")
    layout.create()
    return layout


@pytest.fixture
def state(folder: StackFolder) -> StackState:
    return fresh_state(folder).changed(ports=PORTS)


def test_state_survives_a_restart_and_is_private(folder: StackFolder, state: StackState) -> None:
    save_state(folder, state)
    assert load_state(folder) == state
    assert folder.state_file.stat().st_mode & 0o777 == 0o600


def test_what_the_first_release_remembered_still_loads(folder: StackFolder, state: StackState) -> None:
    """Given a stack.json from before the payment simulator had a process, then it gets a secret, once."""
    save_state(folder, state)
    old = json.loads(folder.state_file.read_text())
    del old["psp_webhook_secret"], old["ports"]["psp"]
    folder.state_file.write_text(json.dumps(old))

    loaded = load_state(folder)
    assert loaded is not None
    assert (loaded.psp_webhook_secret, loaded.psp_url) == ("", None)
    upgraded = with_webhook_secret(loaded)
    assert len(upgraded.psp_webhook_secret) == 64
    assert with_webhook_secret(upgraded) is upgraded


def test_a_stack_from_before_change_data_capture_gets_the_missing_passwords_once(state: StackState) -> None:
    known = {name: password for name, password in state.passwords.items() if not name.endswith("_cdc")}
    assert len(known) == len(state.passwords) - 3
    upgraded = with_all_passwords(state.changed(passwords=known))
    assert set(upgraded.passwords) == set(state.passwords)
    assert known.items() <= upgraded.passwords.items()
    assert with_all_passwords(upgraded) is upgraded


class TestChangeDataCapture:
    def test_connectors_are_there_when_they_are_wanted(self, folder: StackFolder, state: StackState) -> None:
        names = [spec.name for spec in application_processes(folder, state)]
        more = {spec.name: spec for spec in application_processes(folder, state.changed(cdc=True))}
        assert set(more) - set(names) == {"order_cdc", "payment_cdc", "finance_feed", "finance_service"}
        spec = more["order_cdc"]
        assert spec.command[1:] == ("-m", "cdc", "order_service")
        assert spec.environment["CDC_FOLDER"] == str(folder.root / "cdc" / "order_cdc")
        password = state.passwords["order_service_cdc"]
        url = f"postgresql+psycopg2://order_service_cdc:{password}@127.0.0.1:21000/order_service"
        assert spec.environment["ORDER_REPLICATION_URL"] == url
        assert not any(name.endswith("DATABASE_URL") for name in spec.environment)

    def test_relays_read_the_log_when_they_are_told_to(self, folder: StackFolder, state: StackState) -> None:
        def reads_the_log(settings: dict[str, str]) -> set[str]:
            specs = application_processes(folder, state.changed(settings=settings))
            return {spec.name for spec in specs if any("REPLICATION_URL" in name for name in spec.environment)}

        assert reads_the_log({}) == reads_the_log({"OUTBOX_RELAY": "polling"}) == set()
        assert reads_the_log({"OUTBOX_RELAY": "cdc"}) == {"order_relay", "inventory_relay", "payment_relay"}

    def test_a_database_of_somebody_else_needs_an_address_of_its_own(self, state: StackState) -> None:
        foreign = {"ORDER_DATABASE_URL": "postgresql://a:b@db.example/orders"}
        with pytest.raises(StackError, match="ORDER_REPLICATION_URL"):
            state.changed(external=foreign).replication_url("order_service")
        given = {**foreign, "ORDER_REPLICATION_URL": "postgresql://c:d@db.example/orders"}
        chosen = external_servers(given, state)
        assert state.changed(external=chosen).replication_url("order_service") == given["ORDER_REPLICATION_URL"]


def test_no_state_is_no_error_but_a_damaged_one_says_what_to_do(folder: StackFolder) -> None:
    assert load_state(folder) is None
    folder.state_file.write_text('{"ports": ')
    with pytest.raises(StackError) as caught:
        load_state(folder)
    assert "damaged" in caught.value.message
    assert "delete that one file" in caught.value.hint


def test_folders_differ_in_identity_passwords_and_node(tmp_path: Path) -> None:
    one, other = (fresh_state(StackFolder(root=tmp_path / name)) for name in ("one", "other"))
    assert one.node != other.node
    assert not set(one.passwords.values()) & set(other.passwords.values())
    assert len(set(one.passwords.values())) == len(one.passwords)


def test_addresses_name_the_vhost_in_a_way_every_client_reads(state: StackState) -> None:
    password = state.passwords["ordersaga"]
    assert state.amqp_uri() == f"amqp://ordersaga:{password}@127.0.0.1:21001/%2F"
    assert state.database_url("psp") == f"postgresql+psycopg2://psp:{state.passwords['psp']}@127.0.0.1:21000/psp"


def test_external_servers_replace_private_ones(state: StackState) -> None:
    state = state.changed(external={"AMQP_URI": FOREIGN_BROKER, "ORDER_DATABASE_URL": "postgresql://o:p@db/orders"})
    assert state.amqp_uri() == FOREIGN_BROKER
    assert state.management_url() is None
    assert state.database_url("order_service") == "postgresql://o:p@db/orders"
    assert state.private_databases == ("inventory_service", "payment_service", "psp")


def test_own_addresses_in_the_environment_are_not_external_servers(state: StackState) -> None:
    own = {"AMQP_URI": state.amqp_uri(), "ORDER_DATABASE_URL": state.database_url("order_service")}
    assert external_servers(own, state) == {}


def test_the_choice_of_external_servers_is_remembered_until_another_is_made(state: StackState) -> None:
    chosen = external_servers({"AMQP_URI": FOREIGN_BROKER, "HOME": "/root"}, state)
    assert chosen == {"AMQP_URI": FOREIGN_BROKER}
    assert external_servers({}, state.changed(external=chosen)) == chosen


def test_the_simulator_needs_a_database_when_all_others_are_external(state: StackState) -> None:
    services = [variable for name, variable in DATABASE_VARIABLES.items() if name != "psp"]
    urls = {variable: f"postgresql://u:p@db/{variable}" for variable in services}
    with pytest.raises(StackError) as caught:
        external_servers(urls, state)
    assert "PSP_DATABASE_URL" in caught.value.hint
    # With a private cluster for one of the services there is room for the simulator too.
    assert external_servers({"PAYMENT_DATABASE_URL": urls["PAYMENT_DATABASE_URL"]}, state)


def test_a_service_sees_its_own_database_only(folder: StackFolder, state: StackState) -> None:
    orders = service_environment(folder, state, "order_service")
    payments = service_environment(folder, state, "payment_service")
    variables = set(DATABASE_VARIABLES.values())
    assert variables & set(orders) == {"ORDER_DATABASE_URL"}
    assert variables & set(payments) == {"PAYMENT_DATABASE_URL", "PSP_DATABASE_URL"}


def test_the_payment_simulator_sees_its_own_things_only(folder: StackFolder, state: StackState) -> None:
    psp = psp_environment(folder, state)
    assert psp["PSP_WEBHOOK_URL"] == "http://127.0.0.1:21004/api/v1/psp/webhooks"
    assert (psp["PSP_PORT"], state.psp_url) == ("21005", "http://127.0.0.1:21005")
    assert set(DATABASE_VARIABLES.values()) & set(psp) == {"PSP_DATABASE_URL"}
    assert "AMQP_URI" not in psp


def test_only_those_who_sign_and_check_webhooks_know_the_secret(folder: StackFolder, state: StackState) -> None:
    assert len(state.psp_webhook_secret) == 64
    knowing = [psp_environment(folder, state), service_environment(folder, state, "payment_service")]
    assert {environment["PSP_WEBHOOK_SECRET"] for environment in knowing} == {state.psp_webhook_secret}
    for environment in (gateway_environment(folder, state), service_environment(folder, state, "order_service")):
        assert state.psp_webhook_secret not in environment.values()


def test_replicas_get_names_of_their_own(folder: StackFolder, state: StackState) -> None:
    state = state.changed(replicas={"order_service": 3, "payment_relay": 0})
    names = [spec.name for spec in application_processes(folder, state)]
    assert [name for name in names if name.startswith("order_service")] == [
        "order_service",
        "order_service-2",
        "order_service-3",
    ]
    assert "payment_relay" not in names
    assert names[-3:] == ["psp", "gateway", "reconciler"]


@pytest.mark.parametrize("replicas", [{"gateway": 2}, {"psp": 2}, {"nobody": 1}, {"order_service": -1}])
def test_impossible_replicas_are_refused(replicas: dict[str, int]) -> None:
    with pytest.raises(StackError):
        checked_replicas(replicas)


def test_settings_are_added_changed_and_forgotten() -> None:
    known = {"LOG_LEVEL": "DEBUG", "RESERVATION_TTL_S": "5"}
    assert merged_settings(known, {"LOG_LEVEL": "", "X": "1"}) == {"RESERVATION_TTL_S": "5", "X": "1"}


@pytest.mark.parametrize("name", ["AMQP_URI", "PSP_DATABASE_URL", "PSP_WEBHOOK_SECRET", "no good", ""])
def test_settings_cannot_take_the_place_of_what_the_stack_decides(name: str) -> None:
    with pytest.raises(StackError):
        merged_settings({}, {name: "x"})


def test_a_lock_is_held_once_and_freed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    with exclusive_lock(path) as first, exclusive_lock(path) as second:
        assert first
        assert not second
        assert lock_holder(path) is not None
    assert lock_holder(path) is None


def test_an_atomic_write_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "one")
    write_atomically(tmp_path / "a.json", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "two"


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(20_000)) + b"caf\xff")
    assert last_lines(log, 2) == ["line 19999", "caf\ufffd"]
    assert last_lines(tmp_path / "missing.log", 2) == []
    assert last_lines(log, 0) == []
