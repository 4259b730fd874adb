"""What is wrong with the event classes, seen from every version that was ever released.

Owns: which comparisons are made, and the words in which one that fails is told.
Must not know: how a schema is compared (compatibility.py), where releases are kept (releases.py), any service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marshmallow import ValidationError

from shared.event_contracts import avro, json_schema
from shared.event_contracts.compatibility import Problem, differences, unreadable
from shared.event_contracts.json_schema import Json
from shared.event_contracts.releases import Release, Releases, Version
from shared.event_contracts.samples import samples
from shared.event_schema import EventSchema

Published = Mapping[str, type[EventSchema]]
"""Event type → its publisher's class."""
Views = Mapping[tuple[str, str], type[EventSchema]]
"""(consumer, event type) → the consumer's own view."""


def problems(published: Published, views: Views, releases: Releases) -> Iterator[str]:
    """Every reason why these classes cannot be released; each names the event, the version and the field."""
    for event, schema in published.items():
        released = releases.get(event, ())
        current = release_of(event, schema)
        yield from _wrong_version(event, current, released)
        yield from _not_backward(event, current, released)
    to_read = with_unreleased(published, releases)
    for (consumer, event), view in views.items():
        if event in published and published[event].schema_version not in view.readable_versions:
            reads = ", ".join(map(str, view.readable_versions))
            yield f"{consumer} reads {event} {reads}; published is {published[event].schema_version}"
        for release in to_read.get(event, ()):
            yield from _unread(consumer, event, view, release)


def release_of(event: str, schema: type[EventSchema]) -> Release:
    """What releasing ``schema`` as it is now would add."""
    version = Version(major=schema.schema_version, minor=schema.schema_minor)
    document = json_schema.document(event, str(version), schema)
    return Release(version=version, schema=document, avro=avro.of_json_schema(event, document))


def with_unreleased(published: Published, releases: Releases) -> Releases:
    """``releases``, and what the classes say that was not released yet."""
    new = unreleased(published, releases)
    found = {event: [*releases.get(event, ()), *([new[event]] if event in new else [])] for event in published}
    return {**releases, **found}


def unreleased(published: Published, releases: Releases) -> dict[str, Release]:
    """Event type → the release that is still to be written."""
    current = {event: release_of(event, schema) for event, schema in published.items()}
    return {
        event: release
        for event, release in current.items()
        if release.version not in [known.version for known in releases.get(event, ())]
    }


def _wrong_version(event: str, current: Release, released: Sequence[Release]) -> Iterator[str]:
    newest = released[-1] if released else None
    if newest is None or current.version == newest.version:
        if newest is not None:
            yield from _changed_silently(event, current, newest)
        return
    known = newest.version
    nexts = (Version(major=known.major, minor=known.minor + 1), Version(major=known.major + 1, minor=0))
    if current.version not in nexts:
        yield f"{event}: the class says {current.version}; after {known} comes {nexts[0]} or {nexts[1]}"
    elif current.version == nexts[0] and not list(differences(newest.schema, current.schema)):
        yield f"{event}: the class says {current.version}, and nothing differs from {known}"


def _changed_silently(event: str, current: Release, newest: Release) -> Iterator[str]:
    found = list(differences(newest.schema, current.schema))
    if not found and current.avro != newest.avro:
        found = [Problem(field="the Avro schema", said="made in another way")]
    for difference in found:
        yield (
            f"{event} {newest.version}: {difference.field} is not as it was released ({difference.said}); "
            f"give the class schema_minor = {newest.version.minor + 1}, or a new major"
        )


def _not_backward(event: str, current: Release, released: Sequence[Release]) -> Iterator[str]:
    """Transitively: not with the release before alone, since messages and rows may be of any of them."""
    for old in released:
        if old.version.major != current.version.major:
            continue
        found = list(unreadable(current.schema, old.schema))
        yield from (f"{event}: the class cannot read {old.version}: {_told(one, old)}" for one in found)
        if not found:
            broken = avro.unresolved(current.avro, old.avro)
            yield from (f"{event}: the class's Avro schema does not resolve {old.version}: {said}" for said in broken)


def _unread(consumer: str, event: str, view: type[EventSchema], release: Release) -> Iterator[str]:
    if release.version.major not in view.readable_versions:
        return
    start = f"{consumer} cannot read {event} {release.version}"
    found: list[Problem] = []
    if release.version.major == view.schema_version:
        found = list(unreadable(json_schema.of_class(view), release.schema))
        yield from (f"{start}: {_told(one, release)}" for one in found)
    if not found:
        yield from (f"{start}: {said}" for said in _refused(view, release.schema, release.version.major))


def _refused(view: type[EventSchema], schema: Json, major: int) -> Iterator[str]:
    """By doing it: upcasters, and what the view makes of its fields, are code."""
    said: dict[str, None] = {}
    for payload in samples(schema):
        try:
            view().load(view().upcast(payload, major))
        except ValidationError as error:
            said[_in_words(error.messages)] = None
        except Exception as error:
            said[f"{type(error).__name__}: {error}"] = None
    yield from said


def _in_words(messages: Any, path: str = "") -> str:
    if isinstance(messages, dict):
        return "; ".join(_in_words(inner, f"{path}.{key}" if path else str(key)) for key, inner in messages.items())
    return f"{path}: {' '.join(messages)}"


def _told(problem: Problem, writer: Release) -> str:
    return f"{problem.field} {problem.said.replace('{writer}', str(writer.version))}"
