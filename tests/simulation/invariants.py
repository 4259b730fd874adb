"""What must be true: of every published event at once, of the stock after every step, of everything at the end.

Owns: the invariants and their names. Reads tables with SQL as an auditor would; believes no service's own answer.
Must not know: how a schedule went on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

from payment_service.domain import PSP_TIMEOUT

from .books import NOTHING, Books
from .bus import CHOREOGRAPHY
from .record import AT_REST as RESTS
from .record import KEYS, UNCHANGED, UNEXPECTED, Published, Violation
from .world import World

ONCE_PER_ORDER = (
    "ORDER_CREATED",
    "ORDER_APPROVED",
    "ORDER_CONFIRMED",
    "ORDER_FULFILLED",
    "ORDER_CANCELLED",
    "INVENTORY_COMMITTED",
    "PAYMENT_PENDING",
    "PAYMENT_SUCCESS",
)
LAST_WORDS = ("PAYMENT_SUCCESS", "PAYMENT_FAILED", "PAYMENT_CANCELLED")
"""At most one of them is ever said of a payment..."""
GIVEN_UP = {"PAYMENT_FAILED": 1, "PAYMENT_CANCELLED": 1}
"""...but a timeout is told in two words: given up, and, once the void is confirmed, that nothing was taken."""


def check_always(world: World) -> None:
    """Cheap enough for after every step."""
    for name, check in ALWAYS.items():
        _run(world, name, check(world))


def check_at_rest(world: World) -> None:
    """When nothing is due any more."""
    books = Books(world)
    for name, check in AT_REST.items():
        _run(world, name, check(books))


def _run(world: World, name: str, found: Iterator[str]) -> None:
    world.tally.checks[name] += 1
    for message in found:
        raise Violation(name, world.names.known(message))


# Always


def _one_standing_charge(world: World) -> Iterator[str]:
    standing = Counter(world.charge_orders.get(key, f"no attempt of ours: {key}") for key in world.provider.standing())
    for order, count in standing.items():
        if count > 1 or order.startswith("no attempt"):
            yield f"{count} charges of {order}"


def _refunds_bounded(world: World) -> Iterator[str]:
    for key, amount in world.provider.standing().items():
        if world.provider.refunded(key) > amount:
            yield f"{world.provider.refunded(key)} of {amount} given back"


_STOCK_NOW = """
select s.item, s.on_hand, s.reserved, coalesce(h.quantity, 0)
from stock s left join (
    select l.item, sum(l.quantity) as quantity from reservations r join order_lines l using (order_id)
    where r.status = 'RESERVED' group by l.item) h using (item)
