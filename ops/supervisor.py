"""Owns: the daemon that keeps the wanted processes of one stack alive. Must not know: what they do.

It reads run/wanted.json (again on SIGHUP), writes run/state.json, restarts what dies with capped backoff for
ever, and on SIGTERM stops everything stage by stage. It holds run/supervisor.lock for as long as it lives;
whoever asks whether it lives asks the lock. Started as `python -m ops.supervisor --stack DIR`.
"""

import argparse
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ops.children import Child
from ops.folder import StackFolder, exclusive_lock, write_atomically
from ops.listeners import Listeners
from ops.processes import OWNER_MARKER, ProcessSpec
from ops.waiting import holds_within

logger = logging.getLogger("ordersaga.supervisor")
_LONGEST_NAP_S = 5.0


class Supervisor:
    """The children of one stack and the loop that tends them."""

    def __init__(self, folder: StackFolder) -> None:
        self._folder = folder
        self._children: dict[str, Child] = {}
        self._listeners = Listeners()
        self._generation = 0
        self._stopping = False
        self._reload = True
        self._unsaved = True
        self._bell_out, self._bell_in = os.pipe()
        os.set_blocking(self._bell_in, False)
        os.set_blocking(self._bell_out, False)

    def run(self) -> None:
        """Tend the children until SIGTERM or SIGINT; then stop them all."""
        signal.set_wakeup_fd(self._bell_in)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        logger.info("supervisor_started pid=%d", os.getpid())
        while not self._stopping:
            if self._reload:
                self._reload = False
                self._adopt_wanted()
            self._tend()
            self._sleep_until_needed()
        self._stop(list(self._children.values()))
        self._save()
        logger.info("supervisor_stopped")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._reload = True

    def _adopt_wanted(self) -> None:
        """Make the children match run/wanted.json; those whose spec did not change are left alone."""
        try:
            wanted = json.loads(self._folder.wanted_file.read_text(encoding="utf-8"))
            specs = {entry["name"]: ProcessSpec(**entry) for entry in wanted["processes"]}
            generation = int(wanted["generation"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.error("wanted_unreadable error=%s", error)
            return
        leaving = [c for name, c in self._children.items() if name not in specs or c.spec != specs[name]]
        self._stop(leaving)
        for child in leaving:
            del self._children[child.spec.name]
        self._listeners.keep({spec.listens_on for spec in specs.values()})
        for name, spec in specs.items():
            if name not in self._children:
                self._children[name] = Child(spec, self._folder, self._listeners.find(spec.listens_on))
        self._generation = generation
        self._unsaved = True
        logger.info("wanted_adopted generation=%d processes=%s", generation, ",".join(specs))

    def _tend(self) -> None:
        changed = [child.tend(time.monotonic()) for child in self._children.values()]
        if any(changed) or self._unsaved:
            self._save()

    def _sleep_until_needed(self) -> None:
        now = time.monotonic()
        naps = [child.next_start - now for child in self._children.values() if not child.running]
        nap = max(0.0, min([_LONGEST_NAP_S, *naps]))
        if not (self._reload or self._stopping):
            select.select([self._bell_out], [], [], nap)
        try:
            os.read(self._bell_out, 4096)
        except BlockingIOError:
            return

    def _stop(self, children: Sequence[Child]) -> None:
        for stage in sorted({child.spec.stage for child in children}, reverse=True):
            self._stop_stage([child for child in children if child.spec.stage == stage])

    def _stop_stage(self, children: Sequence[Child]) -> None:
        for child in children:
            child.ask_to_stop()
        timeout_s = max(child.spec.stop_timeout_s for child in children)
        if not holds_within(lambda: all(child.reaped() for child in children), timeout_s=timeout_s):
            for child in children:
                child.kill()
            holds_within(lambda: all(child.reaped() for child in children), timeout_s=5.0)
        logger.info("stopped %s", " ".join(f"{child.spec.name}={child.last_exit}" for child in children))

    def _save(self) -> None:
        document = {
            "supervisor_pid": os.getpid(),
            "generation": self._generation,
            "processes": [child.as_dict() for child in self._children.values()],
        }
        try:
            write_atomically(self._folder.processes_file, json.dumps(document, indent=1))
            self._unsaved = False
        except OSError as error:
            # A full disk must not end the one process that can bring the others back.
            self._unsaved = True
            logger.error("state_not_written error=%s", error)


def detach() -> None:
    """Become a daemon: a child in its own session, adopted by init, so that no caller has to reap it."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.supervisor", description=__doc__.splitlines()[0])
    parser.add_argument("--stack", type=Path, required=True, help="the stack folder")
    parser.add_argument("--detach", action="store_true", help="run in the background")
    options = parser.parse_args(arguments)
    folder = StackFolder(root=options.stack.resolve())
    if os.environ.get(OWNER_MARKER) != str(folder.root):
        parser.error("started by `ordersaga up` only")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if options.detach:
        detach()
    with exclusive_lock(folder.supervisor_lock) as held:
        if not held:
            logger.error("another_supervisor_runs")
            return 1
        Supervisor(folder).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
