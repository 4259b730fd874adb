"""A broker of three nodes, and what may happen to them one at a time: two are always there, so all must go on.

Owns: that arena and these faults. Must not know: load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ops.asking import Asking
from ops.cluster import BrokerCluster
from ops.stack import Stack

from .arena import Wanted, arena_of, arena_settings
from .fault import Arena, ArenaKind, Fault, Simple
from .processes import wait_for

# Whoever gives a silent node up does so within net_ticktime and a quarter of it: ten seconds.
_FROZEN_S = 25.0
_ANSWERED_WITHIN_S = 60.0
_ANSWERS = 20


@contextmanager
def clustered(wanted: Wanted) -> Iterator[Arena]:
    """As the plain arena, but its broker is three nodes with a folder of their own beside the stack's."""
    cluster = BrokerCluster(wanted.folder.with_name(f"{wanted.folder.name}-nodes"), report=wanted.say)
    stack = Stack(wanted.folder, report=wanted.say)
    stack.down(delete_data=True)
    cluster.down(delete_data=True)
    try:
        cluster.up()
        stack.up(settings=arena_settings(wanted), replicas=wanted.replicas, external=cluster.environment)
        yield _arena(stack, cluster, wanted)
    finally:
        stack.down()
        cluster.down()


def _arena(stack: Stack, cluster: BrokerCluster, wanted: Wanted) -> Arena:
    """Whoever looks at the broker asks its first node; it is looked at when all nodes are back."""
    arena = arena_of(stack, wanted)
    first = cluster.nodes[0].state
    looking = {"AMQP_URI": first.amqp_uri(), "ADMIN_MANAGEMENT_URL": cluster.environment["RABBITMQ_MANAGEMENT_URL"]}
    return replace(arena, kind=ArenaKind.CLUSTER, environment={**arena.environment, **looking}, cluster=cluster)


def lose_one_then_another(arena: Arena) -> int:
    """Each is killed, stays away for a while, comes back; then the next one, and in the end the first one again."""
    cluster: BrokerCluster = arena.cluster
    nodes = arena.chance.sample(cluster.nodes, 2)
    rounds = nodes if arena.is_quick else [*nodes, nodes[0]]
    with Asking(arena.environment) as asking:
        for node in rounds:
            arena.say(f"kill -9 of {node.name}")
            cluster.keep_down(node)
            try:
                _see_answers(asking, f"{node.name} is gone")
                time.sleep(arena.chance.uniform(2.0, 6.0))
            finally:
                cluster.bring_back()
            arena.say(f"{node.name} is back")
        arena.say(f"longest time without an answer: {asking.longest_silence_s:.1f} s")
    return len(rounds)


def kill_again_and_again(arena: Arena) -> int:
    """The next one as soon as the last one is back."""
    cluster: BrokerCluster = arena.cluster
    rounds = 2 if arena.is_quick else 4
    with Asking(arena.environment) as asking:
        for _ in range(rounds):
            node = arena.chance.choice(cluster.nodes)
            arena.say(f"kill -9 of {node.name}")
            cluster.kill(node)
            _see_answers(asking, f"{node.name} was killed")
            cluster.wait_until_whole()
        arena.say(f"longest time without an answer: {asking.longest_silence_s:.1f} s")
    return rounds


def freeze_one(arena: Arena) -> int:
    """A node that is there and says nothing. It wakes up in a world that has given it up.

    RabbitMQ 3.10 was seen to stay partitioned then, pause_minority or not: the others are back before the node has
    noticed that they were gone. So it is started again, as an operator would.
    """
    cluster: BrokerCluster = arena.cluster
    node = arena.chance.choice(cluster.nodes)
    arena.say(f"freeze {node.name} for {_FROZEN_S:.0f} s")
    with Asking(arena.environment) as asking:
        began_s = time.monotonic()
        with cluster.frozen(node):
            _see_answers(asking, f"{node.name} stands still")
            time.sleep(max(0.0, began_s + _FROZEN_S - time.monotonic()))
        cluster.kill(node)
        cluster.wait_until_whole()
        arena.say(f"longest time without an answer: {asking.longest_silence_s:.1f} s")
    return 1


def _see_answers(asking: Asking, when: str) -> None:
    """Requests are answered while the node is still away: nothing waits for its return."""
    since_s = time.monotonic()
    wait_for(
        lambda: asking.answers_since(since_s) >= _ANSWERS,
        f"{_ANSWERS} answers although {when}",
        timeout_s=_ANSWERED_WITHIN_S,
    )


CLUSTERED: tuple[Fault, ...] = (
    Simple(
        name="node-lost-then-another",
        summary="a broker node is gone, comes back, then another",
        do=lose_one_then_another,
        arena=ArenaKind.CLUSTER,
    ),
    Simple(
        name="nodes-killed",
        summary="SIGKILL of one node after another",
        do=kill_again_and_again,
        arena=ArenaKind.CLUSTER,
    ),
    Simple(name="node-frozen", summary="a broker node stands still for 25 s", do=freeze_one, arena=ArenaKind.CLUSTER),
)
