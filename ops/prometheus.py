"""Owns: the stack's own Prometheus: what it scrapes, its configuration, its process.

Must not know: which figures and alerts there are (ops/monitoring).
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ops.folder import PROJECT_FOLDER, StackFolder, write_atomically
from ops.processes import ProcessSpec, base_environment
from ops.state import StackState

NAME = "prometheus"
CONFIGURATION = PROJECT_FOLDER / "ops" / "monitoring"
_STAGE = 4
_PLACES = "/usr/local/bin:/usr/bin:/bin"
_KEPT = "7d"


def find_binary() -> Path | None:
    """Debian's, or whatever is on the PATH."""
    found = shutil.which(NAME, path=f"{_PLACES}:{os.environ.get('PATH', '')}")
    return Path(found) if found else None


def write_targets(folder: StackFolder, state: StackState, processes: Iterable[str]) -> None:
    """Two files for file_sd: the processes, each with its name, and the broker if it is ours.

    Whoever runs a Prometheus of their own can point it there.
    """
    folder.monitoring.mkdir(exist_ok=True)
    addresses = [(name, state.metrics_address(name)) for name in processes]
    document = [_target(name, address) for name, address in addresses if address]
    broker = state.metrics_address("rabbitmq") if state.private_broker else None
    write_atomically(folder.monitoring / "processes.json", json.dumps(document, indent=1))
    write_atomically(
        folder.monitoring / "broker.json", json.dumps([_target("rabbitmq", broker)] if broker else [], indent=1)
    )


def _target(name: str, address: str) -> dict[str, object]:
    """``process`` is the same for all replicas of one: alerts are about that, not about a replica's name."""
    kind, _, number = name.rpartition("-")
    process = kind if kind and number.isdigit() else name
    return {"targets": [address], "labels": {"process": process, "replica": name}}


def write_configuration(folder: StackFolder) -> None:
    """The local variant of ops/monitoring, beside the targets; Prometheus reads it when it starts, and on SIGHUP."""
    write_atomically(
        folder.monitoring / "prometheus.yml", (CONFIGURATION / "prometheus-local.yml").read_text(encoding="utf-8")
    )
    write_atomically(folder.monitoring / "alerts.yml", (CONFIGURATION / "alerts.yml").read_text(encoding="utf-8"))


def process(folder: StackFolder, state: StackState) -> ProcessSpec:
    home = folder.monitoring
    return ProcessSpec(
        name=NAME,
        command=(
            str(find_binary() or NAME),
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--storage.tsdb.retention.time={_KEPT}",
            f"--web.listen-address=127.0.0.1:{state.ports[NAME]}",
        ),
        environment=base_environment(folder.root),
        stage=_STAGE,
    )
