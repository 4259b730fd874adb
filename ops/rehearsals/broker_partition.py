"""Owns: a broker of three nodes of which one is cut off from the others, while orders are placed all the time.

Must not know: how a rehearsal is run, how the cut is made. It has a stack and a broker of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from ops.asking import Asking
from ops.cluster import BrokerCluster, ClusterNode
from ops.errors import StackError
from ops.gateway_client import GatewayClient
from ops.rehearsals.figures import Figure
from ops.rehearsals.options import Option
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.stack import Stack
from ops.waiting import holds_within

_NOTICED_WITHIN_S = 60.0
_ANSWERED_WITHIN_S = 60.0
_ANSWERS = 20
_HEALED_WITHIN_S = 90.0
_PLACED_EVERY_S = 0.2
_GIVEN_UP_AFTER_S = 180.0


@contextmanager
def own_stack(stack: Stack, external: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Stack]:
    """A whole stack on three broker nodes; both are gone afterwards. The one that was asked for only lends its name."""
    cluster = cluster_of(stack.folder, say)
    own = Stack(stack.folder.with_name(f"{stack.folder.name}-partition"), report=say)
    try:
        cluster.up()
        own.up(external={**external, **cluster.environment})
        yield own
    finally:
        own.down(delete_data=True)
        cluster.down(delete_data=True)


def cluster_of(folder: Path, say: Callable[[str], None] = lambda _line: None) -> BrokerCluster:
    name = folder.name.removesuffix("-partition")
    return BrokerCluster(folder.with_name(f"{name}-partition-nodes"), report=say)


def play(play: Play) -> Conclusion:
    cluster = cluster_of(play.stage.stack.folder)
    node = cluster.nodes[play.options.whole("node") - 1]
    play.patience_s = max(play.patience_s, 120.0)
    item = play.product(on_hand=100_000)
    play.step(
        f"three nodes are one broker: {', '.join(one.name for one in cluster.nodes)}; orders are placed all the time"
    )
    placing = Placing(play.client, item)
    with Asking(play.environment) as asking, placing.at_work():
        play.until(lambda: len(placing.accepted) >= _ANSWERS, "orders are accepted")
        meanwhile = _parted(play, cluster, node, asking, placing)
        healed = _healed(play, cluster, node)
        accepted = len(placing.accepted)
        play.until(lambda: len(placing.accepted) >= accepted + _ANSWERS, "orders are accepted as before")
        silence_s = asking.longest_silence_s
    return _concluded(play, placing, meanwhile, silence_s, healed)


def _parted(play: Play, cluster: BrokerCluster, node: ClusterNode, asking: Asking, placing: Placing) -> int:
    """How many orders were accepted while the node was away."""
    with cluster.cut_off(node):
        since_s = time.monotonic()
        play.step(f"{node.name} is cut off from the other two; clients could reach all three")
        paused = holds_within(lambda: not node.is_running, timeout_s=_NOTICED_WITHIN_S)
        play.expect("the one that is alone", "serves nobody", "serves nobody" if paused else "serves on")
        play.step(f"{node.name} has noticed that it is alone, and pauses (pause_minority)")
        before = len(placing.accepted)
        play.until(lambda: asking.answers_since(since_s) >= _ANSWERS, f"{_ANSWERS} answers without {node.name}")
        play.wait(play.options.number("seconds"), "the network stays parted")
        play.expect("the other two", "serve", _majority(cluster, node))
        return len(placing.accepted) - before


def _majority(cluster: BrokerCluster, node: ClusterNode) -> str:
    others = [other for other in cluster.nodes if other.name != node.name]
    is_so = holds_within(lambda: all(other.is_running for other in others), timeout_s=_ANSWERED_WITHIN_S)
    return "serve" if is_so else "one of them does not answer"


def _healed(play: Play, cluster: BrokerCluster, node: ClusterNode) -> str:
    """By itself, or as an operator would help: the node is started again."""
    since_s = time.monotonic()
    play.step("the network is whole again")
    try:
        cluster.wait_until_whole(timeout_s=_HEALED_WITHIN_S)
    except StackError:
        play.step(f"{node.name} does not come back by itself: it is started again, as the runbook says")
        cluster.kill(node)
        cluster.wait_until_whole()
        return "after a restart of the node"
    play.step(f"all three are one broker again after {time.monotonic() - since_s:.1f} s")
    return "by itself"


def _concluded(play: Play, placing: Placing, meanwhile: int, silence_s: float, healed: str) -> Conclusion:
    for order_id in placing.accepted.values():
        play.ended(order_id)
    play.expect("accepted while the network was parted", "some", "some" if meanwhile else "none")
    wanted = {"CONFIRMED": len(placing.accepted)}
    play.expect_counts("orders", wanted, play.statuses(list(placing.accepted.values())))
    play.expect("answered twice with one key", 0, placing.contradictions)
    play.facts |= {
        "orders": len(placing.accepted),
        "acceptedMeanwhile": meanwhile,
        "longestSilenceS": round(silence_s, 1),
        "repeated": placing.repeated,
        "healed": healed,
    }
    return harmless(
        f"{len(placing.accepted)} orders, {meanwhile} of them accepted meanwhile, each CONFIRMED once; longest time "
        f"without an answer {silence_s:.1f} s, {placing.repeated} requests repeated with their key; healed {healed}"
    )


@dataclass
class Placing:
    """A careful client: each order with a key of its own, asked again with it until there is an answer."""

    client: GatewayClient
    item: str
    accepted: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    contradictions: int = 0
    _enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work, name="placing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()

    def _work(self) -> None:
        while not self._enough.wait(_PLACED_EVERY_S):
            key = uuid4().hex
            order_id = self._accepted(key)
            if order_id is None:
                return
            self.accepted[key] = order_id
            if self._place(key) not in (order_id, None):
                self.contradictions += 1

    def _accepted(self, key: str) -> str | None:
        """None where nobody has answered for very long: then the waits of the play have ended, too."""
        give_up_at_s = time.monotonic() + _GIVEN_UP_AFTER_S
        while (order_id := self._place(key)) is None and time.monotonic() < give_up_at_s:
            self.repeated += 1
            time.sleep(_PLACED_EVERY_S)
        return order_id

    def _place(self, key: str) -> str | None:
        """The order's id; None where nobody could say."""
        body = {"items": [{"item": self.item, "quantity": 1}]}
        try:
            answer = self.client.ask("/orders", body, key=key)
        except OSError:
            return None
        return str(answer.body["id"]) if answer.status == 202 else None


REHEARSAL = Rehearsal(
    name="broker_partition",
    what="One of three broker nodes loses its connection to the other two, stays away for a while and comes back.",
    why="Two halves that both go on have two truths; a minority that pauses has none, if everybody moves on in time.",
    watch=(
        Place(
            where="UI, Overview", what="Nodes: the one that is cut off is red on the other two; queues have new leaders"
        ),
        Place(where="UI, Queues", what="a quorum queue's page: leader, online members 2 of 3"),
        Place(where="command", what="rabbitmqctl cluster_status: Network Partitions"),
        Place(where="figures", what="ordersaga_broker_connected, ordersaga_broker_connection_losses_total"),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    house=own_stack,
    figures=(Figure(name="ordersaga_broker_connection_losses_total"),),
    options=(
        Option(name="seconds", usual=30, short=8, least=1, most=600, meaning="How long the network stays parted."),
        Option(
            name="node",
            usual=1,
            short=1,
            least=1,
            most=3,
            meaning="Which node; clients prefer the first.",
            is_whole=True,
        ),
    ),
)
