"""Owns: the process `reconciler`: passes over what changed, now and then over everything, and figures of what differs.
Must not know: what differs, or how it is repaired; it repairs nothing.

``python -m ops.reconciler``. It asks the gateway, as an operator, and takes its time: of each second it lets the system
work for it RECONCILE_SHARE at most. It keeps where it is in RECONCILE_STATE_FILE; without that a new start looks at
the last hour.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ops.errors import StackError
from ops.folder import write_atomically
from ops.gateway_client import GatewayClient
from ops.operator_client import OperatorClient
from ops.passes import Operator, Pass, run_pass
from ops.reconciler_figures import Figures
from ops.reconciler_token import token_source
from shared.config import Source
from shared.errors import Misconfigured
from shared.logs import configure_logs, get_logger
from shared.metrics import collect_from
from shared.probes import Probes, Report, serve_probes

log = get_logger(__name__)

_LOOK_BACK_S = 3600
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``share``: of each second, how much of it a pass may keep the system busy."""

    gateway_url: str
    every_s: float
    full_every_s: float
    quiet_s: int
    share: float
    state_file: Path | None

    @classmethod
    def read(cls, source: Source) -> Settings:
        state_file = source.text("RECONCILE_STATE_FILE", "")
        share = source.seconds("RECONCILE_SHARE", 0.05)
        if share > 1:
            raise Misconfigured("RECONCILE_SHARE is out of range: at most 1")
        return cls(
            gateway_url=source.text("GATEWAY_URL"),
            every_s=source.seconds("RECONCILE_EVERY_S", 60),
            full_every_s=source.seconds("RECONCILE_FULL_EVERY_S", 86_400),
            quiet_s=source.count("RECONCILE_QUIET_S", 30),
            share=share,
            state_file=Path(state_file) if state_file else None,
        )


@dataclass(kw_only=True)
class State:
    """What lasts between passes. ``open``: orders with discrepancies, and unsettled ones: looked at in each pass."""

    watermark: str | None = None
    full_at: float = 0.0
    open: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path | None) -> State:
        """What cannot be read is begun anew."""
        try:
            said = json.loads(file.read_text(encoding="utf-8")) if file else {}
            return cls(watermark=said.get("watermark"), full_at=float(said["fullAt"]), open=list(said["open"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(full_at=time.time())

    def save(self, file: Path | None) -> None:
        if file is not None:
            said = {"watermark": self.watermark, "fullAt": self.full_at, "open": self.open}
            write_atomically(file, json.dumps(said), mode=0o600)


@dataclass(kw_only=True)
class Reconciler:
    """``wait``: for so many seconds, or until the process is to end; whether it is."""

    operator: Operator
    settings: Settings
    figures: Figures
    wait: Callable[[float], bool]
    state: State
    others: list[Any] = field(default_factory=list)

    def run(self) -> None:
        """Until the process is to end. A pass that fails is tried again, from where the last good one ended."""
        while not self.wait(self.settings.every_s):
            try:
                self.make_pass()
            except _Stopped:
                return
            except (StackError, Misconfigured, HTTPException, ValueError) as error:
                self.figures.failed()
                log.warning("reconcile_failed", error=str(error)[:300])

    def make_pass(self) -> Pass:
        """One pass, and another look at what earlier ones found. Raises StackError."""
        began, wall = time.monotonic(), time.time()
        is_full = wall - self.state.full_at >= self.settings.full_every_s
        ended = self._walk(is_full)
        known = [order_id for order_id in self.state.open if order_id not in ended.unsettled]
        ended.look_again(self.operator, known, self.settings.quiet_s)
        self.state = State(
            watermark=ended.watermark,
            full_at=wall if is_full else self.state.full_at,
            open=list(dict.fromkeys([*ended.unsettled, *(d["orderId"] for d in ended.discrepancies if d["orderId"])])),
        )
        self.state.save(self.settings.state_file)
        self._remember_others(ended, is_full)
        self._tell(ended, time.monotonic() - began, is_full)
        return ended

    def _walk(self, is_full: bool) -> Pass:
        page_began = time.monotonic()

        def rest(_so_far: Pass, _stage: str) -> None:
            """So much longer than the page took that it is the share that may be used."""
            nonlocal page_began
            busy_s = time.monotonic() - page_began
            if self.wait(min(busy_s * (1 / self.settings.share - 1), _LONGEST_PAUSE_S)):
                raise _Stopped
            page_began = time.monotonic()

        since = None if is_full else self.state.watermark
        ago_s = None if is_full or since else _LOOK_BACK_S
        quiet_s = self.settings.quiet_s
        return run_pass(self.operator, quiet_s=quiet_s, since=since, ago_s=ago_s, full=is_full, on_page=rest)

    def _remember_others(self, ended: Pass, is_full: bool) -> None:
        """What is about no order, but an item or a charge: known until a full pass does not find it any more."""
        kept = (
            [] if is_full else [found for found in self.others if found["code"] in ("stock_differs", "unknown_charge")]
        )
        now = [found for found in ended.discrepancies if found["orderId"] is None]
        self.others = list({(f["code"], f["subject"]): f for f in [*kept, *now]}.values())

    def _tell(self, ended: Pass, seconds: float, is_full: bool) -> None:
        found = [*(d for d in ended.discrepancies if d["orderId"] is not None), *self.others]
        counts = Counter(str(one["code"]) for one in found)
        self.figures.ended(counts, ended.checked, len(ended.unsettled), seconds)
        write = log.warning if found else log.info
        write(
            "reconciled",
            full=is_full,
            seconds=round(seconds, 3),
            checked=dict(ended.checked),
            discrepancies=dict(counts),
            unsettled=len(ended.unsettled),
        )
        for one in found[:20]:
            log.warning(
                "discrepancy", code=one["code"], order_id=one["orderId"], subject=one["subject"], says=one["says"]
            )


class _Stopped(Exception):
    """The process is to end in the middle of a pass."""


def _alive() -> Report:
    """It waits most of the time, and each of its questions has an end."""
    return Report(is_good=True, parts={})


def main() -> int:
    source = Source(values=os.environ)
    try:
        settings = Settings.read(source)
        give_token = token_source(source)
    except (Misconfigured, ValueError) as error:
        sys.stderr.write(f"reconciler: {error}\n")
        return 2
    configure_logs(
        process="reconciler",
        level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        style=source.choice("LOG_FORMAT", ("json", "console"), "json"),
    )
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    gateway = GatewayClient(settings.gateway_url, lambda *_: {"Authorization": f"Bearer {give_token()}"})
    state = State.load(settings.state_file)
    figures = Figures()
    collect_from(figures.registry)
    serve_probes(source, "reconciler", Probes(live=_alive, ready=figures.ready))
    log.info("reconciler_started", every_s=settings.every_s, share=settings.share)
    operator = OperatorClient(gateway)
    Reconciler(operator=operator, settings=settings, figures=figures, wait=ending.wait, state=state).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
