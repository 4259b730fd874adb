"""Owns: the private PostgreSQL cluster: binaries, data directory, settings, process. Must not know: our databases.

initdb and postgres refuse to run as root: for root they run as the user `postgres` that Debian's package makes.
There is no Unix socket (its path is limited to 107 characters) and no `trust`: TCP on 127.0.0.1 with passwords.
"""

import os
import pwd
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from ops.errors import StackError
from ops.folder import StackFolder
from ops.processes import ProcessSpec, base_environment, is_alive, run_once

STAGE = 0
_SYSTEM_USER = "postgres"
_OUTSIDE_FOLDER = Path("/var/lib/postgresql")
_DEBIAN_VERSIONS = Path("/usr/lib/postgresql")

_SETTINGS = """\
# Written by `ordersaga up` at every start; changes here are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = scram-sha-256
# Four databases, three services with replicas and relays, and a few people.
max_connections = 300
shared_buffers = 256MB
effective_cache_size = 4GB
work_mem = 8MB
maintenance_work_mem = 128MB
# Durable: an accepted order survives a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
min_wal_size = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
# For change data capture. A slot that nobody reads any more is given up before it fills the disk.
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_slot_wal_keep_size = 2GB
random_page_cost = 1.1
# Outbox and inbox rows come and go: clean up soon.
autovacuum_naptime = 15s
# Short queries on two cores: neither pays off.
jit = off
max_parallel_workers_per_gather = 0
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
"""
_ACCESS = """\
# Written by `ordersaga up` at every start; changes here are lost.
host all all 127.0.0.1/32 scram-sha-256
"""


def find_binaries(data: Path | None = None) -> Path | None:
    """The folder with initdb and postgres: the version that made `data`, else the highest; None if missing."""
    version = _version_of(data) if data is not None else None
    if version is not None:
        exact = _DEBIAN_VERSIONS / version / "bin"
        return exact if (exact / "postgres").exists() else None
    found = [path for path in _DEBIAN_VERSIONS.glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _version_of(data: Path) -> str | None:
    try:
        return (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One private cluster: where it lives and as whom it runs."""

    binaries: Path
    data: Path
    user: str | None
    port: int
    password: str

    @property
    def _environment(self) -> dict[str, str]:
        return base_environment(self.data.parent)

    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def prepare(self) -> None:
        """Make the cluster if there is none, repair leftovers of a crash, write its settings."""
        if not self.exists():
            self._initialise()
        self._remove_stale_pid_file()
        # Read last of all: what initdb found out about this machine stays in postgresql.conf.
        self._write(self.data / "postgresql.auto.conf", _SETTINGS.format(port=self.port))
        self._write(self.data / "pg_hba.conf", _ACCESS)

    def _initialise(self) -> None:
        """initdb beside the final place, then rename: an interrupted one is never taken for a cluster."""
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        password_file = self.data.with_name("initial-password")
        self._write(password_file, self.password)
        command = [
            *(str(self.binaries / "initdb"), "-D", str(unfinished), "-U", "postgres"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8"),
        ]
        done = run_once(command, environment=self._environment, user=self.user, timeout_s=120)
        password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise StackError(f"initdb failed: {_last_words(done.stdout)}", hint=f"command: {' '.join(command)}")
        unfinished.rename(self.data)

    def _remove_stale_pid_file(self) -> None:
        """A postmaster.pid whose number now belongs to another program would keep postgres from starting."""
        if self.postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def postmaster(self) -> int | None:
        """The pid of the server that really runs on this data directory, or None."""
        return find_postmaster(self.data)

    def reset_password(self) -> None:
        """Set the superuser's password without knowing the old one; only while the server is down."""
        command = [str(self.binaries / "postgres"), "--single", "-D", str(self.data), "postgres"]
        statement = f"ALTER ROLE postgres PASSWORD '{self.password}';\n"
        done = run_once(command, environment=self._environment, user=self.user, text=statement)
        if done.returncode != 0:
            raise StackError(f"cannot repair the cluster in {self.data}: {_last_words(done.stdout)}")

    def process(self) -> ProcessSpec:
        return ProcessSpec(
            name="postgres",
            command=(str(self.binaries / "postgres"), "-D", str(self.data)),
            environment=self._environment,
            user=self.user,
            stage=STAGE,
            # "Fast shutdown": TERM would wait for every client to leave.
            stop_signal=int(signal.SIGINT),
            stop_timeout_s=30.0,
        )

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        if self.user is not None:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)


def find_postmaster(data: Path) -> int | None:
    """The pid of the server that runs on the data directory: alive and at home there, not just a number."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        at_home = Path(f"/proc/{pid}/cwd").resolve() == data.resolve()
    except (OSError, ValueError):
        return None
    return pid if at_home and is_alive(pid) else None


def system_user() -> str | None:
    """As whom the cluster must run: None for ourselves, or the Debian user when we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_SYSTEM_USER).pw_name
    except KeyError as error:
        raise StackError(
            "PostgreSQL refuses to run as root, and there is no user `postgres`",
            hint="install Debian's package postgresql, or run ordersaga as an ordinary user",
        ) from error


def place_data(folder: StackFolder, user: str | None) -> Path:
    """The data directory: inside the stack folder, or outside it when the database's user cannot get there."""
    home = folder.postgres
    home.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        return home / "data"
    shutil.chown(home, user, pwd.getpwnam(user).pw_gid)
    if _can_enter(home, user):
        return home / "data"
    outside = _OUTSIDE_FOLDER / f"ordersaga-{folder.identity}"
    outside.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.chown(outside, user, pwd.getpwnam(user).pw_gid)
    return outside / "data"


def _can_enter(path: Path, user: str) -> bool:
    environment = base_environment(path)
    return run_once(["/usr/bin/test", "-w", str(path)], environment=environment, user=user).returncode == 0


def _last_words(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "no output"
