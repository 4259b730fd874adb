"""Owns: `ordersaga demo --all`: every flow played on a real stack, many at once; expected against seen at the end.
Must not know: what a flow does (scenarios/) or what makes an order whole (invariants.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from ops.display import plain, show_where_to_look
from ops.errors import StackError
from ops.for_a_while import settings_for_a_while
from ops.gateway_client import GatewayClient, Refused
from ops.people import client_of
from ops.proof import prove, show_invariants
from ops.psp_client import PspClient
from ops.scenarios import (
    approving,
    bad_input,
    cancelling,
    checkout,
    holding,
    paying,
    provider,
    returning,
    silence,
)
from ops.scenarios.script import LONG_PATIENCE_S, PATIENCE_S, Flow, NotSeen, Script
from ops.scenarios.stage import Stage
from ops.stack import Stack

# A silent service is given up in seconds instead of minutes; an order that is answered does not notice.
SHORT_DEADLINES = {"PENDING_DEADLINE_S": "12", "FINISH_DEADLINE_S": "8"}
FLAGS = {"PENDING_DEADLINE_S": "4", "ON_DEADLINE": "flag"}
_AT_ONCE = 8
_LOG_WIDTH = 170
# They wait for the provider, or for a reservation to expire: begun first, followed at the end.
LONG = provider.LONG_FLOWS
LONGEST = (*paying.LONGEST_FLOWS, *provider.LONGEST_FLOWS)
QUICK = (
    *checkout.FLOWS,
    *paying.FLOWS,
    *approving.FLOWS,
    *cancelling.FLOWS,
    *provider.FLOWS,
    *returning.FLOWS,
    *holding.FLOWS,
    *bad_input.FLOWS,
)
# They take hold of processes that all but the longest need.
LAST = (silence.FLOWS, silence.TOGETHER)


def run(stack: Stack, console: Console, external: Mapping[str, str]) -> int:
    """Play everything; 0 only if all was seen as expected and every invariant holds. Raises StackError."""
    began = time.monotonic()
    with settings_for_a_while(stack, external, SHORT_DEADLINES, more_later=FLAGS):
        environment = stack.environment()
        stage = Stage(stack=stack, provider=_provider(environment))
        performance = Performance(client_of(environment), stage, console)
        scripts = performance.play()
        stack.up(external=external, settings=FLAGS)
        scripts += performance.play_together(silence.WITH_FLAGS, 1, PATIENCE_S)
        broken = prove(environment, console)
        _show_results(scripts, console)
        show_invariants(broken, console)
    is_good = not broken and all(script.is_as_expected for script in scripts)
    show_where_to_look(console, stack)
    _show_summary(scripts, broken, time.monotonic() - began, console)
    return 0 if is_good else 1


def _provider(environment: Mapping[str, str]) -> PspClient:
    if "PSP_URL" not in environment:
        raise StackError("the payment simulator does not run here", hint="start everything with `ordersaga up`")
    return PspClient(environment["PSP_URL"])


class Performance:
    """All flows, each in a thread of its own: the long ones all along, the quick ones beside them."""

    def __init__(self, client: GatewayClient, stage: Stage, console: Console) -> None:
        self._client, self._stage, self._console = client, stage, console

    def play(self) -> list[Script]:
        """Every flow's script with what was found, in the order of the programme."""
        with self._threads(len(LONG) + len(LONGEST)) as long:
            longest_begun = self._submit(long, LONGEST, LONG_PATIENCE_S)
            long_begun = self._submit(long, LONG, LONG_PATIENCE_S)
            scripts = self.play_together(QUICK, _AT_ONCE, PATIENCE_S)
            scripts += [future.result() for future in long_begun]
            for act in LAST:
                scripts += self.play_together(act, len(act), LONG_PATIENCE_S)
            return [*scripts, *(future.result() for future in longest_begun)]

    def play_together(self, flows: Sequence[Flow], at_once: int, patience_s: float) -> list[Script]:
        with self._threads(at_once) as pool:
            return [future.result() for future in self._submit(pool, flows, patience_s)]

    @contextmanager
    def _threads(self, number: int) -> Iterator[ThreadPoolExecutor]:
        """Joined at the end; where that comes early (Ctrl-C), nothing more is begun and nothing stays frozen."""
        with ThreadPoolExecutor(max_workers=number) as pool:
            try:
                yield pool
            except BaseException:
                self._stage.call_off()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _submit(self, pool: ThreadPoolExecutor, flows: Sequence[Flow], patience_s: float) -> list[Future[Script]]:
        return [pool.submit(self._play, flow, patience_s) for flow in flows]

    def _play(self, flow: Flow, patience_s: float) -> Script:
        began = time.monotonic()
        script = Script(name=flow.name, client=self._client, stage=self._stage, patience_s=patience_s)
        try:
            flow.play(script)
        except (NotSeen, Refused, StackError, OSError, LookupError, TypeError, ValueError) as error:
            # An answer of another shape is a finding too, and the other flows go on.
            script.expect("the flow", "played to its end", f"{type(error).__name__}: {error}")
        self._tell(script, time.monotonic() - began)
        return script

    def _tell(self, script: Script, took_s: float) -> None:
        mark = "[green]✓[/]" if script.is_as_expected else "[bold red]✗[/]"
        self._console.print(f"{mark} {took_s:>6.1f} s  {plain(script.name)}")


def _show_results(scripts: Sequence[Script], console: Console) -> None:
    console.rule("[bold]results")
    table = Table("flow", "what", "expected", "seen", "ok")
    for script in scripts:
        for number, finding in enumerate(script.findings):
            table.add_row(
                plain(script.name) if number == 0 else "",
                plain(finding.what),
                plain(finding.expected),
                plain(finding.seen),
                "[green]✓[/]" if finding.is_as_expected else "[bold red]✗[/]",
                end_section=number == len(script.findings) - 1,
            )
    if not console.is_terminal:
        # In a log, lines may be as long as they need to be.
        console.width = _LOG_WIDTH
    console.print(table)


def _show_summary(scripts: Sequence[Script], broken: Sequence[str], took_s: float, console: Console) -> None:
    findings = [finding for script in scripts for finding in script.findings]
    different = [(script, finding) for script in scripts for finding in script.findings if not finding.is_as_expected]
    for script, finding in different:
        told = f"{script.name}: {finding.what}: expected {finding.expected}, seen {finding.seen}"
        console.print(f"[bold red]✗[/] {plain(told)}")
    console.print(
        f"{len(scripts)} flows, {len(findings)} expectations, {len(different)} different, "
        f"{len(broken)} invariants broken, {took_s:.0f} s"
    )
