"""Owns: the `ordersaga` command: options in, exit codes out. Must not know: how a stack works inside.

Exit codes: 0 done, 1 it went wrong (the message says what to do), 2 wrong usage, 3 `status` of a stack that
is not wholly running, 4 `alerts` while one fires, 5 `reconcile` or `finance` that found something, 6 `finance` that
cannot say, 130 interrupted.
"""

import importlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import IO
from uuid import UUID

import click
from rich.console import Console

from ops import alerts, cdc_command, chaos, dead_letters, display, finance, order_logs, psp, reconcile, sagas, tokens
from ops.audit import audit
from ops.command_line import console, pairs, readable_errors
from ops.databases import driver_url
from ops.erasure import erase
from ops.errors import StackError
from ops.following import follow, show
from ops.rehearsals.commands import commands as scenarios
from ops.stack import Stack
from ops.state import DATABASE_VARIABLES, DATABASES, FINANCE, FINANCE_VARIABLE
from shared.identity import Role
from shared.tokens import DEFAULT_TTL_S

_NOT_RUNNING = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--stack",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".stack"),
    envvar="ORDERSAGA_STACK",
    show_default=True,
    help="Folder of the stack; each folder is a stack of its own.",
)
@click.pass_context
def main(context: click.Context, folder: Path) -> None:
    """Run OrderSaga on this machine: a private RabbitMQ, PostgreSQL, the services and the gateway."""
    screen = console()
    context.obj = Stack(folder, report=lambda line: screen.print(f"[dim]·[/dim] {display.plain(line)}"))


def _counts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in pairs(context, parameter, values).items()}
    except ValueError as error:
        raise click.BadParameter("the value is a number of processes", param=parameter) from error


@main.command()
@click.option("--infrastructure-only", is_flag=True, help="Broker, databases, migrations, topology; no services.")
@click.option("--no-migrations", is_flag=True, help="Leave the tables as they are.")
@click.option("--replicas", multiple=True, callback=_counts, metavar="NAME=N", help="Repeatable, remembered.")
@click.option("--monitoring/--no-monitoring", default=None, help="With a Prometheus of its own; remembered.")
@click.option("--cdc/--no-cdc", default=None, help="With change data capture (needs `make cdc`); remembered.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="Extra setting for the processes; repeatable, remembered; NAME= forgets it.",
)
@click.pass_obj
@readable_errors
def up(
    stack: Stack,
    infrastructure_only: bool,
    no_migrations: bool,
    replicas: dict[str, int],
    monitoring: bool | None,
    cdc: bool | None,
    settings: dict[str, str],
) -> None:
    """Start what is not running, repair what is half-started, return once everything answers."""
    started = stack.up(
        infrastructure_only=infrastructure_only,
        replicas=replicas,
        settings=settings,
        external=os.environ,
        monitoring=monitoring,
        cdc=cdc,
        migrate=not no_migrations,
    )
    if not started:
        console().print("already up, and it answers")
    display.show_where_to_look(console(), stack)


@main.command()
@click.option("--delete-data", is_flag=True, help="Also delete databases, queues, logs and passwords.")
@click.pass_obj
@readable_errors
def down(stack: Stack, delete_data: bool) -> None:
    """Stop everything: gateway, services and relays, broker, databases."""
    ran = stack.down(delete_data=delete_data)
    console().print("stopped" if ran else f"nothing runs in {stack.folder}")
    if delete_data:
        console().print("its data is deleted")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_obj
@readable_errors
def status(stack: Stack, as_json: bool) -> None:
    """Show every process; exit code 3 unless all of them run."""
    if as_json:
        click.echo(json.dumps(display.status_document(stack), indent=2))
    else:
        display.show_status(Console(highlight=False), stack)
    processes = stack.processes()
    if not processes or any(process.pid is None for process in processes):
        sys.exit(_NOT_RUNNING)


@main.command()
@click.argument("names", nargs=-1)
@click.option("-n", "--lines", default=30, show_default=True, help="Last lines of each log.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until interrupted.")
@click.option("--order", "order_id", type=click.UUID, help="All that was said of this order, by time.")
@click.option("--json", "as_json", is_flag=True, help="With --order: a JSON object a line.")
@click.option("--from", "source", type=click.File("rb"), help="With --order: lines from there, - for stdin.")
@click.pass_obj
@readable_errors
def logs(
    stack: Stack,
    names: tuple[str, ...],
    lines: int,
    following: bool,
    order_id: UUID | None,
    as_json: bool,
    source: IO[bytes] | None,
) -> None:
    """Show the logs of all processes, or of those named; or one order's way through all of them.

    What a container logs: docker compose logs --no-log-prefix | ordersaga logs --order ID --from -
    """
    known = stack.log_names()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise StackError(f"no log of {unknown[0]}", hint=f"there are: {', '.join(known) or 'none yet'}")
    chosen = {name: stack.log(name) for name in names or known}
    if order_id is not None:
        order_logs.show_order(stack, str(order_id), chosen, source=source, following=following, as_json=as_json)
    elif as_json or source is not None:
        raise click.UsageError("--json and --from go with --order")
    elif following:
        follow(chosen, lines, click.echo)
    else:
        show(chosen, lines, click.echo)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object instead of shell lines.")
