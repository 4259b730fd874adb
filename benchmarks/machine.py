"""On what it was measured. Owns: the machine and the versions. Must not know: any figure."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ops.books import Books
from ops.folder import PROJECT_FOLDER

_LIBRARIES = ("nameko", "kombu", "eventlet", "pika", "sqlalchemy", "psycopg2-binary", "gunicorn", "flask")


def described(books: Books, broker_version: str) -> dict[str, object]:
    """Machine, versions, commit and command, for the last line."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "processor": _processor(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.platform(terse=True),
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": str(books.rows("order", "show server_version")[0][0]).split()[0],
            "rabbitmq": broker_version,
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return found[1] if found else platform.machine()


def _commit() -> str:
    """Short, with a + when there are changes that are not committed; empty outside a checkout."""
    done = subprocess.run(
        ["/usr/bin/env", "git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return done.stdout.strip()


def calibration_ms() -> float:
    """How long a fixed piece of Python takes here and now: the best of five.

    On a machine that shares its cores with others, figures of two runs compare only where this one is the same.
    """
    return round(min(_work_ms() for _ in range(5)), 1)


def _work_ms() -> float:
    started = time.perf_counter()
    sum(number * number % 7 for number in range(300_000))
    return (time.perf_counter() - started) * 1000
