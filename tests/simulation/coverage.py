"""Which (state, happening) pairs of the domains a run reached.

Owns: tables that count how they are asked. Must not know: rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import inventory_service.domain
import order_service.domain
import payment_service.domain

DOMAINS = {
    "order": order_service.domain,
    "inventory": inventory_service.domain,
    "payment": payment_service.domain,
}


class _Counting(dict[tuple[Any, type], Any]):
    """A transition table that remembers which pairs were decided by it."""

    def __init__(self, domain: str, rules: Mapping[Any, Any], counts: Counter[str]) -> None:
        super().__init__(rules)
        self._domain, self._counts = domain, counts

    def __getitem__(self, pair: tuple[Any, type]) -> Any:
        self._counts[label(self._domain, pair)] += 1
        return super().__getitem__(pair)


def label(domain: str, pair: tuple[Any, type]) -> str:
    state, happening = pair
    return f"{domain}: {state} + {happening.__name__}"


def all_pairs() -> list[str]:
    return [label(name, pair) for name, domain in DOMAINS.items() for pair in domain.TRANSITIONS]


@contextmanager
def recorded_transitions(counts: Counter[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, domain in DOMAINS.items():
            table = _Counting(name, domain.TRANSITIONS, counts)
            stack.enter_context(patch.object(domain, "TRANSITIONS", table))
        yield
