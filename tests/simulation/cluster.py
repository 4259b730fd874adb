"""A private PostgreSQL for one run: in memory, without durability, gone when the run ends.

Owns: initdb, starting and stopping the server, databases made from one migrated template.
Must not know: what the simulation does with them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psycopg2

from inventory_service.__main__ import PROCESS as INVENTORY
from ops.postgres import find_binaries, system_user
from ops.processes import base_environment, run_once
from order_service.__main__ import PROCESS as ORDER
from payment_service.__main__ import PROCESS as PAYMENT
from shared import migrations

from .clock import INSTALL_CLOCK

SERVICES = {process.name: process for process in (ORDER, INVENTORY, PAYMENT)}
START_TIMEOUT_S = 30.0
_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes the name

_SETTINGS = {
    # Reached through a socket in a folder that only its owner can enter; no port is opened.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # Nothing has to survive a power cut here.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "1h",
    # A plan must not depend on when the last analyze was.
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "track_activities": "off",
    "timezone": "UTC",
}
# The shell outlives neither of the two: its input is a pipe that ends when this program does, however it ends.
_KEEPER = """
"$@" </dev/null >"$FOLDER/log" 2>&1 &
server=$!
read -r _ || true
kill -INT $server 2>/dev/null || true
wait $server
rm -rf "$FOLDER"
"""


@dataclass(frozen=True)
class Server:
    """A running server, known by the folder of its socket: enough for another process to use it."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://postgres@/{database}?host={self.folder}"

    def create(self, service: str, suffix: str) -> str:
        """The URL of a new, migrated and empty database of ``service``."""
        name = f"{service}_{suffix}"
        self.administer(f"create database {name} template {service}")
        self.administer(f"alter database {name} set search_path = clock, public, pg_catalog")
        return self.url(name)

    def make_templates(self) -> None:
        for name, process in SERVICES.items():
            self.administer(f"create database {name}")
            migrations.upgrade(process.migrations, self.url(name))
            self._execute(name, INSTALL_CLOCK)

    def administer(self, statement: str) -> None:
        self._execute("postgres", statement)

    def _execute(self, database: str, statement: str) -> None:
        connection = psycopg2.connect(host=str(self.folder), user="postgres", dbname=database, connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


class Cluster:
    """Use as a context manager, which hands out the running server."""

    def __init__(self) -> None:
        self._user = system_user()
        parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="ordersaga-", dir=parent))
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError("PostgreSQL's initdb is nowhere: run `make up` once, it installs what is missing")
        self._initialise(binaries)
        server = Server(self._folder)
        self._start(binaries, server)
        server.make_templates()
        return server

    def __exit__(self, _type: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait(START_TIMEOUT_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _initialise(self, binaries: Path) -> None:
        if self._user is not None:
            shutil.chown(self._folder, self._user, pwd.getpwnam(self._user).pw_gid)
        command = [
            *(str(binaries / "initdb"), "-D", str(self._folder / "data"), "-U", "postgres", "--no-sync"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"),
        ]
        done = run_once(command, environment=base_environment(self._folder), user=self._user, timeout_s=120)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stdout}")

    def _start(self, binaries: Path, server: Server) -> None:
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder), *settings]
        account = pwd.getpwnam(self._user) if self._user else None
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", *command],
            stdin=subprocess.PIPE,
            env={**base_environment(self._folder), "FOLDER": str(self._folder)},
            cwd="/",
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                server.administer("select 1")
                return
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
