"""Prometheus as a stack runs it, made so quick that a test can wait for its alerts.

Owns: how much quicker, and asking it. Must not know: which alerts there are.
"""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.parse
import urllib.request
from typing import Any

from harness.waiting import wait_until
from ops.alerts import active_alerts
from ops.stack import Stack

ALERT_TIMEOUT_S = 90.0
_TIMEOUT_S = 10.0


def quick(rules: str) -> str:
    """The same rules, with windows and patience of seconds."""
    rules = re.sub(r"for: \S+", "for: 1s", rules)
    rules = re.sub(r"\[(1|5|10)m\]", "[20s]", rules)
    rules = rules.replace("offset 10m", "offset 20s")
    return rules.replace("_age_seconds) > 30\n", "_age_seconds) > 3\n")


class Monitor:
    """The Prometheus of a stack that was started with it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._url = stack.environment()["PROMETHEUS_URL"]

    def hurry(self) -> None:
        """Scrape every few seconds and reckon each; the next start of the stack writes the usual files anew."""
        folder = self._stack.monitoring_folder
        for name, change in (("prometheus.yml", _every_few_seconds), ("alerts.yml", quick)):
            path = folder / name
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        (pid,) = [process.pid for process in self._stack.processes() if process.name == "prometheus"]
        assert pid is not None
        os.kill(pid, signal.SIGHUP)
        wait_until(self._is_quick, "it hurries")

    def _is_quick(self) -> bool:
        return "scrape_interval: 3s" in self._get("/api/v1/status/config")["yaml"]

    def value(self, query: str) -> float | None:
        """Of the first series; None when there is none."""
        found = self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")["result"]
        return float(found[0]["value"][1]) if found else None

    def down(self) -> list[str]:
        """Replicas that cannot be scraped, or were not yet."""
        targets = self._get("/api/v1/targets?state=active")["activeTargets"]
        return [target["labels"]["replica"] for target in targets if target["health"] != "up"]

    def scraped(self) -> set[str]:
        targets = self._get("/api/v1/targets?state=active")["activeTargets"]
        return {target["labels"]["replica"] for target in targets if target["health"] == "up"}

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """Name → the alerts of that name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in active_alerts(self._stack):
            if alert["state"] == "firing":
                found.setdefault(alert["alert"], []).append(alert)
        return found

    def wait_for(self, *names: str) -> dict[str, list[dict[str, Any]]]:
        """What fired, once all of ``names`` have: one may be over when the next begins."""
        fired: dict[str, list[dict[str, Any]]] = {}

        def there() -> dict[str, list[dict[str, Any]]] | None:
            fired.update(self.firing())
            return fired if set(names) <= set(fired) else None

        return wait_until(there, f"{', '.join(names)} fire", timeout_s=ALERT_TIMEOUT_S)

    def wait_for_silence(self) -> None:
        wait_until(lambda: not self.firing(), "no alert fires any more", timeout_s=ALERT_TIMEOUT_S)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=_TIMEOUT_S) as response:  # noqa: S310 - our own
            return json.load(response)["data"]


def _every_few_seconds(configuration: str) -> str:
    """A scrape may take as long as the time between two: on a busy machine a second is too short."""
    return configuration.replace("scrape_interval: 15s", "scrape_interval: 3s").replace(": 15s", ": 1s")
