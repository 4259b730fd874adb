"""Owns: `ordersaga audit`: who did what to which thing, on a screen or into a file. Must not know: who records it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from ops.command_line import console, readable_errors
from ops.display import plain
from ops.operator_client import OperatorClient, json_option, operator_client, show_answer
from ops.stack import Stack

_PAGE = 100
_COLUMNS = (
    "at",
    "service",
    "actor",
    "roles",
    "action",
    "objectType",
    "objectId",
    "requestId",
    "before",
    "after",
    "id",
)
# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command()
@click.option("--actor", metavar="NAME", help="Who did it.")
@click.option("--action", metavar="ACTION", help="What was done, e.g. cancel_order.")
@click.option("--object", "objectId", metavar="ID", help="What it was done to.")
@click.option("--type", "objectType", metavar="TYPE", help="Its kind, e.g. order, product, payment.")
@click.option("--since", metavar="TIME", help="Then or later, e.g. 2026-01-31T12:00:00Z.")
@click.option("--until", metavar="TIME", help="Before.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many; --export: all.")
@click.option("--all", "everything", is_flag=True, help="Every entry there is.")
@click.option("--export", type=click.Choice(("csv", "jsonl")), help="Every entry, on stdout, in this form.")
@json_option
@click.pass_obj
@readable_errors
def audit(
    stack: Stack, /, limit: int, everything: bool, export: str | None, as_json: bool, **filters: str | None
) -> None:
    """Show the audit log of all services, newest first."""
    client = operator_client(stack)
    if export is not None:
        written = _WRITERS[export](_entries(client, None, filters))
        console().print(f"{written} entries")
        return
    entries = list(_entries(client, None if everything else limit, filters))
    show_answer({"entries": entries}, as_json, lambda: _table(entries))


def _entries(client: OperatorClient, most: int | None, filters: Mapping[str, str | None]) -> Iterator[dict[str, Any]]:
    """Page by page, so that whoever exports a million holds a hundred."""
    cursor, left = None, most
    while left is None or left > 0:
        page = client.get("/admin/audit", limit=min(_PAGE, left or _PAGE), cursor=cursor, **filters)
        yield from page["entries"]
        left = None if left is None else left - len(page["entries"])
        cursor = page["nextCursor"]
        if cursor is None:
            return


def _write_jsonl(entries: Iterator[dict[str, Any]]) -> int:
    written = 0
    for written, entry in enumerate(entries, 1):  # noqa: B007 -- the last number is the answer
        click.echo(json.dumps(entry))
    return written


def _write_csv(entries: Iterator[dict[str, Any]]) -> int:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    written = 0
    for written, entry in enumerate(entries, 1):  # noqa: B007 -- the last number is the answer
        writer.writerow([_cell(entry[name]) for name in _COLUMNS])
    return written


_WRITERS = {"csv": _write_csv, "jsonl": _write_jsonl}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else " ".join(value) if isinstance(value, list) else json.dumps(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _table(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("at", "who", "did", "to", "before", "after"):
        table.add_column(heading, no_wrap=heading in ("at", "to"))
    for entry in entries:
        table.add_row(
            entry["at"][:19].replace("T", " "),
            plain(entry["actor"]),
            plain(entry["action"]),
            f"{plain(entry['objectType'])} {plain(entry['objectId'])}",
            plain(_words(entry["before"])),
            plain(_words(entry["after"])),
        )
    return table


def _words(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (values or {}).items() if value is not None)
