"""Owns: installing from Debian what is missing: RabbitMQ, PostgreSQL, on request Prometheus and Java.

Must not know: how they are run.

Debian's packages would start a system-wide broker and cluster on their own. Nobody asked for those: a
policy-rc.d that says no stands for the time of the installation, and no main cluster is created.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.errors import StackError
from ops.postgres import find_binaries as find_postgres
from ops.prometheus import find_binary as find_prometheus
from ops.rabbitmq import find_binaries as find_rabbitmq

_TIMEOUT_S = 900
_LOCK_TIMEOUT_S = 120

# Run by sh as root; "$@" are the packages. Undoes its own policy-rc.d even when interrupted, never another's.
_INSTALL = f"""
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
cluster=/etc/postgresql-common/createcluster.conf
if [ ! -e "$cluster" ] && ! dpkg-query -W postgresql-common >/dev/null 2>&1; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' > "$cluster"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout={_LOCK_TIMEOUT_S} \\
    -o Dpkg::Options::=--force-confold "$@"
"""


JAVA = "openjdk-17-jre-headless"
_OLDEST_JAVA = 17
_JAVA_PLACES = Path("/usr/lib/jvm")


def find_java() -> Path | None:
    """The virtual machine's library, as the extra `cdc` loads it; None if there is none, or only older ones."""
    home = os.environ.get("JAVA_HOME")
    places = [Path(home)] if home else []
    places += [path for path in _JAVA_PLACES.glob("*") if _java_version(path.name) >= _OLDEST_JAVA]
    found = (place / "lib" / "server" / "libjvm.so" for place in places)
    return next((library for library in found if library.exists()), None)


def _java_version(name: str) -> int:
    """Of a folder such as java-17-openjdk-amd64; 0 where it does not say."""
    said = re.search(r"-(\d+)-", name)
    return int(said[1]) if said else 0


def missing_packages(*, broker: bool, database: bool, monitoring: bool, java: bool = False) -> list[str]:
    """The Debian packages to install for the private servers that are needed, and for what runs in Java."""
    missing = []
    if broker and find_rabbitmq() is None:
        missing.append("rabbitmq-server")
    if database and find_postgres() is None:
        missing.append("postgresql")
    if monitoring and find_prometheus() is None:
        missing.append("prometheus")
    if java and find_java() is None:
        missing.append(JAVA)
    return missing


def install(packages: Sequence[str], report: Callable[[str], None]) -> None:
    """Install the packages as root or through sudo; StackError with the command to type when neither works."""
    by_hand = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise StackError(
            f"{' and '.join(packages)} missing, and this is no Debian",
            hint="install RabbitMQ and PostgreSQL, or set AMQP_URI and the *_DATABASE_URLs to servers that exist",
        )
    prefix = _root_prefix()
    if prefix is None:
        raise StackError(
            f"{' and '.join(packages)} missing, and neither root nor passwordless sudo is at hand",
            hint=f"run as root: {by_hand}   or set AMQP_URI and the *_DATABASE_URLs to servers that exist",
        )
    report(f"installing {' and '.join(packages)} (Debian packages; their system services stay off)")
    _run([*prefix, "/bin/sh", "-c", _INSTALL, "install", *packages], report, by_hand)


def _root_prefix() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False, timeout=20)  # noqa: S603
    return [sudo, "-n"] if asked.returncode == 0 else None


def _run(command: Sequence[str], report: Callable[[str], None], by_hand: str) -> None:
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - our own script
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if re.match(r"(Get:|Fetched|Unpacking|Setting up|E:|Err:)", line):
                report("  " + line.strip()[:100])
        code = process.wait(timeout=_TIMEOUT_S)
    if code != 0:
        errors = [line for line in lines if line.startswith(("E:", "Err:", "dpkg: error"))] or lines
        raise StackError(f"installation failed: {' / '.join(errors[-3:])}", hint=f"run as root: {by_hand}")
