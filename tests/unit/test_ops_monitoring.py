"""Where a stack's processes tell their figures, and what Prometheus is told of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

from ops import alerts
from ops.alerts import active_alerts, show
from ops.applications import GATEWAY, RELAYS, SERVICES, application_processes, probed_names
from ops.cli import main
from ops.errors import StackError
from ops.folder import StackFolder
from ops.prometheus import CONFIGURATION, process, write_configuration, write_targets
from ops.stack import Stack
from ops.state import StackState, fresh_state, metrics_port_name, save_state

REPLICAS = {"order_service": 2}
PROBED = probed_names(REPLICAS)
PORTS = {
    **{name: 21000 + number for number, name in enumerate(("postgres", "amqp", "management", "distribution"))},
    "gateway": 21004,
    "psp": 21005,
    "broker_metrics": 21006,
    "prometheus": 21007,
    **{metrics_port_name(name): 21010 + number for number, name in enumerate(PROBED)},
}


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    layout = StackFolder(root=tmp_path / ".stack")
    layout.create()
    return layout


@pytest.fixture
def state(folder: StackFolder) -> StackState:
    return fresh_state(folder).changed(ports=PORTS, replicas=REPLICAS)


def test_each_process_but_the_gateway_has_a_port_of_its_own(folder: StackFolder, state: StackState) -> None:
    """The gateway answers on the one it has."""
    specs = application_processes(folder, state)
    ports = {spec.name: spec.environment.get("METRICS_PORT") for spec in specs}
    assert ports.pop(GATEWAY) is None
    assert set(ports) == set(PROBED)
    assert len(set(ports.values())) == len(PROBED)
    assert None not in ports.values()


def test_a_stack_of_a_release_before_has_none(folder: StackFolder, state: StackState) -> None:
    old = state.changed(ports={name: port for name, port in PORTS.items() if not name.startswith("metrics:")})
    assert not any("METRICS_PORT" in spec.environment for spec in application_processes(folder, old))


def test_targets_name_replicas_and_what_they_are_replicas_of(folder: StackFolder, state: StackState) -> None:
    write_targets(folder, state, [spec.name for spec in application_processes(folder, state)])
    targets = json.loads((folder.monitoring / "processes.json").read_text())
    labels = {target["labels"]["replica"]: target["labels"]["process"] for target in targets}
    assert labels["order_service"] == labels["order_service-2"] == "order_service"
    assert labels["gateway"] == "gateway"
    assert set(labels) == {*PROBED, GATEWAY}
    assert json.loads((folder.monitoring / "broker.json").read_text()) == [
        {"targets": ["127.0.0.1:21006"], "labels": {"process": "rabbitmq", "replica": "rabbitmq"}}
    ]


def test_a_broker_of_somebody_else_is_no_target(folder: StackFolder, state: StackState) -> None:
    write_targets(folder, state.changed(external={"AMQP_URI": "amqp://a:b@broker/"}), [])
    assert json.loads((folder.monitoring / "broker.json").read_text()) == []


def test_prometheus_reads_and_keeps_everything_in_the_stack(folder: StackFolder, state: StackState) -> None:
    write_targets(folder, state, [])
    write_configuration(folder)
    read = yaml.safe_load((folder.monitoring / "prometheus.yml").read_text())
    named = [*read["rule_files"], *(f for job in read["scrape_configs"] for f in job["file_sd_configs"][0]["files"])]
    assert all((folder.monitoring / name).is_file() for name in named)
    paths = [argument.partition("=")[2] for argument in process(folder, state).command if "=/" in argument]
    assert len(paths) == 2
    assert all(Path(path).is_relative_to(folder.root) for path in paths)


@pytest.mark.parametrize(("said", "is_there"), [(None, True), (False, False), (True, True)])
def test_it_is_remembered_until_it_is_not_wanted_any_more(
    folder: StackFolder, state: StackState, said: bool | None, is_there: bool
) -> None:
    save_state(folder, state.changed(monitoring=True))
    assert Stack(folder.root)._state_for(False, {}, {}, {}, said).monitoring is is_there


def test_both_configurations_scrape_the_same_way() -> None:
    containers, local = (
        yaml.safe_load((CONFIGURATION / name).read_text()) for name in ("prometheus.yml", "prometheus-local.yml")
    )
    assert containers["global"] == local["global"]
    jobs: list[dict[str, Any]] = [{job["job_name"]: job for job in c["scrape_configs"]} for c in (containers, local)]
    assert jobs[0]["broker"]["params"] == jobs[1]["broker"]["params"]
    found = {name for job in jobs[0].values() for discovery in job["dns_sd_configs"] for name in discovery["names"]}
    assert {*SERVICES, *RELAYS, "psp", GATEWAY, "rabbitmq"} <= found


def test_without_a_stack_alerts_say_so(tmp_path: Path) -> None:
    with pytest.raises(StackError):
        active_alerts(Stack(tmp_path / "none"))


ALERT = {
    "alert": "OutboxNotDraining",
    "severity": "critical",
    "state": "firing",
    "since": "2026-03-01T12:00:00.123456789Z",
    "labels": {"process": "order_service"},
    "summary": "the oldest [event] is old",
    "runbook": "docs/operations.md#outbox-not-draining",
}
PENDING = {**ALERT, "alert": "BrokerDown", "state": "pending"}


def test_alerts_are_shown_with_what_to_do() -> None:
    console = Console(record=True, width=200)
    show(console, [ALERT])
    text = console.export_text()
    assert "OutboxNotDraining" in text
    assert "the oldest [event] is old" in text
    assert "docs/operations.md#outbox-not-draining" in text
    show(console, [])
    assert "no alert" in console.export_text()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def play(*arguments: str, found: list[dict[str, Any]]) -> Result:
        monkeypatch.setattr(alerts, "active_alerts", lambda _stack: found)
        return CliRunner().invoke(main, ["--stack", str(tmp_path), "alerts", *arguments])

    return play


@pytest.mark.parametrize(("found", "exit_code"), [([], 0), ([PENDING], 0), ([ALERT], 4), ([PENDING, ALERT], 4)])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_exit_code_says_whether_any_fires(
    run: Callable[..., Result], options: tuple[str, ...], found: list[dict[str, Any]], exit_code: int
) -> None:
    assert run(*options, found=found).exit_code == exit_code


def test_what_fires_comes_before_what_is_about_to(run: Callable[..., Result]) -> None:
    assert json.loads(run("--json", found=[PENDING, ALERT]).stdout) == [ALERT, PENDING]