where s.reserved <> coalesce(h.quantity, 0) or s.reserved > s.on_hand or s.reserved < 0
"""


def _stock_now(world: World) -> Iterator[str]:
    room = world.rooms["inventory_service"]
    if room.is_checked:
        return
    room.is_checked = True
    for item, on_hand, reserved, held in room.store.rows(_STOCK_NOW):
        yield f"{item}: on hand {on_hand}, reserved {reserved}, open reservations {held}"


# At rest


def _accepted_orders_exist(books: Books) -> Iterator[str]:
    for order_id in books.world.order_ids():
        if order_id not in books.orders:
            yield f"{order_id} was accepted and is gone"


def _orders_ended(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        status, settled = order["status"], order["settled_at"] is not None
        if status not in ("CONFIRMED", "FULFILLED", "CANCELLED"):
            yield f"{order_id} is still {status}"
        elif status == "CANCELLED" and not settled and not books.refund_was_refused(order_id):
            yield f"{order_id} is cancelled and never settled (stock {order['stock']}, money {order['money']})"
        elif settled and status != "CANCELLED":
            yield f"{order_id} is {status} and settled"
        elif status == "CONFIRMED" and order["fulfil_requested_at"] is not None:
            yield f"{order_id} waits for its fulfilment for ever"


def _services_agree(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        holding = books.holdings.get(order_id, {}).get("status")
        payment = books.payments.get(order_id, {}).get("status")
        if order["status"] == "CONFIRMED":
            wanted_holding, wanted_payment = {"HELD"}, {"SUCCEEDED", "PARTIALLY_REFUNDED"}
        elif order["status"] == "FULFILLED":
            wanted_holding = {"COMMITTED"}
            wanted_payment = {"SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"}
        else:
            wanted_holding, wanted_payment = {"RELEASED", "REJECTED"}, {"FAILED", "CANCELLED", "REFUNDED"}
            if books.refund_was_refused(order_id):
                wanted_payment |= {"SUCCEEDED", "PARTIALLY_REFUNDED"}
        if holding not in wanted_holding or payment not in wanted_payment:
            yield f"{order_id} is {order['status']}, its stock {holding}, its payment {payment}"


def _settled_when_both_are_known(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        settled_at = order["settled_at"]
        told = [row for row in books.timeline if row["order_id"] == order_id and row["source"] != "order_service"]
        before = [row for row in told if settled_at is not None and row["recorded_at"] <= settled_at]
        if settled_at is not None and not any(_frees_stock(row) for row in before):
            yield f"{order_id} was settled before its stock was known to be free"
        if settled_at is not None and not any(_ends_money(row, order["price"]) for row in before):
            yield f"{order_id} was settled before its money was known to be back or not taken"


def _frees_stock(row: dict[str, Any]) -> bool:
    if row["event_type"] == "INVENTORY_REFUNDED":
        return bool(row["payload"]["reason"] != "expired")
    return bool(row["event_type"] == "INVENTORY_REJECTED")


def _ends_money(row: dict[str, Any], price: Decimal) -> bool:
    if row["event_type"] == "PAYMENT_REFUNDED":
        return bool(Decimal(row["payload"]["totalRefunded"]) == price)
    if row["event_type"] == "PAYMENT_FAILED":
        return bool(row["payload"]["reason"] != PSP_TIMEOUT)
    return bool(row["event_type"] == "PAYMENT_CANCELLED")


def _flags_are_explained(books: Books) -> Iterator[str]:
    """Everything came in the end: only a refund that was refused is left for an operator."""
    for order_id, order in books.orders.items():
        if order["flag"] is not None and not books.refund_was_refused(order_id):
            yield f"{order_id} is flagged {order['flag']}"


def _returns_are_right(books: Books) -> Iterator[str]:
    shipped = Counter({(row["order_id"], row["item"]): row["quantity"] for row in books.items})
    refunds = {row["id"]: row for row in books.refunds}
    taken_back = {(row["return_id"], row["item"]): row for row in books.taken_back}
    asked: Counter[tuple[str, str]] = Counter()
    for row in books.returns:
        asked[row["order_id"], row["item"]] += row["quantity"]
        known = taken_back.pop((row["id"], row["item"]), None)
        if known is None or (known["quantity"], known["restocked"]) != (row["quantity"], row["restock"]):
            yield f"return {row['id']}: inventory has {known} for {row['quantity']} {row['item']}"
        refund = refunds.get(row["id"])
        status = refund["status"] if refund else None
        wanted = {"REFUNDED": "SUCCEEDED", "REFUND_FAILED": "FAILED", "COMPLETED": None}.get(row["status"], "no such")
        if status != wanted:
            yield f"return {row['id']} is {row['status']}, its refund {status}"
    yield from (f"inventory took back {key}, which nobody returned" for key in taken_back)
    yield from (f"{count} of {key} came back" for key, count in asked.items() if count > shipped[key])


def _paid_reservations_never_expire(books: Books) -> Iterator[str]:
    for row in books.reservations:
        if row["status"] == "RESERVED" and row["expires_at"] is not None:
            yield f"{row['order_id']} is held until {row['expires_at']}, which is over or will never be looked at"


def _stock_is_explained(books: Books) -> Iterator[str]:
    moved: dict[str, Counter[str]] = defaultdict(Counter)
    for row in books.movements:
        moved[row["item"]]["on_hand"] += row["delta_on_hand"]
        moved[row["item"]]["reserved"] += row["delta_reserved"]
        moved[row["item"]][row["kind"]] += row["delta_on_hand"]
    held: Counter[str] = Counter()
    open_ids = [row["order_id"] for row in books.reservations if row["status"] == "RESERVED"]
    lines = books.rows("inventory_service", "select * from order_lines")
    for line in lines:
        held[line["item"]] += line["quantity"] * open_ids.count(line["order_id"])
    for item, row in books.stock.items():
        kinds = moved[item]
        explained = kinds["initial"] + kinds["committed"] + kinds["returned"] + kinds["adjusted"]
        if not row["on_hand"] == explained == kinds["on_hand"]:
            yield f"{item}: on hand {row['on_hand']}, movements say {explained}"
        if not row["reserved"] == kinds["reserved"] == held[item]:
            yield f"{item}: reserved {row['reserved']}, movements {kinds['reserved']}, reservations {held[item]}"


def _never_oversold(books: Books) -> Iterator[str]:
    on_hand: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    for row in books.movements:
        on_hand[row["item"]] += row["delta_on_hand"]
        reserved[row["item"]] += row["delta_reserved"]
        if not 0 <= reserved[row["item"]] <= on_hand[row["item"]]:
            yield f"{row['item']}: {reserved[row['item']]} of {on_hand[row['item']]} reserved"


def _stock_held_for_living_orders(books: Books) -> Iterator[str]:
    for row in books.reservations:
        if row["status"] == "RESERVED" and books.orders.get(row["order_id"], {}).get("status") != "CONFIRMED":
            yield f"{row['order_id']} holds stock and is not confirmed"


def _given_back_once(books: Books) -> Iterator[str]:
    moved = Counter(
        (row["order_id"], row["generation"], row["item"], row["delta_reserved"] > 0)
        for row in books.movements
        if row["order_id"] and row["delta_reserved"]
    )
    for (order_id, generation, item, is_taking), count in moved.items():
        if count > 1:
            yield f"{item} {'taken' if is_taking else 'given back'} {count} times for {order_id}, {generation}"
        if not is_taking and not moved[order_id, generation, item, True]:
            yield f"{item} given back for {order_id}, {generation}, and never taken"


def _money_is_right(books: Books) -> Iterator[str]:
    returned: dict[str, Decimal] = defaultdict(Decimal)
    for row in books.refunds:
        if row["status"] == "SUCCEEDED":
            returned[row["order_id"]] += row["amount"]
    for order_id, order in books.orders.items():
        kept = books.kept.get(order_id, NOTHING)
        is_paid = order["status"] in ("CONFIRMED", "FULFILLED")
        wanted = order["price"] - returned[order_id] if is_paid else NOTHING
        if kept != wanted and not (not is_paid and books.refund_was_refused(order_id)):
            yield f"{order_id} {order['status']}: the provider kept {kept} instead of {wanted}"
    for order_id, kept in books.kept.items():
        if kept and order_id not in books.orders and not books.refund_was_refused(order_id):
            yield f"the provider kept {kept} of {order_id}, which nobody placed"


def _ledger_balances(books: Books) -> Iterator[str]:
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    receivable: dict[str, Decimal] = defaultdict(Decimal)
    for row in books.ledger:
        sums[row["transaction_id"], row["currency"]] += row["amount"]
        if row["account"] == "psp_receivable":
            receivable[row["order_id"]] += row["amount"]
    for (transaction, _), amount in sums.items():
        if amount:
            yield f"transaction {transaction} is {amount} out of balance"
    for order_id in receivable.keys() | books.kept.keys():
        if receivable[order_id] != books.kept.get(order_id, NOTHING):
            yield f"{order_id}: ledger {receivable[order_id]}, provider {books.kept.get(order_id, NOTHING)}"


def _payments_add_up(books: Books) -> Iterator[str]:
    for order_id, payment in books.payments.items():
        refunded = sum(
            (r["amount"] for r in books.refunds if r["order_id"] == order_id and r["status"] == "SUCCEEDED"), NOTHING
        )
        if payment["refunded"] != refunded:
            yield f"{order_id}: refunded {payment['refunded']}, its refunds add up to {refunded}"


def _no_work_is_left(books: Books) -> Iterator[str]:
    for row in books.attempts:
        if row["ended_at"] is None:
            yield f"attempt {row['id']} {row['kind']} of {row['order_id']} is {row['status']} for ever"


def _all_is_published(books: Books) -> Iterator[str]:
    for service in CHOREOGRAPHY.services:
        for row in books.rows(service, "select event_id, event_type, aggregate_id, published_at from outbox"):
            if row["published_at"] is None:
                yield f"{row['event_type']} of {row['aggregate_id']} was never published"
            elif row["event_id"] not in books.world.published:
                yield f"{row['event_type']} of {row['aggregate_id']} is marked as published and never was"


def _no_dead_letters(books: Books) -> Iterator[str]:
    for queue, message in books.world.bus.dead:
        yield f"{queue}: {message.headers.get('x-error')}"


def _timelines_are_complete(books: Books) -> Iterator[str]:
    seen = Counter((row["order_id"], row["event_id"]) for row in books.timeline)
    for (order_id, event_id), count in seen.items():
        if count > 1:
            yield f"{event_id} stands {count} times in the timeline of {order_id}"
    for event_id, event in books.world.published.items():
        if event.order_id is not None and _belongs(event) and not seen[event.order_id, event_id]:
            yield f"{event.type} {event_id} is missing in the timeline of {event.order_id}"


def _belongs(event: Published) -> bool:
    consumers = {consumer.service for consumer in CHOREOGRAPHY.events[event.type].consumers}
    return event.source == "order_service" or "order_service" in consumers


def _causes_come_first(books: Books) -> Iterator[str]:
    recorded = {(row["order_id"], row["event_id"]): row for row in books.timeline}
    for row in books.timeline:
        cause = recorded.get((row["order_id"], row["causation_id"]))
        is_foreign = row["causation_id"] is None or row["causation_id"] in books.world.foreign_ids
        if cause is None and not is_foreign and row["order_id"] in books.orders:
            yield f"{row['event_type']} of {row['order_id']} has a cause that the timeline does not know"
        if cause is not None and cause["source"] == row["source"] and cause["occurred_at"] > row["occurred_at"]:
            yield f"{row['event_type']} of {row['order_id']} happened before its cause {cause['event_type']}"


def _said_once(books: Books) -> Iterator[str]:
    """Of a stranger's order ORDER_CANCELLED answers each reservation: nothing is remembered of it."""
    for order_id, counts in books.by_order.items():
        if order_id not in books.orders:
            continue
        for type_ in ONCE_PER_ORDER:
            if counts[type_] > 1:
                yield f"{counts[type_]} different {type_} of {order_id}"
        words = {type_: counts[type_] for type_ in LAST_WORDS if counts[type_]}
        if sum(words.values()) > 1 and not (words == GIVEN_UP and _timed_out(books, order_id)):
            yield f"a payment with more than one last word, {words}, of {order_id}"
        if counts["ORDER_CANCELLED"] != (books.orders[order_id]["status"] == "CANCELLED"):
            yield f"{counts['ORDER_CANCELLED']} ORDER_CANCELLED of {order_id}"


