"""A seller's products and their stock: create, edit, adjust, and why each unit moved.

Owns: /seller/products. Must not know: stock rules, or whose product is whose; the inventory service decides.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from gateway.access import caller
from gateway.dashboard.forms import field_messages, whole
from gateway.dashboard.pages import PageBlueprint, done, posted_key, render
from gateway.dashboard.tables import csv_of_all, wants_csv
from gateway.paths import as_item
from gateway.request_id import request_id
from gateway.services import INVENTORY_SERVICE, services
from shared.errors import Conflict, InvalidRequest, PreconditionFailed, ProductNotFound
from shared.identity import Role

blueprint = PageBlueprint("seller_products", __name__, url_prefix="/seller/products")

_AT_ONCE, _FOR_A_FILE = 25, 100
_COLUMNS = ("item", "name", "price", "currency", "active", "onHand", "reserved", "available", "updatedAt")
_MOVEMENT_COLUMNS = ("at", "kind", "deltaOnHand", "deltaReserved", "reason", "reservationId", "eventId")


@blueprint.page("", Role.SELLER, Role.ADMIN)
def list_products() -> Response:
    text = request.args.get("text") or None
    if wants_csv():
        return csv_of_all("products", _COLUMNS, lambda cursor: _products(text, cursor, _FOR_A_FILE))
    products, cursor = _products(text, request.args.get("cursor"), _AT_ONCE)
    return render(
        "seller/products.html",
        products=products,
        text=text or "",
        more=url_for(".list_products", text=text, cursor=cursor) if cursor else None,
        csv=url_for(".list_products", text=text, format="csv"),
    )


@blueprint.page("/new", Role.SELLER, Role.ADMIN)
def new() -> Response:
    return _new_form({}, {})


@blueprint.action("/new", Role.SELLER, Role.ADMIN)
def create() -> Response:
    said = request.form
    product = {
        **{name: said[name].strip() for name in ("item", "name", "price", "currency") if name in said},
        "requiresApproval": said.get("requiresApproval") == "yes",
        "onHand": whole(said.get("onHand")),
        **({"sellerId": said["sellerId"].strip()} if said.get("sellerId") else {}),
    }
    try:
        made = _ask("create_product", product=product, idempotency_key=posted_key())["product"]
    except InvalidRequest as error:
        return _new_form(said, field_messages(error), 422)
    except Conflict as error:
        return _new_form(said, {"item": error.message}, 409)
    return done(f"{made['name']} is on sale in a moment", url_for(".show", item=made["item"]))


@blueprint.page("/<item>", Role.SELLER, Role.ADMIN)
def show(item: str) -> Response:
    return _page_of(_item(item), {})


@blueprint.action("/<item>", Role.SELLER, Role.ADMIN)
def change(item: str) -> Response:
    said = request.form
    changes = {
        **{name: said[name].strip() for name in ("name", "price", "currency") if name in said},
        "active": said.get("active") == "yes",
        "requiresApproval": said.get("requiresApproval") == "yes",
    }
    versions = [version] if (version := whole(said.get("version"))) is not None else []
    try:
        _ask("update_product", item=_item(item), changes=changes, versions=versions)
    except InvalidRequest as error:
        return _page_of(_item(item), field_messages(error), 422)
    except PreconditionFailed:
        return _page_of(_item(item), {"name": "Somebody has changed it meanwhile: look, and change it again."}, 412)
    return done("Saved: new orders get it in a moment", url_for(".show", item=item))


@blueprint.action("/<item>/adjust", Role.SELLER, Role.ADMIN)
def adjust(item: str) -> Response:
    said = request.form
    adjustment = {"item": _item(item), "delta": whole(said.get("delta")), "reason": said.get("reason", "").strip()}
    _ask("adjust_stock", adjustment=adjustment, idempotency_key=posted_key())
    return done("The stock is adjusted", url_for(".show", item=item))


@blueprint.page("/<item>/movements", Role.SELLER, Role.ADMIN)
def movements(item: str) -> Response:
    if wants_csv():
        return csv_of_all("movements", _MOVEMENT_COLUMNS, lambda cursor: _movements(item, cursor, _FOR_A_FILE))
    rows, cursor = _movements(item, request.args.get("cursor"), _AT_ONCE)
    return render(
        "seller/movements.html",
        item=item,
        movements=rows,
        more=url_for(".movements", item=item, cursor=cursor) if cursor else None,
        csv=url_for(".movements", item=item, format="csv"),
    )


def _products(text: str | None, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """A seller's own, an operator's all."""
    page = services().call(
        INVENTORY_SERVICE, "list_products", limit=limit, cursor=cursor, text=text, seller_id=caller().seller_id
    )
    return page["products"], page["nextCursor"]


def _movements(item: str, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    page = services().call(INVENTORY_SERVICE, "list_movements", item=_item(item), limit=limit, cursor=cursor)
    return page["movements"], page["nextCursor"]


def _new_form(said: Any, errors: dict[str, str], status: int = 200) -> Response:
    return render("seller/new_product.html", status, said=said, errors=errors, is_operator=Role.ADMIN in caller().roles)


def _page_of(item: str, errors: dict[str, str], status: int = 200) -> Response:
    """What was typed is kept where it was refused."""
    product = services().call(INVENTORY_SERVICE, "get_product", item=item)
    rows, _ = _movements(item, None, 10)
    shown = {**product, **{name: request.form[name] for name in ("name", "price") if name in request.form}}
    return render("seller/product.html", status, product=product, shown=shown, movements=rows, errors=errors)


def _ask(method: str, **wanted: Any) -> Any:
    return services().call(INVENTORY_SERVICE, method, **wanted, correlation_id=request_id())


def _item(text: str) -> str:
    return as_item(text, ProductNotFound("There is no product with this id"))
