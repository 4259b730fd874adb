"""Owns: the one error the local stack shows to people. Must not know: how it is printed."""

from pathlib import Path

_LOG_LINES_SHOWN = 12


class StackError(Exception):
    """What went wrong in one sentence, and what to do about it or which log to read."""

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log

    def log_tail(self) -> list[str]:
        """The last lines of the log that explains the error; empty when there is none."""
        return [] if self.log is None else last_lines(self.log, _LOG_LINES_SHOWN)


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a text file, reading at most 64 KB of it; empty if it cannot be read."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - 65_536))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-count:] if count > 0 else []
