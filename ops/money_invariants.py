"""Owns: what must hold of charges, refunds and the ledger, against the provider's own book.
Must not know: stock, how money is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from ops.books import Books, report

_CHARGES = "select key, amount from charges where status = 'APPROVED'"
_CHARGE_REFUNDS = "select charge_key, sum(amount) from refunds group by charge_key"
_CHARGE_ATTEMPTS = "select id::text, order_id::text from payment_attempts where kind = 'CHARGE'"
_PRICES = """
select id::text, status, price, case when status in ('CONFIRMED', 'FULFILLED') then price - refunded else 0 end
from orders
"""


def _net_charges(books: Books) -> tuple[dict[str, Decimal], dict[str, int], list[str]]:
    """Order → what the provider kept; order → number of charges; keys that belong to no attempt of ours."""
    order_of = dict(books.rows("payment", _CHARGE_ATTEMPTS))
    refunded = dict(books.rows("psp", _CHARGE_REFUNDS))
    net: dict[str, Decimal] = {}
    charges: Counter[str] = Counter()
    foreign = []
    for key, amount in books.rows("psp", _CHARGES):
        if key not in order_of:
            foreign.append(key)
            continue
        charges[order_of[key]] += 1
        net[order_of[key]] = net.get(order_of[key], Decimal(0)) + amount - refunded.get(key, Decimal(0))
    return net, dict(charges), foreign


def charges_against_orders(books: Books) -> Iterator[str]:
    net, charges, foreign = _net_charges(books)
    yield from report("charges that no attempt of ours explains", foreign)
    yield from report("orders with more than one standing charge", [o for o, count in charges.items() if count > 1])
    orders = books.rows("order", _PRICES)
    wrong = [
        f"{order} {status}: price {price}, to be kept {kept}, provider kept {net.get(order, Decimal(0))}"
        for order, status, price, kept in orders
        if net.get(order, Decimal(0)) != kept
    ]
    yield from report("orders whose money is wrong", wrong)
    known = {order for order, *_ in orders}
    yield from report("money kept for unknown orders", [o for o, kept in net.items() if kept and o not in known])


_REFUNDS = """
select p.order_id::text, p.refunded, p.refunding, coalesce(f.amount, 0)
from payments p
left join (
    select order_id, sum(amount) as amount from refunds where status = 'SUCCEEDED' group by order_id
) f using (order_id)
where p.refunded > 0 or p.refunding > 0 or f.amount > 0
"""
# Where something is to be heard, silence counts too; orders that nobody placed hear nothing.
_HEARD = "select id::text, refunded from orders where refunded > 0 or id = any(cast(%s as uuid[]))"


def refunds_against_payments(books: Books) -> Iterator[str]:
    """Three tellings of one thing: the sum in the payment, its refunds, and what the order heard by events."""
    payments = books.rows("payment", _REFUNDS)
    unclear = [
        f"{order}: refunded {refunded}, under way {refunding}, refunds {carried_out}"
        for order, refunded, refunding, carried_out in payments
        if refunded != carried_out or refunding
    ]
    yield from report("payments that their refunds do not explain", unclear)
    given = {order: refunded for order, refunded, _, _ in payments if refunded}
    heard = books.rows("order", _HEARD, (list(given),))
    different = sorted(order for order, refunded in heard if given.get(order, Decimal(0)) != refunded)
    yield from report("orders that heard otherwise of their refunds", different)


_UNBALANCED = """
select transaction_id, sum(amount) from ledger_entries group by transaction_id, currency having sum(amount) <> 0
"""
_RECEIVABLE = """
select order_id::text, sum(amount) from ledger_entries where account = 'psp_receivable' group by order_id
"""


def ledger_against_provider(books: Books) -> Iterator[str]:
    yield from report("ledger transactions out of balance", [row[0] for row in books.rows("payment", _UNBALANCED)])
    net, _, _ = _net_charges(books)
    ours = {order: amount for order, amount in books.rows("payment", _RECEIVABLE) if amount}
    theirs = {order: amount for order, amount in net.items() if amount}
    different = sorted(order for order in ours.keys() | theirs.keys() if ours.get(order) != theirs.get(order))
    yield from report("orders whose ledger and provider's book differ", different)