@click.pass_obj
@readable_errors
def env(stack: Stack, as_json: bool) -> None:
    """Print the addresses of the stack: `eval "$(ordersaga env)"`."""
    environment = stack.environment()
    if as_json:
        click.echo(json.dumps(environment, indent=2))
        return
    for name, value in environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@main.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(list(Role)), help="Repeatable.  [default: USER]")
@click.option("--seller", "seller_id", metavar="SHOP", help="The shop that a SELLER sells for.")
@click.option("--ttl", "ttl_s", type=click.IntRange(min=1), default=DEFAULT_TTL_S, show_default=True, help="Seconds.")
@click.pass_obj
@readable_errors
def token(stack: Stack, name: str, roles: tuple[str, ...], seller_id: str | None, ttl_s: int) -> None:
    """Print a bearer token for anybody: `-H "Authorization: Bearer $(ordersaga token anna)"`."""
    held = roles or ((Role.USER,) if seller_id is None else (Role.SELLER,))
    click.echo(tokens.mint(stack.environment(), name, held, seller_id, ttl_s=ttl_s))


@main.command()
@click.argument("name")
@click.pass_obj
@readable_errors
def kill(stack: Stack, name: str) -> None:
    """SIGKILL one process, e.g. payment_service; the supervisor brings it back."""
    console().print(f"killed {name} (pid {stack.kill(name)})")


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
@readable_errors
def restart(stack: Stack, names: tuple[str, ...]) -> None:
    """End processes gently, one after the other, and wait for their successors."""
    for name in names:
        stack.restart(name)
        console().print(f"restarted {name}")


@main.command()
@click.pass_obj
@readable_errors
def topology(stack: Stack) -> None:
    """Bring rabbitmq/definitions.json onto the broker again."""
    stack.apply_topology()


@main.command()
@click.pass_obj
@readable_errors
def shell(stack: Stack) -> None:
    """Open `nameko shell` on the broker of the stack."""
    nameko = Path(sys.executable).with_name("nameko")
    uri = stack.environment()["AMQP_URI"]
    # Nameko and eventlet greet with pages of deprecation warnings.
    command = [sys.executable, "-W", "ignore", str(nameko), "shell", "--broker", uri]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


@main.command()
@click.argument("database", type=click.Choice((*DATABASES, FINANCE)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@readable_errors
def psql(stack: Stack, database: str, arguments: tuple[str, ...]) -> None:
    """Open psql on one of the databases (arguments after -- go to psql)."""
    address = stack.environment().get(DATABASE_VARIABLES.get(database, FINANCE_VARIABLE))
    if address is None:
        raise StackError(f"this stack has no {database}", hint="`ordersaga up --cdc` makes one")
    url = driver_url(address)
    try:
        os.execvp("psql", ["psql", url, *arguments])  # noqa: S606, S607 - psql of the user's PATH
    except FileNotFoundError as error:
        raise StackError("psql is not installed", hint="Debian: apt-get install postgresql-client") from error


@main.command()
@click.option("--all", "everything", is_flag=True, help="Every flow, many at once: expected against seen.")
@click.pass_obj
@readable_errors
def demo(stack: Stack, everything: bool) -> None:
    """Play a few scenarios on the stack (it is started if need be) and print their timelines."""
    # Looked up only now: the other commands must work without what the demo needs.
    played = importlib.import_module("ops.full_demo" if everything else "ops.demo")
    sys.exit(played.run(stack, console(), os.environ))


main.add_command(psp.commands)
main.add_command(cdc_command.commands)
main.add_command(sagas.board, "sagas")
main.add_command(sagas.saga)
main.add_command(audit)
main.add_command(erase)
main.add_command(alerts.alerts)
main.add_command(chaos.commands)
main.add_command(reconcile.command)
main.add_command(finance.command)
main.add_command(dead_letters.commands)
main.add_command(scenarios)

if __name__ == "__main__":
    main()
