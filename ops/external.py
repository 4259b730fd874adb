"""Owns: the choice of servers that exist already instead of private ones. Must not know: how either is started."""

from collections.abc import Mapping

from ops.databases import why_unreachable as why_database_unreachable
from ops.databases import without_password
from ops.errors import StackError
from ops.rabbitmq import why_unreachable as why_broker_unreachable
from ops.state import DATABASE_VARIABLES, FINANCE_VARIABLE, REPLICATION_VARIABLES, StackState
from ops.waiting import Waiter

BROKER_VARIABLE, MANAGEMENT_VARIABLE = "AMQP_URI", "RABBITMQ_MANAGEMENT_URL"
VARIABLES = (
    BROKER_VARIABLE,
    MANAGEMENT_VARIABLE,
    *DATABASE_VARIABLES.values(),
    FINANCE_VARIABLE,
    *REPLICATION_VARIABLES.values(),
)
_TIMEOUT_S = 30.0


def external_servers(environment: Mapping[str, str], state: StackState) -> dict[str, str]:
    """The servers named in the environment; without any, those that were chosen before.

    Addresses of our own private servers do not count: `eval $(ordersaga env)` puts them into shells.
    """
    named = {name: environment[name] for name in VARIABLES if environment.get(name)}
    foreign = {name: url for name, url in named.items() if not state.owns(url)}
    chosen = foreign or dict(state.external)
    if MANAGEMENT_VARIABLE in chosen and BROKER_VARIABLE not in chosen:
        raise StackError(f"{MANAGEMENT_VARIABLE} is set, but not {BROKER_VARIABLE}")
    _refuse_homeless_psp(chosen)
    return chosen


def _refuse_homeless_psp(chosen: Mapping[str, str]) -> None:
    databases = set(DATABASE_VARIABLES.values())
    if databases - set(chosen) == {DATABASE_VARIABLES["psp"]}:
        raise StackError(
            "all three services have databases of yours, but the payment simulator has none",
            hint="set PSP_DATABASE_URL too (a database of its own: it plays another company)",
        )


def wait_for_external_servers(state: StackState, waiter: Waiter) -> None:
    """Return once each of them lets us in; StackError that names the variable otherwise."""
    for variable, url in state.external.items():
        if variable != MANAGEMENT_VARIABLE:
            _wait_for(variable, url, waiter)


def _wait_for(variable: str, url: str, waiter: Waiter) -> None:
    probe = why_broker_unreachable if variable == BROKER_VARIABLE else why_database_unreachable
    reason: list[str | None] = [None]

    def reachable() -> bool:
        reason[0] = probe(url)
        return reason[0] is None

    def failure() -> StackError:
        return StackError(f"{variable} ({without_password(url)}) does not let us in: {reason[0]}")

    waiter.until(reachable, timeout_s=_TIMEOUT_S, failure=failure, pause_s=0.5)
