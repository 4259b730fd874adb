"""Owns: very many people who ask the gateway at a pace, each until there is an answer, and how long that took.

Must not know: what is asked, what the answers mean.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ops.distribution import percentile
from ops.open_loop import OpenLoop, Sent, post
from ops.people import people_of
from shared.identity import Identity

TRY_AGAIN = (0, 429, 503, 504)
"""No answer, or one that says later: the same request with the same key is sent again."""
_UNDER_WAY = b'"idempotency_key_in_progress"'
_PAUSE_S = 1.0
_SHARES = (50.0, 95.0, 99.0, 100.0)
HEADINGS = ("what", "count", "p50 ms", "p95 ms", "p99 ms", "most ms")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody asks for; with its ``key`` it may be asked again."""

    path: str
    who: Identity
    key: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Granted:
    """The answer that counted, and how long it took from the moment when the first request was due."""

    status: int
    body: bytes
    waited_ms: float
    requests: int

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def ask_all(
    environment: Mapping[str, str], wishes: Sequence[Wish], *, per_s: float | None, patience_s: float
) -> list[Granted]:
    """One answer for each, in their order. The last answer of who was not answered in time may be one of TRY_AGAIN."""
    people = people_of(environment)
    requests = [
        post(wish.path, token=people.token(wish.who), key=wish.key, body=json.dumps(wish.body).encode())
        for wish in wishes
    ]
    return asyncio.run(_ask_all(environment["GATEWAY_URL"], requests, per_s, patience_s))


async def _ask_all(url: str, requests: Sequence[bytes], per_s: float | None, patience_s: float) -> list[Granted]:
    deadline_s = time.perf_counter() + patience_s
    first_due_s: dict[bytes, float] = {}
    latest: dict[bytes, Sent] = {}
    tries: Counter[bytes] = Counter()
    waiting, pace = list(requests), per_s
    while waiting:
        sent = await OpenLoop(url).run(waiting, per_s=pace)
        for one in sent:
            first_due_s.setdefault(one.request, one.due_s)
            latest[one.request] = one
            tries[one.request] += 1
        waiting = [one.request for one in sent if _is_to_be_repeated(one)]
        if time.perf_counter() > deadline_s:
            break
        await asyncio.sleep(_PAUSE_S if waiting else 0)
    return [
        Granted(
            status=latest[request].status,
            body=latest[request].body,
            waited_ms=(latest[request].answered_s - first_due_s[request]) * 1000,
            requests=tries[request],
        )
        for request in requests
    ]


def _is_to_be_repeated(one: Sent) -> bool:
    """Repeated after no answer came, the first one may still be under way."""
    return one.status in TRY_AGAIN or (one.status == HTTPStatus.CONFLICT and _UNDER_WAY in one.body)


def statuses(granted: Sequence[Granted]) -> dict[str, int]:
    """ "202", or "409 out_of_stock" → how many."""
    return dict(sorted(Counter(map(_words, granted)).items()))


def _words(one: Granted) -> str:
    return str(one.status) if one.status < 400 else f"{one.status} {one.document.get('code')}"


def latency_row(what: str, latencies_ms: Sequence[float]) -> list[str]:
    """For a table with HEADINGS."""
    ordered = sorted(latencies_ms)
    shown = [f"{percentile(ordered, share):.0f}" for share in _SHARES] if ordered else ["-"] * len(_SHARES)
    return [what, str(len(ordered)), *shown]
