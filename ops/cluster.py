"""Owns: several private RabbitMQ nodes that are one broker. Must not know: exchanges and queues, nor who uses it.

Each node has a folder of its own, as the one node of a stack has; one supervisor keeps all of them alive. They find one
another by a list in their configuration when they boot for the first time.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ops.errors import StackError
from ops.folder import StackFolder, exclusive_lock, write_atomically
from ops.management import ManagementApi
from ops.ports import choose_ports, port_chooser
from ops.processes import ProcessSpec
from ops.quorum import wait_until_running
from ops.rabbitmq import ADMINISTRATOR, Node, start_port_mapper, stop_port_mapper, why_unreachable
from ops.state import StackState, fresh_state, load_state, save_state
from ops.supervision import Supervision
from ops.waiting import Waiter

_PORTS = ("amqp", "management", "distribution", "broker_metrics")
_READY_WITHIN_S = 120.0

# pause_minority: a node cut off from the others serves nobody, instead of a history of its own. A frozen node is given
# up within net_ticktime and a quarter of it.
_CLUSTER_SETTINGS = """\
cluster_formation.peer_discovery_backend = classic_config
{members}
cluster_partition_handling = pause_minority
"""
# Nodes that know one another by different cookies refuse each other's connections, each at its own end; clients notice
# nothing of it. So the cables between the nodes are cut without a firewall.
_CUT = "[begin erlang:set_cookie(Other, another), erlang:disconnect_node(Other) end || Other <- nodes()]."
_MEND = "[erlang:set_cookie(list_to_atom(Other), erlang:get_cookie()) || Other <- {others}]."
_ERLANG_ARGUMENTS, _NOTICED_WITHIN = "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel net_ticktime 8"


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """One of the nodes. ``name`` is also its process's."""

    name: str
    folder: StackFolder
    state: StackState

    @property
    def node(self) -> Node:
        return Node(folder=self.folder, state=self.state)

    @property
    def process(self) -> ProcessSpec:
        alone = self.node.process()
        arguments = f"{alone.environment[_ERLANG_ARGUMENTS]} {_NOTICED_WITHIN}"
        environment = {**alone.environment, _ERLANG_ARGUMENTS: arguments}
        # What repairs a single node after a restart takes a queue that another node leads for one without a leader.
        return replace(alone, name=self.name, environment=environment, after_restart=())

    @property
    def api(self) -> ManagementApi:
        return ManagementApi(self.state.management_url(ADMINISTRATOR) or "")

    @property
    def is_running(self) -> bool:
        """It answers clients and administrators."""
        return why_unreachable(self.state.amqp_uri()) is None and self.api.why_unreachable() is None


