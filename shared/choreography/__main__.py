"""``python -m shared.choreography write|check``: the generated files, written or compared with the contract."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from shared.choreography.definitions import definitions
from shared.choreography.events_page import events_page
from shared.choreography.model import Choreography, ContractBroken, load_choreography
from shared.choreography.states_page import Table, states_page
from shared.choreography.storming_page import storming_page
from shared.event_contracts.asyncapi import asyncapi
from shared.event_contracts.releases import read_releases

ROOT = Path(__file__).resolve().parents[2]


def generated_files() -> dict[Path, str]:
    """Every generated file with the text it must have."""
    choreography = load_choreography()
    return {
        ROOT / "rabbitmq" / "definitions.json": json.dumps(definitions(choreography), indent=2) + "\n",
        ROOT / "docs" / "events.md": events_page(choreography),
        ROOT / "docs" / "asyncapi.json": json.dumps(asyncapi(choreography, read_releases()), indent=2) + "\n",
        ROOT / "docs" / "event_storming.md": storming_page(choreography),
        ROOT / "docs" / "states.md": states_page(transition_tables(choreography)),
    }


def transition_tables(choreography: Choreography) -> dict[str, Table]:
    """Service → its table. Found by the services' names when this tool runs; nothing in shared imports a service."""
    return {service: import_module(f"{service}.domain").TRANSITIONS for service in choreography.services}


def write() -> None:
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")


def check() -> None:
    """Raises ContractBroken naming the files that are out of step."""
    stale = [
        str(path.relative_to(ROOT))
        for path, text in generated_files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if stale:
        raise ContractBroken(
            f"out of step with choreography.yml or the domains: {', '.join(stale)} (run `make contract`)"
        )


def main(arguments: list[str]) -> int:
    commands = {"write": write, "check": check}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write("usage: python -m shared.choreography write|check\n")
        return 2
    try:
        commands[arguments[0]]()
    except ContractBroken as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
