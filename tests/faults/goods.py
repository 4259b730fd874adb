"""Products of an arena: plenty of most, and five hot ones for each fault, which sell out while it happens.

Owns: making them. Must not know: who orders them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from ops.gateway_client import GatewayClient, Refused
from ops.people import SHOP, client_of

from .processes import wait_for
from .wishes import Shelf

HOT_ITEMS, PLENTIFUL_ITEMS = 5, 20
_PLENTY = 10_000_000
_KNOWN_S = 120.0


class Goods:
    """``shelf`` is what is for sale just now."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._client: GatewayClient = client_of(environment)
        self._rounds = itertools.count(1)
        plenty = [f"plenty-{number}" for number in range(PLENTIFUL_ITEMS)]
        self._make(dict.fromkeys(plenty, _PLENTY))
        self.shelf = Shelf(hot=plenty[:HOT_ITEMS], plenty=plenty)

    def renew_hot(self, chance: random.Random, units: int) -> None:
        """Five new items, about ``units`` of each; for sale when this returns."""
        number = next(self._rounds)
        stock = {f"hot-{number}-{i}": chance.randint(units // 2, units) for i in range(HOT_ITEMS)}
        self._make(stock)
        self.shelf = Shelf(hot=list(stock), plenty=self.shelf.plenty)

    def _make(self, stock: Mapping[str, int]) -> None:
        """Patiently: something may still be coming back."""
        for item, units in stock.items():
            product = {"item": item, "name": item, "sellerId": SHOP, "price": "10.00", "currency": "EUR"}
            wanted = {**product, "onHand": units}
            wait_for(partial(self._is_made, wanted), f"{item} can be made", timeout_s=_KNOWN_S)
        wait_for(lambda: self._can_be_ordered(list(stock)), "the products are for sale", timeout_s=_KNOWN_S)

    def _is_made(self, product: Mapping[str, Any]) -> bool:
        try:
            self._client.post("/products", product, key=f"make-{product['item']}")
        except Refused as refused:
            is_under_way = refused.code == "idempotency_key_in_progress"
            if refused.status < HTTPStatus.INTERNAL_SERVER_ERROR and not is_under_way:
                raise
            return False
        except OSError:
            return False
        return True

    def _can_be_ordered(self, items: Sequence[str]) -> bool:
        with suppress(OSError):
            return self._client.can_order(items)
        return False