class BrokerCluster:
    """``size`` nodes below one folder. Use ``environment`` as the servers of a stack (``Stack.up(external=…)``)."""

    def __init__(self, folder: Path, *, size: int = 3, report: Callable[[str], None] = lambda _line: None) -> None:
        self._layout = StackFolder(root=folder.resolve())
        self._supervision = Supervision(self._layout)
        self._size = size
        self._report = report

    def up(self) -> None:
        """Start what does not run, and return once all nodes are one broker. Raises StackError."""
        self._layout.create()
        with exclusive_lock(self._layout.operation_lock) as held:
            if not held:
                raise StackError(f"somebody else is at work on {self._layout.root}")
            nodes = self._prepared_nodes()
            self._supervision.want([node.process for node in nodes], Waiter())
            self.wait_until_whole()
            for node in nodes:
                node.node.mark_booted()
        self._report(f"{self._size} broker nodes are one: {', '.join(node.state.node for node in nodes)}")

    def down(self, *, delete_data: bool = False) -> None:
        if self._layout.run.is_dir():
            self._supervision.stop()
            stop_port_mapper()
        if delete_data:
            shutil.rmtree(self._layout.root, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """All nodes in one AMQP_URI; the management API is the first node's."""
        nodes = self.nodes
        return {
            "AMQP_URI": ";".join(node.state.amqp_uri() for node in nodes),
            "RABBITMQ_MANAGEMENT_URL": str(nodes[0].state.management_url(ADMINISTRATOR)),
        }

    @property
    def nodes(self) -> list[ClusterNode]:
        known = [(name, folder, load_state(folder)) for name, folder in self._places()]
        return [ClusterNode(name=name, folder=folder, state=state) for name, folder, state in known if state]

    def kill(self, node: ClusterNode) -> None:
        """SIGKILL; the supervisor starts it again."""
        self._supervision.kill(node.name)

    def pid_of(self, node: ClusterNode) -> int | None:
        return self._supervision.process(node.name).pid

    def keep_down(self, node: ClusterNode) -> None:
        """It is killed and stays away until :meth:`bring_back`."""
        self.kill(node)
        self._supervision.want([other.process for other in self.nodes if other.name != node.name], Waiter())

    @contextlib.contextmanager
    def frozen(self, node: ClusterNode) -> Iterator[None]:
        """It is there and says nothing, to nobody."""
        pid = self.pid_of(node)
        if pid is None:
            raise StackError(f"{node.name} does not run")
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def cut_off(self, node: ClusterNode) -> Iterator[None]:
        """The network is parted: this node and the others do not reach one another, and clients reach all of them."""
        others = [other.state.node for other in self.nodes if other.name != node.name]
        node.node.evaluate(_CUT)
        try:
            yield
        finally:
            names = ", ".join(f'"{other}"' for other in others)
            node.node.evaluate(_MEND.format(others=f"[{names}]"))

    def bring_back(self) -> None:
        """Start whatever is kept down; returns once all nodes are one broker again."""
        self._supervision.want([node.process for node in self.nodes], Waiter())
        self.wait_until_whole()

    def wait_until_whole(self, *, timeout_s: float = _READY_WITHIN_S) -> None:
        """Every node answers, sees all others, and each queue runs."""
        nodes = self.nodes

        def missing() -> list[str]:
            return [n.name for n in nodes if not n.is_running or _running_nodes(n.api) < self._size]

        Waiter().until(
            lambda: not missing(),
            timeout_s=timeout_s,
            failure=lambda: StackError(f"not all nodes are back: {missing()}", log=self._layout.log(nodes[0].name)),
            pause_s=0.5,
        )
        wait_until_running(nodes[0].api, "/", Waiter())

    def _places(self) -> list[tuple[str, StackFolder]]:
        numbers = range(1, self._size + 1)
        return [(f"rabbitmq-{n}", StackFolder(root=self._layout.root / f"node-{n}")) for n in numbers]

    def _prepared_nodes(self) -> list[ClusterNode]:
        start_port_mapper()
        self._remember_states()
        nodes = self.nodes
        if self._supervision.pid() is None:
            members = "\n".join(
                f"cluster_formation.classic_config.nodes.{number} = {node.state.node}"
                for number, node in enumerate(nodes, start=1)
            )
            for node in nodes:
                node.node.prepare()
                settings = node.folder.rabbitmq / "conf.d" / "91-cluster.conf"
                write_atomically(settings, _CLUSTER_SETTINGS.format(members=members))
        return nodes

    def _remember_states(self) -> None:
        """Passwords and cookie are the same on all nodes: they are one broker; ports and names are each node's own."""
        places = self._places()
        shared = load_state(places[0][1]) or fresh_state(places[0][1])
        with port_chooser(self._layout.identity) as chooser:
            for _, folder in places:
                folder.create()
                known = load_state(folder)
                if known is None or not set(_PORTS) <= set(known.ports):
                    remembered = known.ports if known else {}
                    ports = choose_ports(chooser, remembered=remembered, preferred=dict.fromkeys(_PORTS, 0))
                    state = known or fresh_state(folder).changed(passwords=shared.passwords)
                    save_state(folder, state.changed(ports=ports))


def _running_nodes(api: ManagementApi) -> int:
    """How many nodes this one sees running; none while it cannot say."""
    try:
        return api.running_nodes()
    except StackError:
        return 0
