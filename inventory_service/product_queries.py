"""Statements of the inventory service on products, and on stock as it is shown with them; each text constant.

Owns: SQL and how rows become values. A product's row is locked alone, and never while stock is locked.
Must not know: why something is saved, who may see or change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text

from inventory_service.schemas import NewProduct
from shared.database import Transaction

_INSERT_PRODUCT = text("""
insert into products (item, version, name, seller_id, price, currency, active, requires_approval, updated_at)
values (:item, 1, :name, :seller_id, :price, :currency, true, :requires_approval, :now)
on conflict do nothing returning item
""")
_INSERT_STOCK = text("insert into stock (item, on_hand, reserved) values (:item, :on_hand, 0)")
_COLUMNS = "item, version, name, seller_id, price, currency, active, requires_approval"
_PRODUCT_FOR_UPDATE = text(f"select {_COLUMNS} from products where item = :item for update")  # noqa: S608
_UPDATE_PRODUCT = text("""
update products
set version = :version, name = :name, price = :price, currency = :currency, active = :active,
    requires_approval = :requires_approval, updated_at = :now
where item = :item
""")
_SELLERS = text("select item, seller_id from products where item = any(cast(:items as text[]))")
_PRODUCT = """
select p.item, p.version, p.name, p.seller_id, p.price, p.currency, p.active, p.requires_approval, p.updated_at,
       s.on_hand, s.reserved, s.on_hand - s.reserved as available
from products p join stock s using (item)
"""
_ONE_PRODUCT = text(f"{_PRODUCT} where p.item = :item")
_PRODUCTS = text(f"""
{_PRODUCT}
where (cast(:after as text) is null or p.item > :after)
  and (cast(:seller_id as text) is null or p.seller_id = :seller_id)
  and (cast(:item as text) is null or p.item = :item)
  and (cast(:active as boolean) is null or p.active = :active)
  and (cast(:pattern as text) is null or p.name ilike :pattern or p.item ilike :pattern)
order by p.item limit :limit
""")
_SPECIAL_IN_PATTERNS = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def insert_product(tx: Transaction, product: NewProduct) -> bool:
    """False when the item exists already."""
    inserted = tx.fetch(
        _INSERT_PRODUCT,
        item=product.item,
        name=product.name,
        seller_id=product.seller_id,
        price=product.price,
        currency=product.currency,
        requires_approval=product.requires_approval,
        now=tx.now,
    )
    if inserted:
        tx.execute(_INSERT_STOCK, item=product.item, on_hand=product.on_hand)
    return bool(inserted)


def product_for_update(tx: Transaction, item: str) -> dict[str, Any] | None:
    """Without its stock, which moves while the product stays as it is."""
    rows = tx.fetch(_PRODUCT_FOR_UPDATE, item=item)
    return dict(rows[0]._mapping) if rows else None


def update_product(tx: Transaction, product: Mapping[str, Any]) -> None:
    """``product`` as :func:`product_for_update` gave it, with its changes. Its seller stays."""
    tx.execute(_UPDATE_PRODUCT, now=tx.now, **{name: product[name] for name in product if name != "seller_id"})


def product_row(tx: Transaction, item: str) -> Mapping[str, Any] | None:
    rows = tx.fetch(_ONE_PRODUCT, item=item)
    return dict(rows[0]._mapping) if rows else None


def product_rows(
    tx: Transaction,
    *,
    limit: int,
    after: str | None,
    seller_id: str | None = None,
    item: str | None = None,
    is_active: bool | None = None,
    part: str | None = None,
) -> list[Mapping[str, Any]]:
    """Sorted by item. ``part``: of the name or the item, whatever the case."""
    rows = tx.fetch(
        _PRODUCTS,
        limit=limit,
        after=after,
        seller_id=seller_id,
        item=item,
        active=is_active,
        pattern=None if part is None else f"%{part.translate(_SPECIAL_IN_PATTERNS)}%",
    )
    return [dict(row._mapping) for row in rows]


def sellers(tx: Transaction, items: Iterable[str]) -> dict[str, str]:
    """Item → seller, for those that exist. A product's seller never changes, so nothing is locked."""
    return {row.item: row.seller_id for row in tx.fetch(_SELLERS, items=sorted(set(items)))}
