"""Owns: `ordersaga dead-letters`: options in, tables out, what is confirmed before it happens.

Must not know: the broker; how a redrive is driven on (redriving.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from ops import redriving
from ops.command_line import console, readable_errors
from ops.display import plain
from ops.operator_client import OperatorClient, json_option, note_option, operator_client, show_answer
from ops.stack import Stack

LETTERS, REDRIVES = "/admin/dead-letters", "/admin/redrives"
_PAGE = 100
_DISCARDED_AT_ONCE = 200
_FORESEEN_AT_ONCE = 25

Command = TypeVar("Command", bound=Callable[..., Any])

_FILTERS = (
    click.option("-q", "--queue", help="The work queue under which they are found."),
    click.option("--consumer", metavar="SERVICE"),
    click.option("--event", metavar="TYPE"),
    click.option("--error", metavar="CODE", help="As in the list."),
    click.option("--text", metavar="ID", help="An order's, event's or request's id."),
    click.option("--failed-after", metavar="TIME", help="With its zone: 2026-01-31T12:00:00Z."),
    click.option("--failed-before", metavar="TIME"),
)
_API_NAMES = {"failed_after": "failedAfter", "failed_before": "failedBefore"}


def _filters(command: Command) -> Command:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The filter as the API has it."""
    return {_API_NAMES.get(name, name): value for name, value in options.items() if value is not None}


@click.group(name="dead-letters")
def commands() -> None:
    """Events that could not be applied: look at them, send them back, drop them."""


@commands.command(name="list")
@json_option
@click.pass_obj
@readable_errors
def list_groups(stack: Stack, as_json: bool) -> None:
    """Show how many there are, by consumer, event and error."""
    overview = operator_client(stack).get(LETTERS, groups="true")
    show_answer(overview, as_json, lambda: _groups(overview))
    if not overview["groups"]:
        console().print("no dead letters")


@commands.command()
@click.argument("id_", required=False, metavar="[ID]")
@_filters
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
@json_option
@click.pass_obj
@readable_errors
def show(stack: Stack, /, id_: str | None, limit: int, as_json: bool, **options: Any) -> None:
    """Show letters in full, or those of an order, event or request: body, headers, error, attempts, origin."""
    wanted = _given({**options, "text": id_ or options["text"]})
    letters = [letter for _, letter in zip(range(limit), letters_of(operator_client(stack), wanted), strict=False)]
    if as_json:
        click.echo(json.dumps({"letters": letters}, indent=2))
        return
    screen = Console(highlight=False, soft_wrap=True)
    for letter in letters:
        _show_letter(screen, letter)
    screen.print(f"{len(letters)} shown")


