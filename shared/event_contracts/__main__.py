"""``python -m shared.event_contracts write|check``: release what is new, or say what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.choreography import load_choreography
from shared.event_contracts.checking import problems, unreleased
from shared.event_contracts.releases import FOLDER, add_release, changed_files, read_releases
from shared.event_contracts.sources import consumed_views, published_classes

OK, BROKEN, MISUSED = 0, 1, 2


def write(folder: Path = FOLDER) -> list[str]:
    """Adds the new versions; what is wrong, and then nothing is added."""
    if wrong := _wrong(folder):
        return wrong
    published = published_classes(load_choreography())
    for event, release in unreleased(published, read_releases(folder)).items():
        add_release(event, release, folder)
        sys.stdout.write(f"released {event} {release.version}\n")
    return []


def check(folder: Path = FOLDER) -> list[str]:
    """What is wrong; that something is not released yet, too."""
    published = published_classes(load_choreography())
    new = unreleased(published, read_releases(folder))
    missing = [f"{event} {release.version} is not released: run `make schemas`" for event, release in new.items()]
    return [*_wrong(folder), *missing]


def _wrong(folder: Path) -> list[str]:
    changed = list(changed_files(folder))
    if changed:
        return changed
    choreography = load_choreography()
    return list(problems(published_classes(choreography), consumed_views(choreography), read_releases(folder)))


def main(arguments: list[str]) -> int:
    commands = {"write": write, "check": check}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write("usage: python -m shared.event_contracts write|check\n")
        return MISUSED
    wrong = commands[arguments[0]]()
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return BROKEN if wrong else OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
