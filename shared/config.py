"""Reading settings: from a mapping handed in by a composition root, each checked, each with a named error.

Owns: how a setting is read and refused. Must not know: which settings exist, nor ``os.environ``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Misconfigured

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A view of the environment that raises Misconfigured instead of KeyError or ValueError."""

    values: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name) or default
        if value is None:
            raise Misconfigured(f"{name} is not set")
        return value

    def seconds(self, name: str, default: float) -> float:
        """A positive number of seconds."""
        return self._number(name, float, default, lambda value: 0 < value < 10**9)

    def count(self, name: str, default: int) -> int:
        """A positive whole number."""
        return self._number(name, int, default, lambda value: 0 < value < 10**9)

    def choice(self, name: str, options: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in options:
            raise Misconfigured(f"{name} must be one of {', '.join(options)}, not {value!r}")
        return value

    def _number(self, name: str, kind: Callable[[str], T], default: T, fits: Callable[[T], bool]) -> T:
        raw = self.values.get(name)
        if not raw:
            return default
        try:
            value = kind(raw)
        except ValueError as error:
            raise Misconfigured(f"{name} must be a number, not {raw!r}") from error
        if not fits(value):
            raise Misconfigured(f"{name} is out of range: {raw}")
        return value


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """What every process of ours needs, whatever it does."""

    amqp_uri: str
    log_level: str
    log_format: str

    @classmethod
    def read(cls, source: Source) -> ProcessSettings:
        return cls(
            amqp_uri=source.text("AMQP_URI"),
            log_level=source.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
            log_format=source.choice("LOG_FORMAT", ("json", "console"), "json"),
        )
