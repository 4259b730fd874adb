"""Owns: driving a redrive from a terminal until it is done or stops, through whatever interrupts it for a while.

Must not know: options, what is selected; a run's state is the gateway's to say, nothing of it is kept here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ops.display import plain
from ops.errors import StackError
from ops.operator_client import OperatorClient, Refused

PATIENCE_S = 120.0
"""How long a gateway, broker or service that is away is waited for."""
_PAUSE_S = 1.0
_ENDED = ("done", "stopped")
COLOURS = {"will_apply": "green", "already_applied": "cyan", "invalid": "red", "will_fail": "red"}
_WORDS = {
    "send": "sent a batch",
    "await_outcome": "waits for the outcome of the last batch",
    "pace": "waits because of the rate",
    "await_letters": "waits: somebody else looks at the queue",
    "busy": "somebody else drives it too",
}


def progress(screen: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
    )


def take_up(client: OperatorClient, run_id: str) -> dict[str, Any]:
    """The run, going on if it had stopped."""
    run: dict[str, Any] = client.get(f"/admin/redrives/{run_id}")
    if run["state"] == "STOPPED":
        run = client.post(f"/admin/redrives/{run_id}/resume", {})
    return run


def drive(client: OperatorClient, run: Mapping[str, Any], screen: Console) -> dict[str, Any]:
    """The run as it is at its end. Raises StackError with the way to go on if something is away for too long."""
    with progress(screen) as bar:
        task = bar.add_task("redrive", total=_to_be_sent(run))
        while True:
            answer = _step(client, run["id"])
            now: dict[str, Any] = answer["redrive"]
            words = _WORDS.get(answer["step"], answer["step"])
            bar.update(task, completed=_ended(now), total=_to_be_sent(now), description=words)
            if answer["step"] in _ENDED:
                return now
            time.sleep(answer["waitS"])


def _step(client: OperatorClient, run_id: str) -> Any:
    """The next one; safe to repeat, and so repeated while something is away."""
    enough_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.post(f"/admin/redrives/{run_id}/advance", {})
        except StackError as error:
            is_final = isinstance(error, Refused) and error.status < 500
            if is_final or time.monotonic() > enough_at:
                raise StackError(
                    str(error), hint=f"go on with: ordersaga dead-letters redrive --resume {run_id}"
                ) from error
            time.sleep(_PAUSE_S)


def _to_be_sent(run: Mapping[str, Any]) -> int:
    return int(run["total"] - run["letters"]["leftOut"])


def _ended(run: Mapping[str, Any]) -> int:
    return int(sum(run["letters"][state] for state in ("applied", "failedAgain", "unknown", "gone")))


def say_why(screen: Console, run: Mapping[str, Any]) -> None:
    """Why it stopped, and what to do."""
    screen.print(f"[red]stopped[/]: {plain(run['reason'] or '?')}: {plain(run['detail'] or '')}")
    for letter in run["troubled"]:
        screen.print(
            f"  {plain(letter['eventId'] or '?')} in {plain(letter['destination'])}: {plain(letter['detail'] or '')}"
        )
    screen.print(f"remove the cause, then: ordersaga dead-letters redrive --resume {run['id']}")