def _timed_out(books: Books, order_id: str) -> bool:
    events = books.world.published.values()
    return any(e.order_id == order_id and e.payload.get("reason") == PSP_TIMEOUT for e in events)


def _history_is_straight(books: Books) -> Iterator[str]:
    for order_id, order in books.orders.items():
        steps = books.history[order_id]
        statuses = [row["status"] for row in steps]
        if len(statuses) != len(set(statuses)) or statuses[-1] != order["status"] or statuses[0] != "PENDING":
            yield f"{order_id} went {' → '.join(statuses)} and is {order['status']}"
        for before, after in pairwise(steps):
            if after["from_status"] != before["status"]:
                yield f"{order_id} went from {after['from_status']}, after {before['status']}"


def _answers_are_declared(books: Books) -> Iterator[str]:
    published = books.world.published
    for event in published.values():
        cause = published.get(event.causation_id or "")
        if cause is None:
            continue
        books.world.tally.answers[f"{cause.type} → {event.source}: {event.type}"] += 1
        if (event.source, cause.type, event.type) not in DECLARED_ANSWERS:
            yield f"{event.source} answers {cause.type} with {event.type}"


DECLARED_ANSWERS = {
    (consumer.service, event.type, answer)
    for event in CHOREOGRAPHY.events.values()
    for consumer in event.consumers
    for answer in consumer.answers
}


