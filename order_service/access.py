"""Who may do what with orders and carts.

Owns: which party may ask what of an order, in whose name something is ordered, what a stranger is told.
Must not know: how anybody proved who they are (the gateway), whether the order's state allows it (domain.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.errors import CartNotFound, Forbidden, InvalidRequest, OrderNotFound
from shared.identity import Identity, Party, Role

ENTITLED: Mapping[str, tuple[Party, ...]] = {
    "cancel_order": (Party.CUSTOMER, Party.SELLER, Party.OPERATOR),
    "approve_order": (Party.SELLER,),
    "decline_order": (Party.SELLER,),
    "fulfil_order": (Party.SELLER,),
    "return_order": (Party.SELLER,),
}
"""Request → who may ask it of their own order. Somebody who is more than one of them asks as the first."""


def refuse_stranger(caller: Identity, row: Mapping[str, Any]) -> tuple[Party, ...]:
    """What ``caller`` is to the order in ``row``. Raises OrderNotFound for who is nothing to it."""
    parties = caller.parties_to(user_id=row["user_id"], seller_id=row["seller_id"])
    if not parties:
        raise order_not_found(row["id"])
    return parties


def order_not_found(order_id: object) -> OrderNotFound:
    """The same for an order that does not exist and for somebody else's."""
    return OrderNotFound("no such order", {"id": str(order_id)[:64]})


def party_for(caller: Identity, request: str, row: Mapping[str, Any], by: Party | None) -> Party:
    """As whom ``caller`` asks ``request`` of the order in ``row``; ``by`` is as whom they wish to.

    Raises OrderNotFound for a stranger, Forbidden for who may see the order but not ask this.
    """
    parties, entitled = refuse_stranger(caller, row), ENTITLED[request]
    if caller.is_trusted:
        return by or entitled[0]
    able = [party for party in entitled if party in parties]
    if not able:
        raise Forbidden(f"{request} is for the order's {' or '.join(entitled)}")
    if by is not None and by not in able:
        raise Forbidden(f"you are not the order's {by}")
    return by or able[0]


def customer_of(caller: Identity, user_id: str | None) -> str:
    """In whose name ``caller`` orders; ``user_id`` is what the request says, if it says it.

    Raises Forbidden for another one's name, InvalidRequest where nobody is named.
    """
    if not caller.has(Role.USER):
        raise Forbidden("orders and carts are made by customers")
    if caller.is_trusted:
        if user_id is None:
            raise InvalidRequest("userId is missing", {"errors": {"userId": ["Missing data for required field."]}})
        return user_id
    if user_id not in (None, caller.subject):
        raise Forbidden("everybody orders in their own name")
    return caller.subject


def refuse_stranger_to_cart(caller: Identity, cart_id: UUID, user_id: str, *, to_change: bool) -> None:
    """``user_id`` is whose cart it is. Raises CartNotFound for a stranger, Forbidden for an operator who changes it."""
    parties = caller.parties_to(user_id=user_id, seller_id=None)
    if not parties:
        raise cart_not_found(cart_id)
    if to_change and Party.CUSTOMER not in parties:
        raise Forbidden("only its customer changes a cart")


def cart_not_found(cart_id: object) -> CartNotFound:
    """The same for a cart that does not exist and for somebody else's."""
    return CartNotFound("no such cart", {"id": str(cart_id)[:64]})


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """Whose orders somebody sees: all, those that ``user_id`` placed, those that ``seller_id`` sells."""

    sees_all: bool = False
    user_id: str | None = None
    seller_id: str | None = None


def sight_of(caller: Identity) -> Sight:
    """The orders that ``caller`` is a party to, as `Identity.parties_to` says it of one."""
    if caller.has(Role.ADMIN):
        return Sight(sees_all=True)
    return Sight(
        user_id=caller.subject if caller.has(Role.USER) else None,
        seller_id=caller.seller_id if caller.has(Role.SELLER) else None,
    )


def refuse_all_but_operators(caller: Identity) -> None:
    """Raises Forbidden."""
    if not caller.has(Role.ADMIN):
        raise Forbidden("this is for operators")
