"""Owns: the private RabbitMQ node: configuration, first login, process. Must not know: exchanges and queues.

The server script itself is run (Debian's wrapper in /usr/sbin switches the user), with everything it writes
under the stack folder. Users come from a definitions file that the node reads at every boot: so the guest
account never exists, and lost passwords heal at the next start.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pika
from pika.exceptions import AMQPError

from ops.errors import StackError
from ops.folder import PROJECT_FOLDER, StackFolder, write_atomically
from ops.processes import ProcessSpec, base_environment, run_once
from ops.state import StackState
from shared.messaging.addresses import split_addresses

STAGE = 1
ADMINISTRATOR = "administrator"
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_CONTROL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
# It starts an Erlang machine of its own, which takes seconds where others want the processor too.
_CONTROL_TIMEOUT_S = 60
_EPMD_MARKER = "ORDERSAGA_EPMD"

_STACK_SETTINGS = """\
# Written by `ordersaga up` at every start; comes after the settings in rabbitmq.conf.
listeners.tcp.default = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {broker_metrics}
load_definitions = {users}
"""


def find_binaries() -> Path | None:
    """The server script of the package, or None if it or Erlang is missing."""
    return _SERVER if _SERVER.exists() and shutil.which("erl") else None


def hashed_password(password: str, *, salt: bytes | None = None) -> str:
    """RabbitMQ's rabbit_password_hashing_sha256: base64(salt + sha256(salt + password)), salt of 4 bytes."""
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


@dataclass(frozen=True, kw_only=True)
class Node:
    """One private node: where it lives and what it is called."""

    folder: StackFolder
    state: StackState

    @property
    def _home(self) -> Path:
        return self.folder.rabbitmq

    @property
    def _mnesia(self) -> Path:
        return self._home / "mnesia"

    @property
    def _booted(self) -> Path:
        return self._home / "booted"

    def mark_booted(self) -> None:
        """From now on the node's data is worth keeping. A file beside it: it must not outlive or predate it."""
        self._booted.touch()

    def prepare(self) -> None:
        """Write configuration, users and cookie; wipe the leftovers of a first boot that never ended."""
        if not self._booted.exists():
            shutil.rmtree(self._mnesia, ignore_errors=True)
        for name in ("rabbitmq.conf", "enabled_plugins"):
            source = PROJECT_FOLDER / "rabbitmq" / name
            write_atomically(self._home / name, source.read_text(encoding="utf-8"))
        more = self._home / "conf.d"
        more.mkdir(exist_ok=True)
        users = self._home / "users.json"
        write_atomically(users, json.dumps(self._first_definitions()))
        settings = _STACK_SETTINGS.format(**self.state.ports, users=users)
        write_atomically(more / "90-stack.conf", settings)
        write_atomically(self._home / ".erlang.cookie", self.state.passwords["erlang_cookie"], mode=0o400)

    def _first_definitions(self) -> dict[str, object]:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "vhosts": [{"name": "/"}],
            "users": [self._user(ADMINISTRATOR, "administrator"), self._user("ordersaga", "")],
            "permissions": [{"user": name, "vhost": "/", **everything} for name in (ADMINISTRATOR, "ordersaga")],
        }

    def _user(self, name: str, tags: str) -> dict[str, str]:
        return {
            "name": name,
            "password_hash": hashed_password(self.state.passwords[name]),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tags,
        }

    def _environment(self) -> dict[str, str]:
        return {
            **base_environment(self._home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.state.node,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def process(self) -> ProcessSpec:
        home = self._home
        environment = {
            **self._environment(),
            # Makes the script exec the Erlang machine, so that our child is the broker and not a shell.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_MNESIA_BASE": str(self._mnesia),
            # Logs go to our log file; what still goes here is the log of upgrades and crash dumps.
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "feature_flags"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(home / "plugins"),
            "RABBITMQ_DIST_PORT": str(self.state.ports["distribution"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return ProcessSpec(
            name="rabbitmq",
            command=(str(_SERVER),),
            environment=environment,
            stage=STAGE,
            stop_timeout_s=30.0,
            after_restart=(sys.executable, "-m", "ops.repair", "--stack", str(self.folder.root)),
        )

    def evaluate(self, expression: str) -> str:
        """Run an Erlang expression on the node and return what it printed."""
        command = [str(_CONTROL), "--quiet", "eval", expression]
        done = run_once(command, environment=self._environment(), timeout_s=_CONTROL_TIMEOUT_S)
        if done.returncode != 0:
            raise StackError(f"rabbitmqctl failed: {done.stdout.strip()[-300:]}", log=self.folder.log("rabbitmq"))
        return done.stdout


def why_unreachable(uri: str) -> str | None:
    """None when an AMQP login works, on any one of the nodes that the URI names; else the reason in one line."""
    reasons = []
    for address in split_addresses(uri):
        reason = _why_node_unreachable(address)
        if reason is None:
            return None
        reasons.append(reason)
    return "; ".join(reasons) or "the URI names no broker"


def _why_node_unreachable(address: str) -> str | None:
    try:
        parameters = pika.URLParameters(normal_uri(address))
        parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 3.0
        pika.BlockingConnection(parameters).close()
    except (AMQPError, OSError, ValueError) as error:
        return _reason(error)
    return None


def _reason(error: BaseException) -> str:
    """pika wraps errors in errors without words: dig until one says something."""
    while not str(error):
        inner = getattr(error, "exception", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def normal_uri(uri: str) -> str:
    """kombu writes the vhost "/" as `//`, which pika would read as the vhost ""."""
    base, slashes, rest = uri.partition("://")
    host, _, vhost = rest.partition("/")
    return f"{base}{slashes}{host}/{'%2F' if vhost in ('', '/') else vhost}"


def start_port_mapper() -> None:
    """Start epmd, the name server all Erlang nodes of the machine share, unless it runs.

    Started here and not by the broker, it belongs to no stack and outlives this one if others use it.
    """
    epmd = shutil.which("epmd")
    if epmd is not None:
        environment = {**base_environment(Path("/")), "ERL_EPMD_ADDRESS": "127.0.0.1", _EPMD_MARKER: "1"}
        run_once([epmd, "-daemon"], environment=environment, timeout_s=10)


def stop_port_mapper() -> None:
    """End epmd if a stack started it and no node uses it any more (epmd itself refuses while one does)."""
    epmd = shutil.which("epmd")
    if epmd is not None and _our_epmd_runs():
        environment = {**base_environment(Path("/")), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        run_once([epmd, "-kill"], environment=environment, timeout_s=10)


def _our_epmd_runs() -> bool:
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and Path(f"/proc/{entry}/comm").read_text() == "epmd\n":
                return f"{_EPMD_MARKER}=1".encode() in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
    return False
