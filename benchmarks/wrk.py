"""Orders over HTTP at full speed: wrk, a load generator in C, which is not the bottleneck.

Owns: starting wrk with our script and reading what it found. Must not know: what the figures are for.

Closed loop: each connection has one request under way, and sends the next one when the answer is there. So throughput
is the server's limit, and latencies are those of a server at its limit.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import CannotMeasure
from ops import packages
from ops.people import customer, people_of

SCRIPT = Path(__file__).with_name("orders.lua")
CONNECTIONS = 32
THREADS = 2
CUSTOMERS = 200


@dataclass(frozen=True, kw_only=True)
class Found:
    """What wrk counted. ``seconds`` is how long it really took."""

    answers: int
    seconds: float
    refused: int
    broken: int
    ms_by_percent: Mapping[str, float]

    @property
    def per_s(self) -> float:
        return self.answers / self.seconds


def install(report: Callable[[str], None]) -> None:
    """Debian's package, if it is missing. Raises StackError."""
    if shutil.which("wrk") is None:
        packages.install(["wrk"], report)


def place_orders(
    environment: Mapping[str, str],
    items: Sequence[str],
    *,
    seconds: float,
    declined_share: float,
    seed: int,
    connections: int = CONNECTIONS,
) -> Found:
    """Place orders for that long. Raises CannotMeasure unless every one of them was accepted."""
    with tempfile.TemporaryDirectory(prefix="ordersaga-bench-") as folder:
        arguments = [
            secrets.token_hex(6),
            _write(Path(folder, "tokens"), _tokens(environment)),
            _write(Path(folder, "items"), items),
            str(round(declined_share * 100)),
            str(seed),
        ]
        # Its threads share the connections evenly.
        options = [f"-t{min(THREADS, connections)}", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s"]
        command = ["wrk", *options, "-s", str(SCRIPT), environment["GATEWAY_URL"], "--", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)  # noqa: S603
    return _accepted(done)


def _tokens(environment: Mapping[str, str]) -> list[str]:
    people = people_of(environment)
    return [people.token(customer(f"user-{number}")) for number in range(CUSTOMERS)]


def _write(path: Path, lines: Sequence[str]) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def _accepted(done: subprocess.CompletedProcess[str]) -> Found:
    try:
        found = Found(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError) as error:
        raise CannotMeasure(f"wrk said nothing of use: {done.stdout[-300:]} {done.stderr[-300:]}") from error
    if found.refused or found.broken or not found.answers:
        raise CannotMeasure(f"of {found.answers} answers {found.refused} were refusals, {found.broken} went wrong")
    return found
