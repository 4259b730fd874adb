"""``python -m tests.fuzz``: every kind of request against a whole stack, then a look into its databases.

Owns: options, the call of schemathesis and what is shown. Must not know: requests (see hooks) or the shop.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.markup import escape

from ops.stack import Stack
from ops.state import SIGNING_VARIABLE

from .shop import FOLDER, counts, filled, settled, stack_to_fuzz
from .tokens import tokens_of
from .variables import KNOWN, SEED, TOKENS

ROOT = Path(__file__).parents[2]
HOOKS = "tests.fuzz.hooks"
console = Console(highlight=False)


@click.command()
@click.option("--examples", default=150, show_default=True, help="Random requests per operation.")
@click.option("--quick", is_flag=True, help="A slice that fits into CI: 12 per operation.")
@click.option("--seed", type=int, help="Of an earlier run; by chance if not said.")
@click.option("--only", help="Only operations whose operationId matches this regular expression.")
@click.option("--keep-stack", is_flag=True, help="Leave .stack-fuzz running, to look around in it.")
def main(examples: int, quick: bool, seed: int | None, only: str | None, keep_stack: bool) -> None:
    """Fuzz the gateway by its OpenAPI document; exit code 1 if anything is not as it says."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    console.print(f"seed {seed}: the same requests again with --seed {seed}")
    started = time.monotonic()
    with stack_to_fuzz(keep=keep_stack) as stack:
        is_good = _fuzz(stack, examples=12 if quick else examples, seed=seed, only=only)
        console.print("waiting until nothing is open, then the invariants")
        work, broken = settled(stack)
        orders = ", ".join(f"{count} {status}" for status, count in counts(stack).items())
    console.print(f"orders: {orders or 'none'}; still open: {work.orders + work.attempts + work.unpublished}")
    for violation in broken:
        console.print(f"[bold red]✗[/] {escape(violation)}")
    good = is_good and work.is_done and not broken
    verdict = "[green]all as documented[/]" if good else "[red]not as documented[/]"
    console.print(f"{verdict}; {time.monotonic() - started:.0f} s, seed {seed}")
    sys.exit(0 if good else 1)


def _fuzz(stack: Stack, *, examples: int, seed: int, only: str | None) -> bool:
    report = FOLDER / "fuzz.json"
    chosen = ("--include-operation-id-regex", only) if only else ()
    command = (
        sys.executable,
        "-m",
        "schemathesis.cli",
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        "run",
        f"{stack.environment()['GATEWAY_URL']}/openapi.json",
        *("--checks", "all"),
        *("--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", str(examples)),
        *("--seed", str(seed)),
        *("--workers", "1"),
        *("--request-timeout", "30"),
        *("--output-sanitize", "false"),
        *("--report-json-path", str(report)),
        "--continue-on-failure",
        *chosen,
    )
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": HOOKS,
        "PYTHONPATH": str(ROOT),
        SEED: str(seed),
        TOKENS: json.dumps(dict(tokens_of(stack))),
        KNOWN: json.dumps(filled(stack)),
        SIGNING_VARIABLE: stack.environment()[SIGNING_VARIABLE],
    }
    # What schemathesis keeps of earlier runs would change what a seed means.
    with TemporaryDirectory() as nowhere:
        return subprocess.run(command, cwd=nowhere, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    main()
