"""Owns: starting, recognising and ending operating-system processes of a stack. Must not know: what they do.

Every process of a stack carries the marker ORDERSAGA_OWNER=<stack folder> in its environment. Only a process
that carries it is ever signalled, so a recycled pid never costs a stranger its life. (The marker is not
ORDERSAGA_STACK: that one is set by people in their shells, and would mark the shell itself.)
"""

import errno
import math
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ops.waiting import holds_within

OWNER_MARKER = "ORDERSAGA_OWNER"
NAME_MARKER = "ORDERSAGA_PROCESS"
SOCKET_VARIABLE = "GATEWAY_SOCKET_FD"
_LOG_ROTATED_AT_BYTES = 20 * 1024 * 1024
# At full load services, relays and gateway write about a megabyte in a second, each a part of it.
_LOG_SHORTENED_AT_BYTES = 100 * 1024 * 1024
_COPIED_BYTES = 1024 * 1024
# epmd is one daemon for all Erlang nodes of the machine; it inherits the marker of the node that started it.
_SHARED_PROGRAMS = frozenset({"epmd"})
# In /proc/<pid>/stat, counted from the state letter: ticks from the machine's start to the process's.
_STARTED = 19


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """How one long-running process is started and ended.

    A higher stage stops earlier. Equal specs mean "leave it running" when the wanted processes change.
    ``after_restart`` is a command that is run, beside the process, each time the supervisor had to start it again.
    ``listens_on`` is an address ("127.0.0.1:8000") that the supervisor opens and hands down as SOCKET_VARIABLE: it
    stays open while the process is restarted, and whoever connects meanwhile waits instead of being refused.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stage: int
    stop_signal: int = int(signal.SIGTERM)
    stop_timeout_s: float = 20.0
    after_restart: Sequence[str] = ()
    listens_on: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "command": list(self.command),
            "after_restart": list(self.after_restart),
            "environment": dict(self.environment),
        }


def base_environment(home: Path) -> dict[str, str]:
    """The little that every process gets; nothing of the caller's shell leaks in."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def spawn(
    spec: ProcessSpec, *, owner: Path, log: Path, listener: socket.socket | None = None
) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, its output appended to the log; OSError if that fails."""
    rotate(log)
    environment = {**spec.environment, OWNER_MARKER: str(owner), NAME_MARKER: spec.name}
    if listener is not None:
        environment[SOCKET_VARIABLE] = str(listener.fileno())
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the command comes from our own specs
            list(spec.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
            pass_fds=() if listener is None else (listener.fileno(),),
            **_identity(spec.user),
        )


def run_once(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    user: str | None = None,
    text: str = "",
    timeout_s: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; output is captured, stdout and stderr together.

    A command that outlives the timeout is killed and reported with exit code 124, as timeout(1) does.
    """
    process = subprocess.Popen(  # noqa: S603 - the command comes from our own modules
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd="/",
        text=True,
        errors="replace",
        **_identity(user),
    )
    with process:
        try:
            output, _ = process.communicate(text, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return subprocess.CompletedProcess(list(command), 124, output + "\n(no answer in time)")
    return subprocess.CompletedProcess(list(command), process.returncode, output)


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": os.getgrouplist(user, account.pw_gid),
    }


def rotate(log: Path) -> None:
    """Keep one old generation of a log that has grown too big; done only while nobody writes to it."""
    with suppress(OSError):
        if log.stat().st_size > _LOG_ROTATED_AT_BYTES:
            log.replace(log.with_suffix(".log.1"))


def shorten(log: Path) -> bool:
    """Move what a log that is being written to has grown too big by into its old generation; whether it had.

    Its writers append, so they go on at its new end. What they write between the last look and the cut is lost.
    """
    old = log.with_suffix(".log.1")
    try:
        if log.stat().st_size <= _LOG_SHORTENED_AT_BYTES:
            return False
        with log.open("rb") as written, old.open("wb") as kept:
            while part := written.read(_COPIED_BYTES):
                kept.write(part)
        os.truncate(log, 0)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            with suppress(OSError):
                old.unlink(missing_ok=True)
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class OwnedProcess:
    """A living process that carries the marker of a stack."""

    pid: int
    parent: int
    name: str


def owned_processes(owner: Path) -> list[OwnedProcess]:
    """Every living process of the stack, whoever its parent is by now; zombies do not count."""
    marker = f"{OWNER_MARKER}={owner}"
    found = []
    for pid in _all_pids():
        environment = _environment_of(pid)
        if marker in environment and is_alive(pid) and _program(pid) not in _SHARED_PROGRAMS:
            prefix = f"{NAME_MARKER}="
            name = next((entry[len(prefix) :] for entry in environment if entry.startswith(prefix)), "")
            found.append(OwnedProcess(pid=pid, parent=_parent(pid), name=name))
    return found


def owned_by(owner: Path, pid: int) -> bool:
    return f"{OWNER_MARKER}={owner}" in _environment_of(pid)


def _all_pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _environment_of(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return []
    return raw.decode("utf-8", errors="replace").split("\0")


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _status(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state letter on; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _parent(pid: int) -> int:
    status = _status(pid)
    return int(status[1]) if status else 0


def age_s(pid: int) -> float:
    """For how long the process has been there; 0 when it is gone."""
    status = _status(pid)
    began_s = int(status[_STARTED]) / os.sysconf("SC_CLK_TCK") if status else math.inf
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - began_s, 0.0)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped is dead for our purposes."""
    status = _status(pid)
    return bool(status) and status[0] not in ("Z", "X")


def end_all(processes: Iterable[OwnedProcess], *, stop_signal: int, timeout_s: float) -> None:
    """Ask the processes to end, then SIGKILL whoever is left. Asks only those whose parent is not asked too."""
    everyone = list(processes)
    pids = {process.pid for process in everyone}
    for process in everyone:
        if process.parent not in pids:
            send(process.pid, stop_signal)
            # A stopped process sees no signal but KILL until it is continued.
            send(process.pid, signal.SIGCONT)
    if not holds_within(lambda: not any(map(is_alive, pids)), timeout_s=timeout_s):
        for pid in pids:
            send(pid, signal.SIGKILL)
        holds_within(lambda: not any(map(is_alive, pids)), timeout_s=5.0)


def send(pid: int, signal_number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal_number)


def send_group(group: int, signal_number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal_number)
