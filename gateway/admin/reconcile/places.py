"""How far a pass has come, as a text that its client sends back. Pure.

Owns: the stages of a pass, the form of cursors and watermarks. Must not know: what is done at a stage.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.errors import InvalidRequest

WALKED = ("orders", "goods", "money", "book", "items")
STAGES = (*WALKED, "house")
"""Orders as the order service knows them, inventory, payment, the provider's book; then items, queues and outboxes."""
_LONGEST = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """``at``: how far each stage was walked. ``heads``: where a full pass began, for what changes meanwhile.

    ``ago_s``: from when on changes are looked at where a stage has no place yet.
    """

    stage: str = STAGES[0]
    is_full: bool = False
    ago_s: int | None = None
    at: Mapping[str, str] = field(default_factory=dict)
    heads: Mapping[str, str] = field(default_factory=dict)

    def walked_to(self, after: str | None) -> Place:
        return replace(self, at={**self.at, self.stage: after}) if after is not None else self

    def next_stage(self) -> Place | None:
        """None after the last one."""
        following = STAGES.index(self.stage) + 1
        return replace(self, stage=STAGES[following]) if following < len(STAGES) else None

    @property
    def watermark(self) -> str:
        """Where the next pass goes on, once this one has ended."""
        return _write({"at": dict(self.heads if self.is_full else self.at)})

    @property
    def cursor(self) -> str:
        said = {"stage": self.stage, "full": self.is_full, "at": dict(self.at), "heads": dict(self.heads)}
        return _write({**said, "ago": self.ago_s})


def read_cursor(text: str) -> Place:
    """Raises InvalidRequest unless it is a :attr:`Place.cursor`."""
    said = _read("cursor", text)
    stage, is_full, ago_s = said.get("stage"), said.get("full"), said.get("ago")
    if stage not in STAGES or not isinstance(is_full, bool) or not (ago_s is None or type(ago_s) is int):
        raise _not_ours("cursor")
    at, heads = _places("cursor", said.get("at")), _places("cursor", said.get("heads"))
    return Place(stage=stage, is_full=is_full, ago_s=ago_s, at=at, heads=heads)


def read_watermark(text: str) -> Place:
    """Where an incremental pass begins. Raises InvalidRequest unless it is a :attr:`Place.watermark`."""
    return Place(at=_places("since", _read("since", text).get("at")))


def _write(said: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(name: str, text: str) -> Mapping[str, Any]:
    try:
        said = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _not_ours(name) from error
    if not isinstance(said, dict) or len(text) > _LONGEST:
        raise _not_ours(name)
    return said


def _places(name: str, said: Any) -> Mapping[str, str]:
    if not isinstance(said, dict) or any(k not in WALKED or not isinstance(v, str) for k, v in said.items()):
        raise _not_ours(name)
    return said


def _not_ours(name: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is not one of ours", {"errors": {name: ["Not from an answer of this API."]}})
