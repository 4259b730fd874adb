"""Owns: a pass of reconciliation, page by page through the gateway, and looking again at what was unsettled.
Must not know: screens, metrics, what differs in what.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PATH = "/admin/reconcile"
AT_ONCE = 50
_AGAIN_AFTER_S = 2.0
Found = Mapping[str, Any]


class Operator(Protocol):
    """See ops.operator_client.OperatorClient, which is one."""

    def get(self, path: str, **query: object) -> Any: ...

    def post(self, path: str, body: Mapping[str, Any], *, key: str | None = None) -> Any: ...


@dataclass(kw_only=True)
class Pass:
    """What came of it so far. ``watermark`` is there once it has ended: where the next one begins."""

    checked: Counter[str] = field(default_factory=Counter)
    found: dict[tuple[Any, ...], Found] = field(default_factory=dict)
    unsettled: dict[str, None] = field(default_factory=dict)
    watermark: str | None = None

    @property
    def discrepancies(self) -> list[Found]:
        return list(self.found.values())

    def add(self, page: Mapping[str, Any]) -> None:
        self.checked.update(page["checked"])
        self.found |= {key_of(found): found for found in page["discrepancies"]}
        self.unsettled |= dict.fromkeys(page["unsettled"])

    def look_again(self, operator: Operator, order_ids: Sequence[str], quiet_s: int) -> None:
        """What is known of these orders is what is found now."""
        for ids in _chunks(order_ids):
            answer = operator.get(f"{PATH}/orders", ids=",".join(ids), quiet=quiet_s)
            self.forget(ids)
            self.add({**answer, "checked": {}})

    def forget(self, order_ids: Iterable[str]) -> None:
        gone = set(order_ids)
        self.found = {key: found for key, found in self.found.items() if found["orderId"] not in gone}
        for order_id in gone:
            self.unsettled.pop(order_id, None)


def key_of(found: Found) -> tuple[Any, ...]:
    return found["code"], found["orderId"], found["subject"]


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]


def run_pass(
    operator: Operator,
    *,
    quiet_s: int,
    since: str | None = None,
    ago_s: int | None = None,
    full: bool = False,
    limit: int = 200,
    on_page: Callable[[Pass, str], None] = lambda _pass, _stage: None,
) -> Pass:
    """All pages, one after the other; ``on_page`` is told after each. Raises what ``operator`` raises."""
    ended = Pass()
    where: dict[str, object] = {"since": since, "ago": ago_s, "full": "true" if full else None}
    while True:
        page = operator.get(PATH, quiet=quiet_s, limit=limit, **where)
        ended.add(page)
        on_page(ended, page["stage"])
        if page["nextCursor"] is None:
            ended.watermark = page["watermark"]
            return ended
        where = {"cursor": page["nextCursor"]}


def settle(operator: Operator, ended: Pass, *, quiet_s: int, patience_s: float) -> None:
    """Look at what was unsettled until nothing is, or for ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while ended.unsettled and time.monotonic() < deadline:
        time.sleep(_AGAIN_AFTER_S)
        ended.look_again(operator, list(ended.unsettled), quiet_s)


def repair(operator: Operator, found: Found, *, quiet_s: int) -> Mapping[str, Any]:
    """The gateway's answer. Raises what ``operator`` raises."""
    wanted = {"code": found["code"], "orderId": found["orderId"], "subject": found["subject"], "quiet": quiet_s}
    answer: Mapping[str, Any] = operator.post(f"{PATH}/repairs", wanted)
    return answer
