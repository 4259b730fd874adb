"""Owns: `ordersaga erase`: a customer's addresses forgotten, followed to the end. Must not know: where they are."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from ops.command_line import console, readable_errors
from ops.errors import StackError
from ops.operator_client import OperatorClient, json_option, note_option, operator_client
from ops.stack import Stack

_PAUSE_S = 0.5


@click.command()
@click.option("--user", "user_id", required=True, metavar="NAME", help="The customer.")
@note_option
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds to follow it.")
@json_option
@click.pass_obj
@readable_errors
def erase(stack: Stack, user_id: str, note: str, timeout_s: float, as_json: bool) -> None:
    """Forget the addresses of a customer's finished orders; the money and the goods stay in the books."""
    client = operator_client(stack)
    begun = client.post("/admin/erasures", {"userId": user_id, "note": note})
    finished = _followed(client, begun["id"], timeout_s)
    if as_json:
        click.echo(json.dumps(finished, indent=2))
        return
    click.echo(f"erasure {finished['id']}: {finished['erased']} orders erased, {finished['skipped']} skipped")
    if finished["skipped"]:
        click.echo("skipped are orders that are not finished: ask again once they are")


def _followed(client: OperatorClient, erasure_id: str, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    with console().status("erasing") as status:
        while True:
            found: dict[str, Any] = client.get(f"/admin/erasures/{erasure_id}")
            if found["finishedAt"] is not None:
                return found
            if time.monotonic() >= deadline:
                raise StackError(
                    f"erasure {erasure_id} is not finished yet: {found['erased']} orders so far",
                    hint="it goes on by itself; the audit log has an entry user_erased once it is done",
                )
            status.update(f"erasing: {found['erased']} orders so far")
            time.sleep(_PAUSE_S)
