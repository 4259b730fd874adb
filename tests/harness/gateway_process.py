"""``python -m gateway`` in a process of its own, on a free port.

Owns: starting it and finding its address. Must not know: what a test asks it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

from harness.processes import ROOT


def start_gateway(amqp_uri: str, stderr: int | None = None, **environment: str) -> subprocess.Popen[str]:
    """Its address is on the first line it prints, see :func:`address_of`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    settings = {"AMQP_URI": amqp_uri, "GATEWAY_WORKERS": "1", "GATEWAY_THREADS": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        env=inherited | settings | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def address_of(gateway: subprocess.Popen[str]) -> tuple[str, int]:
    """Waits until it listens."""
    assert gateway.stdout is not None
    parts = urlsplit(gateway.stdout.readline().split()[-1])
    return str(parts.hostname), parts.port or 0
