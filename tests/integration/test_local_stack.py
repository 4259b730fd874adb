"""The local stack on the real thing: rights, repair, neighbours, and what it says when it cannot."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psycopg2
import pytest
from click.testing import CliRunner

from ops.children import Child
from ops.cli import main
from ops.databases import driver_url
from ops.errors import StackError
from ops.folder import StackFolder
from ops.management import ManagementApi
from ops.processes import ProcessSpec, owned_processes
from ops.psp_client import PspClient
from ops.rabbitmq import why_unreachable
from ops.stack import Stack
from ops.state import DATABASE_VARIABLES
from ops.supervision import ProcessState, Supervision
from ops.topology import apply_over_amqp, load_definitions
from ops.waiting import Waiter, holds_within

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with broker, databases and topology; tests leave it running."""
    stack = Stack(tmp_path_factory.mktemp("local-stack") / ".stack")
    try:
        _up(stack)
        yield stack
    finally:
        stack.down(delete_data=True)


@pytest.fixture
def neighbour(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A second stack: databases of its own, the first one's broker."""
    neighbour = Stack(tmp_path / "neighbour")
    try:
        _up_beside(neighbour, stack)
        yield neighbour
    finally:
        neighbour.down(delete_data=True)


def _up(stack: Stack) -> bool:
    return stack.up(infrastructure_only=True, migrate=False)


def _up_beside(neighbour: Stack, stack: Stack) -> bool:
    broker = {"AMQP_URI": stack.environment()["AMQP_URI"]}
    return neighbour.up(infrastructure_only=True, migrate=False, apply_topology=False, external=broker)


def _login(url: str) -> str:
    """The role that the database sees."""
    session = psycopg2.connect(driver_url(url), connect_timeout=3)
    try:
        with session.cursor() as cursor:
            cursor.execute("SELECT current_user")
            row = cursor.fetchone()
            assert row is not None
            return str(row[0])
    finally:
        session.close()


@pytest.mark.parametrize("role", DATABASE_VARIABLES)
def test_a_role_reaches_its_own_database_and_no_other(stack: Stack, role: str) -> None:
    own = stack.environment()[DATABASE_VARIABLES[role]]
    assert _login(own) == role
    for other in {*DATABASE_VARIABLES, "postgres", "template1"} - {role}:
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            _login(own.removesuffix(role) + other)


def test_nobody_gets_in_without_a_password(stack: Stack) -> None:
    environment = stack.environment()
    broker = environment["AMQP_URI"].split("@")[1]
    assert why_unreachable(environment["AMQP_URI"]) is None
    nobody = "amqp://u:p@127.0.0.1:1/%2F"
    assert why_unreachable(f"{nobody};{environment['AMQP_URI']}") is None
    assert "ACCESS_REFUSED" in (why_unreachable(f"amqp://guest:guest@{broker}") or "")
    database = environment["ORDER_DATABASE_URL"].split("@")[1]
    with pytest.raises(psycopg2.OperationalError, match="password"):
        _login(f"postgresql://order_service:wrong@{database}")


def test_the_topology_is_there_and_may_be_applied_again(stack: Stack) -> None:
    wanted = {queue["name"] for queue in load_definitions()["queues"]}
    stack.apply_topology()
    present = {queue["name"]: queue["state"] for queue in ManagementApi(stack.environment()["MANAGEMENT_URL"]).queues()}
    assert wanted <= set(present)
    assert set(present.values()) == {"running"}


def test_up_again_changes_nothing(stack: Stack) -> None:
    before = [process.pid for process in stack.processes()]
    assert _up(stack) is False
    assert [process.pid for process in stack.processes()] == before


def test_killed_servers_come_back_and_a_queue_declared_at_the_last_moment_works(stack: Stack) -> None:
    administrator = _administrator_uri(stack)
    with pika.BlockingConnection(pika.URLParameters(administrator)) as connection:
        connection.channel().queue_declare("last-moment", durable=True, arguments={"x-queue-type": "quorum"})
    killed = {stack.kill("rabbitmq"), stack.kill("postgres")}

    assert holds_within(lambda: all(p.restarts and p.pid for p in stack.processes()), timeout_s=60)
    # PostgreSQL may find children of its predecessor, once.
    assert max(p.restarts for p in stack.processes()) <= 2
    # Nobody runs `up`: the supervisor has the queues looked after by itself.
    repaired = stack.log("rabbitmq-after-restart")
    assert holds_within(lambda: repaired.exists() and "queues_checked" in repaired.read_text(), timeout_s=150)
    assert not killed & {process.pid for process in stack.processes()}
    with pika.BlockingConnection(pika.URLParameters(administrator)) as connection:
        # Without the repair this hangs for 65 s and closes the connection.
        assert connection.channel().basic_get("last-moment") == (None, None, None)
        connection.channel().queue_delete("last-moment")


def test_a_stack_of_the_first_release_gets_a_webhook_secret_once(stack: Stack) -> None:
    file = stack.folder / "stack.json"
    old = json.loads(file.read_text())
    del old["psp_webhook_secret"]
    file.write_text(json.dumps(old))
    assert "PSP_WEBHOOK_SECRET" not in stack.environment()

    assert _up(stack) is False
    secret = stack.environment()["PSP_WEBHOOK_SECRET"]
    assert _up(stack) is False
    assert stack.environment()["PSP_WEBHOOK_SECRET"] == secret
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_payment_simulator_is_a_process_of_the_whole_stack(stack: Stack) -> None:
    """Given the whole stack, then the simulator is killed, restarted and controlled as everything else."""
    try:
        assert stack.up()
        client = PspClient(stack.environment()["PSP_URL"])
        client.change_behaviour({"latency_ms": 5})
        killed = stack.kill("psp")
        assert holds_within(lambda: _answers(client), timeout_s=60)
        assert killed != _process(stack, "psp").pid
        stack.restart("psp")
        assert holds_within(lambda: _answers(client), timeout_s=60)

        shown = CliRunner().invoke(main, ["--stack", str(stack.folder), "psp", "show", "--json"])
        values = {setting["name"]: setting["value"] for setting in json.loads(shown.stdout)["behaviour"]}
        assert (shown.exit_code, values["latency_ms"]) == (0, 5)
        assert _process(stack, "psp").restarts == 2
    finally:
        _up(stack)
    assert "psp" not in {process.name for process in stack.processes()}


def _answers(client: PspClient) -> bool:
    try:
        client.behaviour()
    except StackError:
        return False
    return True


def _process(stack: Stack, name: str) -> ProcessState:
    (found,) = [process for process in stack.processes() if process.name == name]
    return found


def _administrator_uri(stack: Stack) -> str:
    login = stack.administrator()["ADMIN_MANAGEMENT_URL"].removeprefix("http://").split("@")[0]
    return f"amqp://{login}@{stack.environment()['AMQP_URI'].split('@')[1]}"


def test_a_queue_with_other_arguments_is_named(stack: Stack) -> None:
    name = load_definitions()["queues"][0]["name"]
    vhost = "conflict"
    api = ManagementApi(stack.administrator()["ADMIN_MANAGEMENT_URL"])
    api.request("PUT", f"/api/vhosts/{vhost}")
    uri = _administrator_uri(stack).removesuffix("%2F") + vhost
    try:
        with pika.BlockingConnection(pika.URLParameters(uri)) as connection:
            connection.channel().queue_declare(name, durable=True)
        with pytest.raises(StackError) as caught:
            apply_over_amqp(uri, load_definitions())
    finally:
        api.request("DELETE", f"/api/vhosts/{vhost}")
    assert f"queue {name} exists with other properties" in caught.value.message


def test_stacks_live_side_by_side(stack: Stack, neighbour: Stack) -> None:
    ours, theirs = stack.environment(), neighbour.environment()
    assert theirs["AMQP_URI"] == ours["AMQP_URI"]
    assert "MANAGEMENT_URL" not in theirs
    assert not {ours[name] for name in DATABASE_VARIABLES.values()} & set(theirs.values())
    assert [process.name for process in neighbour.processes()] == ["postgres"]

    assert neighbour.down()
    assert neighbour.down() is False
    assert owned_processes(neighbour.folder) == []
    assert _login(ours["ORDER_DATABASE_URL"]) == "order_service"


def test_a_dead_supervisor_is_replaced_and_its_orphans_are_ended(stack: Stack, neighbour: Stack) -> None:
    orphan = neighbour.processes()[0].pid
    _kill_supervisor(neighbour)
    assert neighbour.leftovers() == ["postgres"]

    assert _up_beside(neighbour, stack)
    assert neighbour.leftovers() == []
    assert neighbour.processes()[0].pid != orphan
    assert _login(neighbour.environment()["ORDER_DATABASE_URL"]) == "order_service"


def _kill_supervisor(stack: Stack) -> None:
    pid = stack.supervisor_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert holds_within(lambda: not stack.is_up(), timeout_s=5)


def test_a_taken_port_and_stale_files_are_worked_around(stack: Stack, neighbour: Stack) -> None:
    """Given a crash that left a pid file whose number another program has now, and the port taken meanwhile."""
    remembered = json.loads((neighbour.folder / "stack.json").read_text())
    port, data = remembered["ports"]["postgres"], Path(remembered["postgres_data"])
    neighbour.down()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    (neighbour.folder / "run" / "state.json").write_text("half a ")
    shutil.copytree(data, data.with_name("data.unfinished"), dirs_exist_ok=True)

    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        assert _up_beside(neighbour, stack)
        moved = json.loads((neighbour.folder / "stack.json").read_text())["ports"]["postgres"]
        assert moved != port
        assert _login(neighbour.environment()["PSP_DATABASE_URL"]) == "psp"


def test_lost_passwords_are_replaced_and_the_data_stays(stack: Stack, neighbour: Stack) -> None:
    """Given that stack.json was deleted, then the cluster is found again and gets the new passwords."""
    with psycopg2.connect(driver_url(neighbour.environment()["ORDER_DATABASE_URL"])) as session:
        session.cursor().execute("CREATE TABLE kept (id int)")
    session.close()
    neighbour.down()
    (neighbour.folder / "stack.json").unlink()

    assert _up_beside(neighbour, stack)
    with psycopg2.connect(driver_url(neighbour.environment()["ORDER_DATABASE_URL"])) as session:
        session.cursor().execute("SELECT id FROM kept")
    session.close()


def test_down_calls_off_an_up_that_is_under_way(tmp_path: Path) -> None:
    folder = tmp_path / "called-off"
    command = [sys.executable, "-m", "ops.cli", "--stack", str(folder), "up", "--infrastructure-only"]
    stack = Stack(folder)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as up:
        try:
            assert holds_within(stack.is_up, timeout_s=60)
            assert stack.down()
            _, errors = up.communicate(timeout=60)
        finally:
            stack.down(delete_data=True)
    assert up.returncode == 1
    assert "called off" in errors
    assert owned_processes(folder) == []


def test_unreachable_external_servers_are_named_without_their_password(tmp_path: Path) -> None:
    urls = dict.fromkeys(DATABASE_VARIABLES.values(), "postgresql://u:hush@127.0.0.1:1/x")
    stack = Stack(tmp_path / "external")
    waiter = pytest.MonkeyPatch()
    waiter.setattr("ops.external._TIMEOUT_S", 0.0)
    try:
        with pytest.raises(StackError) as caught:
            stack.up(infrastructure_only=True, external={**urls, "AMQP_URI": "amqp://u:hush@127.0.0.1:1/%2F"})
    finally:
        waiter.undo()
        stack.down(delete_data=True)
    assert "_DATABASE_URL" in caught.value.message or "AMQP_URI" in caught.value.message
    assert "hush" not in caught.value.message


def test_the_supervisor_restarts_what_dies_and_kills_what_will_not_stop(tmp_path: Path) -> None:
    folder = StackFolder(root=tmp_path / "dummy")
    folder.create()
    supervision = Supervision(folder)
    stubborn = "trap '' TERM; while true; do sleep 1; done"
    specs = [
        ProcessSpec(name="steady", command=("/bin/sleep", "600"), stage=1),
        ProcessSpec(name="crashing", command=("/bin/false",), stage=1),
        ProcessSpec(name="missing", command=("/no/such/program",), stage=1),
        ProcessSpec(name="stubborn", command=("/bin/sh", "-c", stubborn), stage=2, stop_timeout_s=0.5),
    ]
    try:
        supervision.want(specs, Waiter())
        steady = supervision.process("steady").pid
        assert holds_within(lambda: supervision.process("crashing").restarts >= 2, timeout_s=10)
        assert supervision.process("crashing").last_exit == "exit 1"
        assert "cannot start" in (supervision.process("missing").last_exit or "")
        assert supervision.process("steady").pid == steady

        for _ in range(4):
            supervision.restart("steady", Waiter())
        assert supervision.process("steady").pid != steady
        assert supervision.process("steady").restarts == 4
        supervision.want(specs[:1], Waiter())
        assert [process.name for process in supervision.processes()] == ["steady"]
    finally:
        assert supervision.stop()
    assert owned_processes(folder.root) == []


def test_grandchildren_go_with_their_parent(tmp_path: Path) -> None:
    """A worker whose parent was killed would go on serving the port that the successor needs."""
    folder = StackFolder(root=tmp_path)
    folder.create()
    spec = ProcessSpec(name="parent", command=("/bin/sh", "-c", "sleep 600 & sleep 600"), stage=1)
    child = Child(spec, folder)
    assert child.tend(0.0)
    assert holds_within(lambda: len(owned_processes(tmp_path)) == 3, timeout_s=5)
    pid = child.as_dict()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert holds_within(child.reaped, timeout_s=5)
    assert holds_within(lambda: owned_processes(tmp_path) == [], timeout_s=5)
    assert child.last_exit == "SIGKILL"
