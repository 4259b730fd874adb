"""Owns: the layout of a stack folder, its locks and atomic file writes. Must not know: what the files mean."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.errors import StackError

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
_FREE_DISK_WANTED_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class StackFolder:
    """Where one stack keeps everything; two stacks are two folders."""

    root: Path

    @property
    def identity(self) -> str:
        """Eight hex digits that tell this folder from every other on the machine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def state_file(self) -> Path:
        return self.root / "stack.json"

    @property
    def signing_key_file(self) -> Path:
        return self.root / "jwt-signing-key.pem"

    @property
    def reconciler_file(self) -> Path:
        """How far the reconciler has come."""
        return self.root / "reconciler.json"

    @property
    def connectors(self) -> Path:
        """What the connectors of change data capture keep between two lives, each in a folder of its own."""
        return self.root / "cdc"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def wanted_file(self) -> Path:
        return self.run / "wanted.json"

    @property
    def processes_file(self) -> Path:
        return self.run / "state.json"

    @property
    def operation_lock(self) -> Path:
        return self.run / "operation.lock"

    @property
    def supervisor_lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def stop_request(self) -> Path:
        return self.run / "stop-requested"

    def asked_to_restart(self, name: str) -> Path:
        """Stands there while `ordersaga restart` ends a process: its death is no failure."""
        return self.run / f"restart-{name}"

    @property
    def monitoring(self) -> Path:
        return self.root / "monitoring"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def rabbitmq(self) -> Path:
        return self.root / "rabbitmq"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders; StackError when the place is not writable or the disk is full."""
        try:
            for path, mode in (
                (self.root, 0o755),
                (self.logs, 0o755),
                (self.run, 0o700),
                (self.rabbitmq, 0o700),
            ):
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(mode)
            self._check_writable()
        except OSError as error:
            raise StackError(
                f"cannot write to {self.root}: {error.strerror}",
                hint="choose another folder with --stack, or run as the user who owns this one",
            ) from error
        free = shutil.disk_usage(self.root).free
        if free < _FREE_DISK_WANTED_BYTES:
            raise StackError(
                f"only {free // 2**20} MB are free on the disk of {self.root}; "
                f"the databases and the broker need {_FREE_DISK_WANTED_BYTES // 2**20} MB to start"
            )

    def _check_writable(self) -> None:
        with tempfile.TemporaryFile(dir=self.run) as probe:
            probe.write(b"x")


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file in one step, so that a reader or a crash never meets half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Try to hold the lock file for the block; yields whether it is held. The kernel drops it on any death."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        held = _try_flock(handle)
        if held:
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield held
    finally:
        os.close(handle)


def lock_holder(path: Path) -> int | None:
    """The pid that holds the lock file now, or None. Trusts the lock, not the number left in the file."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _try_flock(handle):
            return None
        text = os.read(handle, 32).decode().strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(handle)


def _try_flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
