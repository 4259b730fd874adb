"""docs/schemas: a file for each released version of each event, and the digests that keep them as they were released.

Owns: names, digests, reading and adding. Must not know: classes, or what makes a release a good one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

from shared.event_contracts.json_schema import Json

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
_DIGESTS = "released.yml"
_HEADER = (
    "# Digests (SHA-256) of what was released, written by `make schemas`. A released file is never changed: it says\n"
    "# what old events look like. `make check` compares.\n"
)
_JSON, _AVRO = "schema.json", "avsc"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Version:
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    version: Version
    schema: Json
    avro: Json


Releases = Mapping[str, Sequence[Release]]
"""Event type → its releases, the oldest first."""


def read_releases(folder: Path = FOLDER) -> Releases:
    """Every release that is there, whether or not its digest is right."""
    found: dict[str, list[Release]] = defaultdict(list)
    for path in sorted(folder.glob(f"*/*.{_JSON}")):
        major, minor = path.name.removesuffix(f".{_JSON}").split(".")
        version = Version(major=int(major), minor=int(minor))
        avro = path.with_name(f"{version}.{_AVRO}")
        found[path.parent.name].append(
            Release(version=version, schema=_read(path), avro=_read(avro) if avro.exists() else {})
        )
    return {event: sorted(releases, key=lambda release: release.version) for event, releases in found.items()}


def changed_files(folder: Path = FOLDER) -> Iterator[str]:
    """What is not as it was released, in words."""
    digests = _digests(folder)
    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("*/*"))}
    for name, path in there.items():
        if name not in digests:
            yield f"{name} is not in {_DIGESTS}: only `make schemas` adds files"
        elif _digest(path) != digests[name]:
            yield f"{name} was released and has been changed since: take it back, and release a new version"
    yield from (f"{name} was released and is gone: take it back" for name in sorted(digests.keys() - there.keys()))


def add_release(event: str, release: Release, folder: Path = FOLDER) -> None:
    """Raises FileExistsError rather than write over what was released."""
    place = folder / event
    place.mkdir(parents=True, exist_ok=True)
    digests = _digests(folder)
    for ending, content in ((_JSON, release.schema), (_AVRO, release.avro)):
        path = place / f"{release.version}.{ending}"
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        digests[path.relative_to(folder).as_posix()] = _digest(path)
    text = yaml.safe_dump(dict(sorted(digests.items())), sort_keys=False, width=200)
    (folder / _DIGESTS).write_text(_HEADER + text, encoding="utf-8")


def _read(path: Path) -> Json:
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content


def _digests(folder: Path) -> dict[str, str]:
    path = folder / _DIGESTS
    found: dict[str, str] | None = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return found or {}


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
