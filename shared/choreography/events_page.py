"""docs/events.md from the contract: tables, and the graph of events.

Owns: the page's Markdown and Mermaid. Must not know: anything that is not in choreography.yml.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.choreography.model import Choreography, Event, dead_letter_queue, event_exchange, work_queue

_HEADER = """# Events

Generated from rabbitmq/choreography.yml by `make contract`. Do not edit: `make check` compares.

Body: the payload alone, camelCase JSON, money as decimal strings with `currency`, times as RFC 3339 UTC.
AMQP properties carry the envelope: `message_id` (event id), `correlation_id` (one per request), `type`, `timestamp`,
`app_id` (publisher), headers `causation_id`, `schema_version`, `occurred_at`, `traceparent`.
"""

_FLOWS = """## The flows

[event_storming.md](event_storming.md) draws them, with the commands that start them and what undoes each failure. The
payloads are in [asyncapi.json](asyncapi.json), in all released versions in [schemas/](schemas/); how to change one is
told in [changing_events.md](changing_events.md). The gateway shows all of it at `/docs/events`.
"""


def events_page(choreography: Choreography) -> str:
    """The whole page, ending in a newline."""
    sections = [
        _HEADER,
        "## Who says what to whom\n\n" + "\n".join(_graph(choreography)),
        "## Every event\n\n" + "\n".join(_table(choreography)),
        _FLOWS,
        "## Deadlines\n\n" + "\n".join(_deadlines(choreography)),
        "## Retries and dead letters\n\n" + "\n".join(_retries(choreography)),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _graph(choreography: Choreography) -> Iterator[str]:
    yield "```mermaid"
    yield "graph LR"
    for event in choreography.events.values():
        for consumer in event.consumers:
            yield f"    {event.publisher} -- {event.type} --> {consumer.service}"
    yield "```"


def _table(choreography: Choreography) -> Iterator[str]:
    yield "| event | exchange | meaning | consumed by (queue) | which then | and answers |"
    yield "|---|---|---|---|---|---|"
    for event in choreography.events.values():
        yield from _rows(event)


def _rows(event: Event) -> Iterator[str]:
    start = f"| {event.type} | `{event_exchange(event.publisher)}` | {event.meaning} |"
    if not event.consumers:
        yield f"{start} none: {event.unconsumed_because} | | |"
    for consumer in event.consumers:
        answers = ", ".join(consumer.answers) or "nothing"
        yield f"{start} `{work_queue(consumer.service, event.type)}` | {consumer.does} | {answers} |"


def _deadlines(choreography: Choreography) -> Iterator[str]:
    yield "| waits for | setting | default | then | because |"
    yield "|---|---|---|---|---|"
    for deadline in choreography.deadlines:
        start = f"{deadline.after} + " if deadline.after else ""
        yield (
            f"| {deadline.status} | `{deadline.setting}` | {start}{deadline.default_s} s "
            f"| {deadline.then} | {deadline.why} |"
        )


def _retries(choreography: Choreography) -> Iterator[str]:
    delays = ", ".join(f"{delay_s} s" for delay_s in choreography.retry_delays_s)
    yield f"A transient error is tried again after {delays}, then the event goes to its dead-letter queue."
    yield "A permanent error (bad body, unknown schema version, broken rule) goes there at once."
    yield f"Each work queue has its own, for example `{dead_letter_queue(next(choreography.work_queues())[0])}`."
