"""What the simulated provider's server does for those who ask: tokens for cards, behaviour, the book on show.

Owns: the shape of requests and answers. Must not know: sockets. No answer and no error quotes a card.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from payment_service import psp_book as book
from payment_service.psp_behaviour import behaviour_of, faults, shown
from payment_service.psp_cards import CARDS, TOKENS, CardRefused, read_card

Answer = tuple[int, dict[str, Any]]
SHOWN, MOST_SHOWN = 20, 500


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Every method answers with an HTTP status and a document. Raises SQLAlchemyError when the book is away."""

    engine: Engine
    clock: Callable[[], datetime]

    def health(self) -> Answer:
        with self.engine.connect() as connection:
            connection.execute(text("select 1"))
        return 200, {"status": "ok"}

    def tokenise(self, fields: Mapping[str, Any]) -> Answer:
        """A token that stands for the card in every charge from now on."""
        now = self.clock()
        try:
            card = read_card(fields, today=now.astimezone(UTC).date())
        except CardRefused as refused:
            return 422, {"code": "invalid_card", "title": "the card is refused", "errors": refused.errors}
        token = f"tok_{secrets.token_hex(16)}"
        with self.engine.begin() as connection:
            book.insert_token(
                connection, token=token, behaviour=card.behaviour, brand=card.brand, last4=card.last4, now=now
            )
        return 201, {"token": token, "brand": card.brand, "last4": card.last4}

    def cards(self) -> Answer:
        """The cards and tokens there are for trying out; their numbers belong to nobody."""
        cards = [
            {"number": number, "behaviour": behaviour, "token": f"tok_{behaviour}"}
            for number, behaviour in CARDS.items()
        ]
        return 200, {"cards": cards, "tokens": list(TOKENS), "expMonth": 12, "expYear": 2099, "cvc": "123"}

    def behaviour(self) -> Answer:
        with self.engine.connect() as connection:
            current = behaviour_of(book.stored_behaviour(connection))
        return 200, {"behaviour": shown(current)}

    def change_behaviour(self, changes: Mapping[str, Any]) -> Answer:
        """All of them or none."""
        wrong = faults(changes)
        if wrong:
            errors = {name[:40]: [words] for name, words in wrong.items()}
            return 422, {"code": "invalid_behaviour", "title": "nothing is changed", "errors": errors}
        with self.engine.begin() as connection:
            book.set_behaviour(connection, changes)
        return self.behaviour()

    def reset_behaviour(self) -> Answer:
        with self.engine.begin() as connection:
            book.reset_behaviour(connection)
        return self.behaviour()

    def book(self, most: int) -> Answer:
        """The newest charges with their refunds' sum and their webhooks."""
        with self.engine.connect() as connection:
            charges = book.newest_charges(connection, most)
            webhooks = book.webhooks_of(connection, [charge["key"] for charge in charges])
        told: dict[str, list[dict[str, Any]]] = {}
        for webhook in webhooks:
            told.setdefault(webhook["charge_key"], []).append(_shown(webhook, without="charge_key"))
        return 200, {"charges": [{**_shown(c), "webhooks": told.get(c["key"], [])} for c in charges]}


def _shown(row: Mapping[str, Any], without: str = "") -> dict[str, Any]:
    return {_camel(name): _plain(value) for name, value in row.items() if name != without}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