@commands.command()
@_filters
@click.option("--max", "most", type=click.IntRange(1, 2000), help="Only the first so many.")
@click.option("--dry-run", is_flag=True, help="Say for each what would happen; change nothing.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=50, show_default=True, help="Letters a second.")
@click.option("--first", type=click.IntRange(1, 100), default=1, show_default=True, help="Size of the first batch.")
@click.option("--factor", type=click.FloatRange(1, 10), default=2, show_default=True, help="How batches grow.")
@click.option("--most-at-once", type=click.IntRange(1, 500), default=100, show_default=True, help="The largest batch.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted or has stopped.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
@readable_errors
def redrive(
    stack: Stack,
    /,
    most: int | None,
    dry_run: bool,
    rate: float,
    first: int,
    factor: float,
    most_at_once: int,
    resume: str | None,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send a frozen selection back to where each failed, one first, then growing batches; stop when one fails again.

    Exit code 1 if it stopped. Interrupted anywhere, `--resume RUN` goes on; nothing is lost.
    """
    client = operator_client(stack)
    if dry_run:
        _foresee(client, _given(options), most, as_json)
        return
    if resume is None:
        pace = {"first": first, "factor": factor, "most": most_at_once, "perSecond": rate}
        run = _freeze(client, {"filter": _given(options), "pace": pace} | ({"max": most} if most else {}), yes=yes)
    else:
        run = redriving.take_up(client, resume)
    ended = redriving.drive(client, run, console())
    show_answer(ended, as_json, lambda: _runs([ended]))
    if ended["state"] != "DONE":
        redriving.say_why(console(), ended)
        sys.exit(1)


@commands.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100))
@json_option
@click.pass_obj
@readable_errors
def runs(stack: Stack, limit: int, as_json: bool) -> None:
    """Show redrives, newest first, and how far each has come."""
    page = operator_client(stack).get(REDRIVES, limit=limit)
    show_answer(page, as_json, lambda: _runs(page["redrives"]))


@commands.command()
@_filters
@click.option("--max", "most", type=click.IntRange(1, 2000), default=2000, show_default=True)
@note_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
@readable_errors
def discard(stack: Stack, /, most: int, note: str, yes: bool, as_json: bool, **options: Any) -> None:
    """Drop letters for good; the note and their event ids stay in the audit log. Exit code 1 if not all could be."""
    client = operator_client(stack)
    found = [letter for _, letter in zip(range(most), letters_of(client, _given(options)), strict=False)]
    if not found:
        console().print("none matches")
        return
    if not yes:
        click.confirm(f"Discard {len(found)} dead letters for good?", abort=True, err=True)
    outcomes = list(discard_all(client, found, note))
    done = sum(outcome["done"] or 0 for outcome in outcomes)
    show_answer({"done": done, "outcomes": outcomes}, as_json, lambda: _discarded(outcomes))
    if done < len(found):
        sys.exit(1)


def discard_all(client: OperatorClient, letters: Sequence[Mapping[str, Any]], note: str) -> Iterator[dict[str, Any]]:
    """Exactly these; each request's outcome."""
    by_queue: dict[str, list[str]] = {}
    for letter in letters:
        by_queue.setdefault(letter["queue"], []).append(letter["id"])
    for queue, ids in by_queue.items():
        for start in range(0, len(ids), _DISCARDED_AT_ONCE):
            part = ids[start : start + _DISCARDED_AT_ONCE]
            yield client.post(f"{LETTERS}/{queue}/discard", {"ids": part, "note": note})


def letters_of(client: OperatorClient, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All that match, each with its ``queue``, page by page."""
    query = {name: value for name, value in wanted.items() if name not in ("queue", "consumer", "event")}
    for queue in _queues(client, wanted):
        skip, matching = 0, 1
        while skip < matching:
            page = client.get(f"{LETTERS}/{queue}", limit=_PAGE, skip=skip, **query)
            matching = page["matching"]
            skip += _PAGE
            yield from ({"queue": queue, **letter} for letter in page["letters"])


def _queues(client: OperatorClient, wanted: Mapping[str, Any]) -> list[str]:
    found = []
    for consumer in client.get(LETTERS)["consumers"]:
        for queue in consumer["queues"]:
            named = {"queue": queue["queue"], "consumer": consumer["service"], "event": queue["event"]}
            if queue["depth"] and all(wanted.get(name) in (None, value) for name, value in named.items()):
                found.append(queue["queue"])
    return found


def _freeze(client: OperatorClient, wanted: Mapping[str, Any], *, yes: bool) -> dict[str, Any]:
    """The new run; it is stopped again if nobody says yes. Nothing has moved by then."""
    run: dict[str, Any] = client.post(REDRIVES, wanted)
    left_out = run["letters"]["leftOut"]
    console().print(
        f"run {run['id']}: {run['total'] - left_out} dead letters frozen"
        + (f", {left_out} cannot be sent and stay" if left_out else "")
    )
    if not yes and not click.confirm("Send them back?", err=True):
        client.post(f"{REDRIVES}/{run['id']}/stop", {"note": "not confirmed"})
        raise click.Abort
    return run


def _foresee(client: OperatorClient, wanted: Mapping[str, Any], most: int | None, as_json: bool) -> None:
    letters: list[dict[str, Any]] = []
    end = 1
    with redriving.progress(console()) as bar:
        task = bar.add_task("asking their consumers", total=None)
        while len(letters) < end:
            asked = min(_FORESEEN_AT_ONCE, (most or sys.maxsize) - len(letters))
            page = client.post(f"{REDRIVES}/dry-run", {"filter": dict(wanted), "skip": len(letters), "limit": asked})
            if not page["letters"]:
                break
            letters += page["letters"]
            end = min(page["matching"], most or sys.maxsize)
            bar.update(task, total=end, completed=len(letters))
    show_answer({"matching": end if letters else 0, "letters": letters}, as_json, lambda: _forecast(letters))
    _say_counts(letters)


def _say_counts(letters: Sequence[Mapping[str, Any]]) -> None:
    counts: dict[str, int] = {}
    for letter in letters:
        counts[letter["verdict"]] = counts.get(letter["verdict"], 0) + 1
    words = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in sorted(counts.items()))
    console().print(f"{len(letters)} letters: {words or 'none matches'}; nothing was changed")


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def _groups(overview: Mapping[str, Any]) -> Table:
    table = _table("consumer", "event", "error", "count", "oldest", "newest", "for example", right=("count",))
    for group in overview["groups"]:
        example = group["example"]
        table.add_row(
            plain(group["consumer"]),
            plain(group["event"]),
            plain(group["reason"] or "?"),
            str(group["count"]),
            _moment(group["oldest"]),
            _moment(group["newest"]),
            plain(f"{example.get('eventId') or ''} {(example.get('error') or '')[:60]}".strip()),
        )
    return table


def _moment(text: str | None) -> str:
    return plain(text[:19].replace("T", " ")) if text else ""


def _show_letter(screen: Console, letter: Mapping[str, Any]) -> None:
    screen.print(f"[bold]{plain(letter['queue'])}[/] {plain(letter['eventId'] or 'without an event id')}")
    facts = {
        "id": letter["id"],
        "type": letter["type"],
        "error": f"{letter['reason']}: {letter['error']}",
        "attempts": letter["attempts"],
        "failed at": letter["failedAt"],
        "origin": f"{letter['originExchange'] or '?'} → {letter['originQueue'] or '?'}",
        "request": letter["correlationId"],
        "headers": json.dumps(letter["headers"], ensure_ascii=False),
        f"body ({letter['bodyBytes']} bytes, {letter['bodyEncoding']})": letter["body"],
    }
    for name, value in facts.items():
        if value is not None:
            screen.print(f"  [dim]{name}[/] {plain(str(value))}")


def _forecast(letters: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("event", "queue", "verdict", "what would happen", "then published")
    for letter in letters:
        colour = redriving.COLOURS.get(letter["verdict"], "yellow")
        table.add_row(
            plain(letter["eventId"] or letter["id"]),
            plain(letter["destination"]),
            f"[{colour}]{letter['verdict'].replace('_', ' ')}[/]",
            plain(letter["decision"]),
            plain(", ".join(letter["events"])),
        )
    return table


def _runs(found: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("run", "state", "letters", "applied", "left", "failed again", "by", "since", "reason")
    for run in found:
        letters = run["letters"]
        colour = {"DONE": "green", "STOPPED": "red"}.get(run["state"], "yellow")
        table.add_row(
            run["id"],
            f"[{colour}]{run['state']}[/]",
            str(run["total"]),
            str(letters["applied"]),
            str(letters["selected"] + letters["sending"] + letters["sent"]),
            str(letters["failedAgain"] + letters["unknown"]),
            plain(run["createdBy"]),
            _moment(run["createdAt"]),
            plain(run["reason"] or ""),
        )
    return table


def _discarded(outcomes: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("queue", "asked for", "discarded", "why not all", right=("asked for", "discarded"))
    for outcome in outcomes:
        stopped = outcome["stopped"]
        why = f"{stopped['code']}: {stopped['detail']}" if stopped else ""
        done = "?" if outcome["done"] is None else str(outcome["done"])
        table.add_row(plain(outcome["queue"]), str(outcome["count"]), done, plain(why))
    return table
