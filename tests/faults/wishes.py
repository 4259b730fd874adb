"""What the next customer wants, and how it behaves.

Owns: the mixture of orders. Must not know: how they are sent.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

USERS = 200
HOT_SHARE = 0.3
# Cards: what is left is charged at once.
DECLINED_SHARE, ASYNC_SHARE = 0.10, 0.05
DECLINED_CARDS = ("tok_card_declined", "tok_insufficient_funds", "tok_expired_card")
CANCEL_SHARE, REPEAT_SHARE, OTHER_BODY_SHARE, FULFIL_SHARE = 0.05, 0.05, 0.02, 0.03


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What is for sale: a few that sell out, and plenty of the others."""

    hot: Sequence[str]
    plenty: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One order, and what its customer does with it.

    ``copies``: how often the request is sent at the same time. ``is_repeated``: sent again after its answer.
    ``has_other_body``: then the key is used once more for something else. ``cancels_after_s``, ``fulfils_after_s``:
    None for not at all.
    """

    user: str
    body: Mapping[str, Any]
    copies: int
    is_repeated: bool
    has_other_body: bool
    cancels_after_s: float | None
    fulfils_after_s: float | None


def next_wish(chance: random.Random, shelf: Shelf) -> Wish:
    repeats = chance.random() < REPEAT_SHARE
    at_once = repeats and chance.random() < 0.5
    return Wish(
        user=f"customer-{chance.randrange(USERS)}",
        body={"items": _lines(chance, shelf), "paymentMethod": _card(chance)},
        copies=2 if at_once else 1,
        is_repeated=repeats and not at_once,
        has_other_body=chance.random() < OTHER_BODY_SHARE,
        cancels_after_s=chance.expovariate(2.0) if chance.random() < CANCEL_SHARE else None,
        fulfils_after_s=chance.uniform(0.5, 3.0) if chance.random() < FULFIL_SHARE else None,
    )


def _lines(chance: random.Random, shelf: Shelf) -> list[dict[str, Any]]:
    choices = shelf.hot if chance.random() < HOT_SHARE else shelf.plenty
    items = chance.sample(choices, chance.choice((1, 1, 2)))
    return [{"item": item, "quantity": chance.randint(1, 5)} for item in items]


def _card(chance: random.Random) -> str:
    draw = chance.random()
    if draw < DECLINED_SHARE:
        return chance.choice(DECLINED_CARDS)
    return "tok_async_success" if draw < DECLINED_SHARE + ASYNC_SHARE else "tok_success"


def another_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same customer, the same key, but another order."""
    first, *rest = body["items"]
    return {**body, "items": [{**first, "quantity": first["quantity"] + 1}, *rest]}