def _price_lists_agree(books: Books) -> Iterator[str]:
    columns = "item, version, name, seller_id, price, currency, active, requires_approval"
    ours, theirs = (
        {row["item"]: row for row in books.rows(service, f"select {columns} from products")}  # noqa: S608
        for service in ("order_service", "inventory_service")
    )
    yield from (f"{item}: {ours.get(item)}, inventory: {row}" for item, row in theirs.items() if ours.get(item) != row)


def _one_key_one_answer(books: Books) -> Iterator[str]:
    keyed = 0
    for request in books.world.requests:
        ids = {_made(answer) for answer in request.answers} if request.key else set()
        if len(ids) > 1:
            yield f"{request.name} with one key was answered with {sorted(ids)}"
        keyed += request.name == "place_order"
    if len(books.orders) > keyed:
        yield f"{len(books.orders)} orders of {keyed} keys"


def _made(answer: dict[str, Any]) -> str:
    """The id of what a keyed request made or changed."""
    return next(str(value["id" if "id" in value else "item"]) for name, value in answer.items() if name != "replayed")


def _promises_are_kept(books: Books) -> Iterator[str]:
    for request in books.world.requests:
        if request.answers and request.name in PROMISES:
            order = books.orders[str(request.arguments["order_id"])]
            if not PROMISES[request.name](order):
                yield f"{request.name} of {order['id']} was granted: {order['status']} ({order['reason']})"


