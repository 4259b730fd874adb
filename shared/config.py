"""Reading settings: from a mapping handed in by a composition root, each checked, each with a named error.

Owns: how a setting is read and refused, and secrets that are kept in files. Must not know: which settings exist, nor
``os.environ``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from shared.errors import Misconfigured

T = TypeVar("T")

# amqp://user@host;amqp://user@other, postgresql://user@host: who logs in, but not with what.
_LOGIN_WITHOUT_PASSWORD = re.compile(r"(://[^:@/;]+)@")
_ADDRESS = re.compile(r"(?P<of>\w+)_UR[IL]")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A view of the environment that raises Misconfigured instead of KeyError or ValueError."""

    values: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        """An address (``…_URI``, ``…_URL``) gets the password that is in the file of ``…_PASSWORD_FILE``, if any."""
        value = self.values.get(name) or default
        if value is None:
            raise Misconfigured(f"{name} is not set")
        return self._with_password(name, value)

    def secret(self, name: str) -> str | None:
        """The setting itself, or what is in the file that NAME_FILE names; None without either."""
        return self.values.get(name) or self._content(f"{name}_FILE")

    def _with_password(self, name: str, address: str) -> str:
        named = _ADDRESS.fullmatch(name)
        password = self._content(f"{named['of']}_PASSWORD_FILE") if named else None
        if password is None:
            return address
        return _LOGIN_WITHOUT_PASSWORD.sub(lambda login: f"{login[1]}:{quote(password, safe='')}@", address)

    def _content(self, name: str) -> str | None:
        """Of the file that the setting names, without the line's end that editors leave."""
        path = self.values.get(name)
        if not path:
            return None
        try:
            content = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Misconfigured(f"{name}: {path} cannot be read: {error}") from error
        if not content:
            raise Misconfigured(f"{name}: {path} is empty")
        return content

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
