"""Small acts of destruction, a few seconds each, that heal what they broke: faults are made of them.

Owns: what is done to processes, broker and databases. Must not know: how often, load, invariants.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from ops.databases import driver_url
from ops.errors import StackError
from ops.folder import StackFolder
from ops.processes import send
from ops.psp_client import PspClient
from ops.rabbitmq import Node, why_unreachable
from ops.stack import Stack
from ops.state import load_state
from ops.waiting import holds_within

from .fault import Arena
from .processes import BROKER, DATABASE, DidNotHappen, application_names, frozen, kill, names_of, pid_of, wait_for

_SERVER_BACK_S = 90.0
# Together less than a statement waits for a lock; whoever else wants the rows has come by then.
_TWO_WAIT_S, _ALL_WAIT_S = 3.0, 0.3


def kill_one(arena: Arena) -> None:
    name = arena.chance.choice(application_names(arena))
    arena.say(f"kill -9 {name}")
    kill(arena.stack, name)


def freeze_some(arena: Arena, *, longest_s: float = 15.0) -> None:
    """One to three processes of ours at the same time; who wakes up late meets its own successor's work."""
    names = application_names(arena)
    chosen = arena.chance.sample(names, arena.chance.randint(1, 3))
    seconds = arena.chance.uniform(2.0, longest_s)
    arena.say(f"freeze {', '.join(chosen)} for {seconds:.1f} s")
    with frozen(arena.stack, chosen):
        time.sleep(seconds)


def kill_broker(arena: Arena) -> None:
    arena.say("kill -9 rabbitmq")
    kill(arena.infrastructure, BROKER)
    _wait_for_broker(arena)


def freeze_broker(arena: Arena, seconds: float) -> None:
    arena.say(f"freeze rabbitmq for {seconds:.1f} s")
    with frozen(arena.infrastructure, [BROKER]):
        time.sleep(seconds)
    _wait_for_broker(arena)


def _wait_for_broker(arena: Arena) -> None:
    uri = arena.environment["AMQP_URI"]
    wait_for(lambda: why_unreachable(uri) is None, "the broker answers", timeout_s=_SERVER_BACK_S)


def memory_alarm(arena: Arena, seconds: float) -> None:
    """Who publishes is made to wait; who consumes is not."""
    arena.say(f"memory alarm for {seconds:.1f} s")
    with _told(
        arena.infrastructure,
        "vm_memory_monitor:set_vm_memory_high_watermark(0.00001).",
        "vm_memory_monitor:set_vm_memory_high_watermark(0.4).",
    ):
        _wait_for_alarm(arena, "memory")
        time.sleep(seconds)


def disk_alarm(arena: Arena, seconds: float) -> None:
    arena.say(f"disk alarm for {seconds:.1f} s")
    with _told(
        arena.infrastructure,
        'rabbit_disk_monitor:set_disk_free_limit("1000000GB").',
        'rabbit_disk_monitor:set_disk_free_limit("50MB").',
    ):
        _wait_for_alarm(arena, "disk")
        time.sleep(seconds)


def _wait_for_alarm(arena: Arena, resource: str) -> None:
    node = _node(arena.infrastructure)
    wait_for(lambda: resource in node.evaluate("rabbit_alarm:get_alarms()."), f"the {resource} alarm is on")


@contextmanager
def _told(stack: Stack, damage: str, remedy: str) -> Iterator[None]:
    node = _node(stack)
    try:
        node.evaluate(damage)
        yield
    finally:
        node.evaluate(remedy)


def _node(stack: Stack) -> Node:
    folder = StackFolder(root=stack.folder)
    state = load_state(folder)
    if state is None:
        raise DidNotHappen(f"no stack in {stack.folder}")
    return Node(folder=folder, state=state)


