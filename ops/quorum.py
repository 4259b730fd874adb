"""Owns: quorum queues that never found a leader. Must not know: why they exist.

Measured on RabbitMQ 3.10.8: of the quorum queues declared in the last moments before a kill -9, the last one
comes back as a Raft follower with an empty log and waits for a leader for ever. It is listed as `running`;
the first operation on it hangs for 65 s. Declaring it again does not help, an election does, at no loss.
"""

import re
from collections.abc import Callable

from ops.errors import StackError
from ops.management import ManagementApi
from ops.rabbitmq import Node
from ops.waiting import Waiter, holds_within

_TIMEOUT_S = 30.0
# A healthy queue elects its leader within milliseconds of the node's start.
_PATIENCE_S = 2.0

# Names every quorum queue without a leader on any running node, after doing `{remedy}` for its member on this one.
_LEADERLESS = """
Led = [element(1, State)
       || Node <- rabbit_nodes:all_running(),
          States <- [rpc:call(Node, ets, tab2list, [ra_state], 10000)], is_list(States),
          State <- States, element(2, State) == leader],
[begin
   Server = {{Name, node()}},
   {remedy},
   element(4, amqqueue:get_name(Queue))
 end
 || Queue <- rabbit_amqqueue:list_by_type(rabbit_quorum_queue),
    {{Name, _}} <- [amqqueue:get_pid(Queue)],
    not lists:member(Name, Led)].
"""
_JUST_LOOK = "{Name, Server}"
# Starts the queue's server if it is down, and has it elect a leader: itself, on a single node.
_ELECT = """
   case whereis(Name) of
     undefined -> catch rabbit_quorum_queue:recover(element(2, amqqueue:get_name(Queue)), [Queue]);
     _ -> ok
   end,
   catch ra:trigger_election(Server)
"""


def give_every_queue_a_leader(node: Node, waiter: Waiter) -> set[str]:
    """Wait until every quorum queue of the private node has a leader, helping those that need it.

    Returns the names of the queues that needed help.
    """
    if holds_within(lambda: not _leaderless_queues(node, _JUST_LOOK), timeout_s=_PATIENCE_S):
        return set()
    helped = set(remaining := _leaderless_queues(node, _ELECT))

    def all_led() -> bool:
        remaining[:] = _leaderless_queues(node, _ELECT)
        return not remaining

    waiter.until(all_led, timeout_s=_TIMEOUT_S, failure=lambda: _still_leaderless(remaining))
    return helped


def _leaderless_queues(node: Node, remedy: str) -> list[str]:
    expression = _LEADERLESS.format(remedy=remedy)
    return parse_names(node.evaluate(" ".join(expression.split())))


def parse_names(erlang_binaries: str) -> list[str]:
    """The names in a printed Erlang list such as `[<<"a">>,<<"b">>]`."""
    return re.findall(r'<<"([^"]*)">>', erlang_binaries)


def wait_until_running(api: ManagementApi, vhost: str, waiter: Waiter) -> None:
    """For a broker that is not ours, where nothing may be repaired: only wait, then name what is not running."""
    down: list[str] = []
    waiter.until(_none_down(api, vhost, down), timeout_s=_TIMEOUT_S, failure=lambda: _still_leaderless(down))


def _none_down(api: ManagementApi, vhost: str, down: list[str]) -> Callable[[], bool]:
    def none_down() -> bool:
        down[:] = [q["name"] for q in api.queues(vhost) if q.get("state", "running") != "running"]
        return not down

    return none_down


def _still_leaderless(names: list[str]) -> StackError:
    return StackError(
        f"these queues do not come up: {', '.join(sorted(names))}",
        hint="look at them in the management UI; an empty one can be deleted and made again with `ordersaga topology`",
    )
