"""Owns: how a stack looks on a screen. Must not know: how it got that way."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.errors import StackError
from ops.folder import PROJECT_FOLDER
from ops.stack import Stack
from ops.supervision import ProcessState


def plain(text: str) -> str:
    """Text that rich prints as it is."""
    return escape(text)


def show_error(console: Console, error: StackError) -> None:
    console.print(f"[bold red]error:[/] {plain(error.message)}")
    if error.hint:
        console.print(f"       {plain(error.hint)}")
    if error.log is not None:
        console.print(f"       log: {plain(str(error.log))}; its last lines:")
        for line in error.log_tail():
            console.print(f"       [dim]{plain(line)}[/dim]")


def show_where_to_look(console: Console, stack: Stack) -> None:
    console.print("\nwhere to look")
    for name, value in where_to_look(stack).items():
        # Not a rich table: that would cut addresses to the width of the screen.
        console.print(f"  [bold]{name:<14}[/]{plain(value)}")


def where_to_look(stack: Stack) -> dict[str, str]:
    environment = stack.environment()
    command = _command(stack)
    running = {process.name for process in stack.processes()}
    return {
        **(_gateway(environment["GATEWAY_URL"]) if "gateway" in running else {}),
        **(
            {"alerts": f"{command} alerts   or: {environment['PROMETHEUS_URL']}/alerts"}
            if "prometheus" in running
            else {}
        ),
        **({"payments": f"{command} psp show   or: {environment['PSP_URL']}/cards"} if "psp" in running else {}),
        **(_private_broker(environment, command) if stack.has_private_broker() else {"nameko": f"{command} shell"}),
        "database": f"{command} psql order_service",
        "logs": f"{stack.folder / 'logs'}   or: {command} logs -f",
        "addresses": f'eval "$({command} env)"',
        "processes": f"{command} status",
        "stop": f"{command} down",
    }


def _gateway(url: str) -> dict[str, str]:
    return {"gateway": url, "API": f"{url}/docs   accounts to log in with: README, With curl"}


def _private_broker(environment: Mapping[str, str], command: str) -> dict[str, str]:
    """Logins of the private broker are shown; those of somebody else's broker never."""
    return {
        "management UI": _login(environment["MANAGEMENT_URL"]),
        "nameko": f"{command} shell   or: nameko shell --broker '{environment['AMQP_URI']}'",
    }


def _command(stack: Stack) -> str:
    usual = stack.folder == PROJECT_FOLDER / ".stack"
    return "ordersaga" if usual else f"ordersaga --stack {stack.folder}"


def _login(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}   login: {parts.username} / {parts.password}"


def status_document(stack: Stack) -> dict[str, Any]:
    """The status for scripts."""
    now = time.time()
    return {
        "stack": str(stack.folder),
        "up": stack.is_up(),
        "supervisor_pid": stack.supervisor_pid(),
        "leftovers": stack.leftovers(),
        "processes": [
            {
                "name": process.name,
                "pid": process.pid,
                "state": process.state,
                "uptime_s": round(now - process.started_at, 1) if process.started_at else None,
                "restarts": process.restarts,
                "last_exit": process.last_exit,
                "metrics": stack.metrics_address(process.name),
            }
            for process in stack.processes()
        ],
    }


def show_status(console: Console, stack: Stack) -> None:
    if not stack.is_up():
        left = stack.leftovers()
        if left:
            console.print(f"the supervisor is dead, but these still run: {', '.join(left)}")
            console.print("`ordersaga up` repairs that, `ordersaga down` ends them")
        else:
            console.print(f"nothing runs in {plain(str(stack.folder))}")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("process", "pid", "state", "up for", "restarts", "metrics", "last exit"):
        table.add_column(heading, justify="right" if heading in ("pid", "up for", "restarts", "metrics") else "left")
    for process in stack.processes():
        table.add_row(*_row(process, stack.metrics_address(process.name)))
    console.print(table)


def _row(process: ProcessState, metrics: str | None) -> tuple[str, ...]:
    colour = "green" if process.pid else "yellow"
    uptime = duration(time.time() - process.started_at) if process.started_at else ""
    return (
        process.name,
        str(process.pid or ""),
        f"[{colour}]{process.state}[/]",
        uptime,
        str(process.restarts),
        f":{metrics.partition(':')[2]}" if metrics else "",
        plain(process.last_exit or ""),
    )


def duration(seconds: float) -> str:
    """12 s, 3 min, 2 h 5 min: as exact as anyone wants to know."""
    whole = max(0, int(seconds))
    minutes, hours = whole // 60, whole // 3600
    if minutes == 0:
        return f"{whole} s"
    return f"{minutes} min" if hours == 0 else f"{hours} h {minutes % 60} min"
