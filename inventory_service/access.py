"""Who may do what with products, stock and reservations. Pure but for identities and errors.

Owns: the rights. Products are there for all to see; a reservation is seen by its customer, its seller and operators.
Must not know: how rows are found, what is done once it is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import Forbidden
from shared.identity import Identity, Party, Role


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Rows that somebody may see: those of one customer, of one seller, or of both; None is whoever it is."""

    user_id: str | None = None
    seller_id: str | None = None


def require_stock_keeper(caller: Identity) -> None:
    """Raises Forbidden to whoever neither sells nor operates."""
    if not caller.has(Role.SELLER, Role.ADMIN):
        raise Forbidden("products and stock are for sellers and operators")


def require_seller_of(caller: Identity, sellers: Mapping[str, str]) -> None:
    """``sellers``: item → who sells it. Raises Forbidden to whoever does not sell all of these, nor operates."""
    foreign = [
        item for item, seller in sorted(sellers.items()) if not caller.parties_to(user_id=None, seller_id=seller)
    ]
    if foreign:
        raise Forbidden(f"another seller's: {', '.join(foreign)}", {"items": foreign})


def may_end_holds(parties: tuple[Party, ...]) -> bool:
    return Party.SELLER in parties or Party.OPERATOR in parties


def stock_scope(caller: Identity, seller_id: str | None) -> Scope | None:
    """Whose stock is shown, where ``seller_id`` is asked for; None: nobody's. Raises Forbidden."""
    require_stock_keeper(caller)
    return Scope(seller_id=seller_id) if caller.has(Role.ADMIN) else _own_shop(caller, seller_id)


def reservation_scopes(caller: Identity, seller_id: str | None) -> tuple[Scope, ...]:
    """Whose reservations are shown: what is in any of these. ``seller_id``: only that seller's are asked for."""
    if caller.has(Role.ADMIN):
        return (Scope(seller_id=seller_id),)
    as_customer = Scope(user_id=caller.subject, seller_id=seller_id) if caller.has(Role.USER) else None
    as_seller = _own_shop(caller, seller_id) if caller.has(Role.SELLER) else None
    return tuple(scope for scope in (as_customer, as_seller) if scope is not None)


def _own_shop(caller: Identity, seller_id: str | None) -> Scope | None:
    if caller.seller_id is None or seller_id not in (None, caller.seller_id):
        return None
    return Scope(seller_id=caller.seller_id)