def crash_database(arena: Arena) -> None:
    """As `pg_ctl stop -m immediate`: every session is cut, the next start recovers from the write-ahead log."""
    arena.say("PostgreSQL: immediate stop")
    stack = arena.infrastructure
    pid = pid_of(stack, DATABASE)
    if pid is None:
        raise DidNotHappen("PostgreSQL does not run")
    send(pid, signal.SIGQUIT)
    wait_for(lambda: pid_of(stack, DATABASE) not in (None, pid), "PostgreSQL is started again")
    wait_for_database(arena)


def kill_database(arena: Arena) -> None:
    arena.say("kill -9 of PostgreSQL")
    kill(arena.infrastructure, DATABASE)
    wait_for_database(arena)


def wait_for_database(arena: Arena) -> None:
    wait_for(lambda: _answers(arena), "PostgreSQL answers", timeout_s=_SERVER_BACK_S)


def _answers(arena: Arena) -> bool:
    try:
        administrator_of(arena, "postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def administrator_of(arena: Arena, database: str) -> Any:
    """A connection that may do anything, to one of the databases."""
    url = driver_url(arena.environment["ADMIN_DATABASE_URL"]).rsplit("/", 1)[0]
    return psycopg2.connect(f"{url}/{database}", connect_timeout=5)


def hold_stock(arena: Arena, seconds: float) -> None:
    """An idle transaction that holds the rows everybody wants."""
    hot = list(arena.load.shelf().hot)
    arena.say(f"hold the rows of {len(hot)} hot items for {seconds:.1f} s")
    with closing(administrator_of(arena, "inventory_service")) as connection:
        _lock_stock(connection, hot)
        time.sleep(seconds)
        connection.rollback()


def rush_for_stock(arena: Arena, seconds: float, rounds: int) -> int:
    """Replicas stand still until each has more orders before it than there is stock; then they begin side by side.

    ``rounds``: how often the rows are held until two transactions wait for them. What one replica reads without a
    lock, the other has changed by the time it writes. Returns in how many rounds two waited.

    Raises:
        DidNotHappen: two never waited.
    """
    hot, replicas, together = list(arena.load.shelf().hot), names_of(arena, "inventory_service"), 0
    arena.say(f"freeze {', '.join(replicas)} for {seconds:.1f} s, then a rush for {len(hot)} hot items")
    with (
        closing(administrator_of(arena, "inventory_service")) as connection,
        closing(administrator_of(arena, "inventory_service")) as watching,
    ):
        watching.autocommit = True
        with frozen(arena.stack, replicas):
            time.sleep(seconds)
            _lock_stock(connection, hot)
        for left in reversed(range(rounds)):
            together += holds_within(lambda: _waiting(watching) >= 2, timeout_s=_TWO_WAIT_S, pause_s=0.02)
            time.sleep(_ALL_WAIT_S)
            connection.rollback()
            if left:
                _lock_stock(connection, hot)
    arena.say(f"in {together} of {rounds} rounds two transactions waited for them")
    if not together:
        raise DidNotHappen("no two transactions waited for the same stock")
    return together


def _lock_stock(connection: Any, items: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select item from stock where item = any(%s) order by item for update", (items,))


def _waiting(connection: Any) -> int:
    """Transactions of this database that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def trouble_provider(arena: Arena, seconds: float, **behaviour: float) -> None:
    arena.say(f"provider: {', '.join(f'{k}={v:g}' for k, v in behaviour.items())} for {seconds:.1f} s")
    client = PspClient(arena.environment["PSP_URL"])
    client.change_behaviour(behaviour)
    try:
        time.sleep(seconds)
    finally:
        wait_for(lambda: _is_reset(client), "the provider behaves again")


def _is_reset(client: PspClient) -> bool:
    """Its process or its database may be dead just now, for another reason."""
    try:
        client.reset_behaviour()
    except StackError:
        return False
    return True


def hang_up(arena: Arena, share: float, seconds: float) -> None:
    """Customers whose connection is gone before they could read the answer; they ask again with the same key."""
    arena.say(f"{share:.0%} of the customers hang up for {seconds:.1f} s")
    arena.load.hang_up_share = share
    try:
        time.sleep(seconds)
    finally:
        arena.load.hang_up_share = 0.0
