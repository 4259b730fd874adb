"""The compose files and the Dockerfile say what the processes need; what an engine would find out is not seen here."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.auth.settings import DEVELOPMENT_SECRET
from ops.applications import CONNECTORS, GATEWAY, PSP, RELAYS, REPLICABLE, SERVICES
from shared.messaging.addresses import split_addresses
from shared.process import DRAIN_LIMIT_S

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CLUSTER = yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: part for name, part in PARTS.items() if part["image"] in ("ordersaga", "ordersaga-cdc")}
RUNNING = {name: part for name, part in PARTS.items() if part["restart"] == "unless-stopped"}
ONCE = {name: part for name, part in PARTS.items() if part["restart"] == "on-failure"}
FOLDER = "${SECRETS_FOLDER:-./ops/container/for-trying-out}/"


def _command(part: dict[str, Any]) -> tuple[str, ...]:
    return tuple(part["command"])


def _secret_names(part: dict[str, Any]) -> set[str]:
    return {secret if isinstance(secret, str) else secret["source"] for secret in part.get("secrets", [])}


def _seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


class TestProcesses:
    def test_every_process_of_a_stack_is_a_service(self) -> None:
        wanted = {
            **{name: ("python", "-m", name, "serve") for name in SERVICES},
            **{name: ("python", "-m", service, "relay") for name, service in RELAYS.items()},
            PSP: ("python", "-m", "payment_service", "psp"),
            GATEWAY: ("python", "-m", "gateway"),
            **{name: ("python", "-m", "cdc", captured.service) for name, captured in CONNECTORS.items()},
        }
        assert {name: _command(PARTS[name]) for name in wanted} == wanted

    def test_every_database_is_migrated_before_anything_runs(self) -> None:
        commands = {_command(part) for part in ONCE.values()}
        assert {("python", "-m", service, "migrate") for service in SERVICES} <= commands
        for name in (*REPLICABLE, GATEWAY):
            waits = {other for other, how in PARTS[name]["depends_on"].items()}
            assert waits == set(ONCE) - {"seal-audit-logs", "open-replication"}, name
        for name, part in OURS.items():
            for other, how in part["depends_on"].items():
                done = "service_completed_successfully" if other in ONCE else "service_healthy"
                assert "healthcheck" in PARTS[other] or other in ONCE, name
                assert how == {"condition": done}, name

    @pytest.mark.parametrize("name", OURS)
    def test_ours_write_nowhere_and_may_do_nothing_special(self, name: str) -> None:
        part = OURS[name]
        assert part["read_only"] is True
        assert part["tmpfs"] == ["/tmp"]  # noqa: S108
        assert part["cap_drop"] == ["ALL"]
        assert part["security_opt"] == ["no-new-privileges:true"]
        # As number 1 a process would survive the SIGALRM that ends a drain without end.
        assert part["init"] is True

    @pytest.mark.parametrize("name", RUNNING)
    def test_what_runs_is_asked_how_it_is(self, name: str) -> None:
        assert RUNNING[name]["healthcheck"]["test"][0] == "CMD"

    @pytest.mark.parametrize("name", sorted(set(RUNNING) & set(OURS)))
    def test_a_process_gets_the_time_that_it_may_take_to_end(self, name: str) -> None:
        assert _seconds(RUNNING[name]["stop_grace_period"]) > DRAIN_LIMIT_S

    def test_probes_are_asked_where_they_are_told(self) -> None:
        for name in REPLICABLE:
            port = PARTS[name]["environment"]["METRICS_PORT"]
            assert f"http://127.0.0.1:{port}/health/live" in PARTS[name]["healthcheck"]["test"][-1]

    def test_those_that_may_be_many_have_no_name_and_no_port_of_this_machine(self) -> None:
        for name in REPLICABLE:
            assert not {"container_name", "ports", "hostname"} & set(PARTS[name])

    def test_ports_are_open_to_this_machine_only(self) -> None:
        parts = (*PARTS.values(), *CLUSTER["services"].values())
        published = [port for part in parts for port in part.get("ports", [])]
        assert published
        assert all(port.startswith("127.0.0.1:") for port in published)


class TestImages:
    def test_one_service_builds_the_image_and_nobody_fetches_it(self) -> None:
        """Several that export one name at the same moment fail with "image already exists"."""
        built = {part["image"]: part["build"]["target"] for part in PARTS.values() if "build" in part}
        assert built == {"ordersaga": "ordersaga", "ordersaga-cdc": "cdc"}
        assert len([part for part in PARTS.values() if "build" in part]) == len(built)
        assert {part["pull_policy"] for part in OURS.values()} == {"never"}

    def test_every_other_image_has_a_version(self) -> None:
        assert PARTS["rabbitmq"]["image"] == "rabbitmq:${RABBITMQ_VERSION:-4}-management"
        assert PARTS["postgres"]["image"] == "postgres:${POSTGRES_VERSION:-16}"
        for name in set(PARTS) - set(OURS) - {"rabbitmq", "postgres"}:
            assert re.search(r":v?\d+\.\d+\.\d+$", PARTS[name]["image"]), name

    def test_everything_that_is_installed_is_copied(self) -> None:
        included = (ROOT / "setup.cfg").read_text().split("include =\n")[1].split("\n\n")[0]
        packages = {line.strip().rstrip("*") for line in included.splitlines()}
        assert set(_copied()) == packages | {"rabbitmq", "docs/asyncapi.json"}

    def test_nothing_of_what_is_copied_is_left_out(self) -> None:
        rules = (ROOT / ".dockerignore").read_text().split()
        tracked = subprocess.run(
            ["git", "ls-files", *_copied()], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        ignored = [file for file in tracked if _is_ignored(file, rules)]
        assert {str(Path(file).parts[1]) for file in ignored} <= {"container"}
        needed = ["rabbitmq/choreography.yml", "rabbitmq/definitions.json", "gateway/docs_page/page.html"]
        needed += ["docs/asyncapi.json", "gateway/event_pages/pictures/flow-happy-path.svg"]
        assert set(needed) <= set(tracked) - set(ignored)
        assert any(file.endswith("migrations/versions/0001_first.py") for file in tracked)

    def test_it_runs_as_nobody_special(self) -> None:
        *_, user = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
        assert user == "ordersaga"


class TestSecrets:
    def test_no_password_is_in_an_environment(self) -> None:
        for name, part in PARTS.items():
            for variable, value in part.get("environment", {}).items():
                assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), (name, variable)
                is_secret = re.search(r"PASSWORD|SECRET|KEY", variable)
                assert not is_secret or variable.endswith("_FILE"), (name, variable)

    def test_a_file_that_is_named_is_there(self) -> None:
        for name, part in PARTS.items():
            named = [str(value) for value in part.get("environment", {}).values()]
            mounted = {f"/run/secrets/{secret}" for secret in _secret_names(part)}
            assert {value for value in named if value.startswith("/run/secrets/")} <= mounted, name

    def test_everybody_gets_his_own_and_no_other(self) -> None:
        own = {"order": "order_database_password", "inventory": "inventory_database_password"}
        for kind, password in own.items():
            for name in (f"{kind}_service", f"{kind}_relay", f"migrate-{kind}"):
                assert _secret_names(PARTS[name]) == {"broker_password", password}
        for name, captured in CONNECTORS.items():
            assert _secret_names(PARTS[name]) == {"broker_password", f"{captured.database}_replication_password"}
        assert _secret_names(PARTS[GATEWAY]) == {"broker_password", "jwt_signing_key"}
        assert _secret_names(PARTS["reconciler"]) == {"jwt_signing_key"}
        assert "broker_password" not in _secret_names(PARTS[PSP])

    def test_each_has_a_file_for_trying_out_that_production_refuses(self) -> None:
        files = [secret["file"] for compose in (COMPOSE, CLUSTER) for secret in compose["secrets"].values()]
        for file in files:
            assert file.startswith(FOLDER)
            path = ROOT / "ops/container/for-trying-out" / file.removeprefix(FOLDER)
            assert DEVELOPMENT_SECRET in path.read_text()
        assert len(files) == len(set(files))

    def test_others_are_made_for_each_of_them(self, tmp_path: Path) -> None:
        script = ROOT / "ops/container/make-secrets.sh"
        copy = tmp_path / "ops/container/make-secrets.sh"
        copy.parent.mkdir(parents=True)
        copy.write_text(script.read_text())
        run = ["sh", str(copy)]
        subprocess.run(run, check=True, capture_output=True)
        made = {path.name: path.read_text() for path in (tmp_path / ".secrets/passwords").iterdir()}

        wanted = {path.name for path in (ROOT / "ops/container/for-trying-out").iterdir()}
        assert set(made) == wanted
        assert len(set(made.values())) == len(made)
        assert made["broker_administrator_password"] in made["broker_administrator.conf"]
        assert (tmp_path / ".env").read_text() == "SECRETS_FOLDER=.secrets/passwords\n"
        subprocess.run(run, check=True, capture_output=True)
        assert {path.name: path.read_text() for path in (tmp_path / ".secrets/passwords").iterdir()} == made


class TestCluster:
    def test_everybody_knows_all_three_nodes(self) -> None:
        nodes = [name for name in ("rabbitmq", "rabbitmq-2", "rabbitmq-3") if name in CLUSTER["services"]]
        wanted = [f"amqp://ordersaga@{node}:5672/%2F" for node in nodes]
        connected = {name for name, part in OURS.items() if "AMQP_URI" in part["environment"]} - set(ONCE)
        for name in {*connected, "prepare-broker"}:
            assert split_addresses(CLUSTER["services"][name]["environment"]["AMQP_URI"]) == wanted
        listed = re.findall(r"nodes\.\d = rabbit@(\S+)", (ROOT / "rabbitmq/cluster.conf").read_text())
        assert listed == nodes

    def test_nobody_prepares_half_a_broker(self) -> None:
        assert set(CLUSTER["services"]["prepare-broker"]["depends_on"]) == {"rabbitmq-2", "rabbitmq-3"}

    def test_a_node_waits_for_no_other(self) -> None:
        for name in ("rabbitmq", "rabbitmq-2", "rabbitmq-3"):
            assert "depends_on" not in CLUSTER["services"][name]


def _copied() -> Iterator[str]:
    for source in re.findall(r"^COPY (\S+) \S+$", (ROOT / "Dockerfile").read_text(), re.M):
        if source not in ("requirements.lock", "requirements-cdc.lock") and not source.startswith("--"):
            yield source


def _is_ignored(file: str, rules: Sequence[str]) -> bool:
    """The last rule that matches counts; one that begins with ! takes back."""
    matching = [rule for rule in rules if _matches(file, rule.removeprefix("!"))]
    return bool(matching) and not matching[-1].startswith("!")


def _matches(file: str, rule: str) -> bool:
    return any(fnmatch.fnmatch(part, rule) for part in (file, *map(str, Path(file).parents)))