PROMISES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "cancel_order": lambda order: order["status"] == "CANCELLED",
    "decline_order": lambda order: order["status"] == "CANCELLED" and order["approved_at"] is None,
    "approve_order": lambda order: order["approved_at"] is not None,
    "fulfil_order": lambda order: order["status"] == "FULFILLED" or order["reason"] == "reservation_expired",
    "return_order": lambda order: order["status"] == "FULFILLED",
}


AT_REST: dict[str, Callable[[Books], Iterator[str]]] = {
    "no accepted order is lost": _accepted_orders_exist,
    "every order ends, and a cancelled one is settled": _orders_ended,
    "order, stock and payment agree": _services_agree,
    "settled when stock and money are known": _settled_when_both_are_known,
    "flags are explained": _flags_are_explained,
    "returns are taken back and refunded once": _returns_are_right,
    "what is held in the end is paid and does not expire": _paid_reservations_never_expire,
    "stock is what its movements and reservations say": _stock_is_explained,
    "never oversold at any moment": _never_oversold,
    "stock is held for confirmed orders only": _stock_held_for_living_orders,
    "stock is given back once per generation": _given_back_once,
    "the provider kept the price less refunds, or nothing": _money_is_right,
    "the ledger balances and equals the provider's book": _ledger_balances,
    "refunds add up": _payments_add_up,
    "no attempt is left open": _no_work_is_left,
    "every event of an outbox was published": _all_is_published,
    "no dead letters": _no_dead_letters,
    "timelines are complete": _timelines_are_complete,
    "no effect without or before its cause": _causes_come_first,
    "the last word is said once": _said_once,
    "status goes forward, step by step": _history_is_straight,
    "only declared answers are given": _answers_are_declared,
    "price lists agree": _price_lists_agree,
    KEYS: _one_key_one_answer,
    "what was answered stays true": _promises_are_kept,
}
ALWAYS: dict[str, Callable[[World], Iterator[str]]] = {
    "at most one charge of an order stands at the provider": _one_standing_charge,
    "never more given back than was charged": _refunds_bounded,
    "reserved stock is what open reservations say": _stock_now,
}
ALL = (*ALWAYS, *AT_REST)
OTHERS = (UNCHANGED, UNEXPECTED, RESTS)
"""Broken where they are seen; nobody counts how often they held."""
