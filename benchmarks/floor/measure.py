"""Phase ``floor``: what PostgreSQL and RabbitMQ need for the same rows and the same messages, at the least.

Owns: floor_orders_per_s and how far the saga is from it. Must not know: how rows and messages are made.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Measured, per_order_ms
from benchmarks.floor import broker, databases

_OUTBOXES = ("order.outbox", "inventory.outbox", "payment.outbox")
_INBOXES = ("order.inbox", "inventory.inbox", "payment.inbox")
_SIZE = "select avg(length(payload::text))::int from (select payload from outbox order by id desc limit 1000) newest"


def measure(bench: Bench) -> Measured:
    orders = bench.sizes.floor_orders
    rows = bench.details["saga"]["rows_per_order"]
    # What lies in a queue is what is received: an event goes to several of them, or to none.
    per_order = sum(rows[inbox]["inserted"] for inbox in _INBOXES)
    urls = databases.create(bench)
    with bench.cpu() as database_spent:
        database_per_s = databases.orders_per_s(bench, urls, orders)
    size = bench.books.number("order", _SIZE)
    with bench.cpu() as broker_spent:
        messages_per_s = broker.messages_per_s(bench.environment["AMQP_URI"], round(orders * per_order), size)
    broker_per_s = messages_per_s / per_order
    # One after the other: both would want the same cores at the same time.
    floor_per_s = 1 / (1 / database_per_s + 1 / broker_per_s)
    return Measured(
        figures={
            "floor_orders_per_s": round(floor_per_s, 1),
            "floor_databases_orders_per_s": round(database_per_s, 1),
            "floor_broker_msgs_per_s": round(messages_per_s, 1),
            "floor_share": round(bench.figures["saga_orders_per_s"] / floor_per_s, 3),
            "floor_databases_cpu_ms_per_order": per_order_ms(database_spent, orders),
            "floor_broker_cpu_ms_per_order": per_order_ms(broker_spent, orders),
        },
        details={
            "messages_per_order": per_order,
            "events_per_order": sum(rows[outbox]["inserted"] for outbox in _OUTBOXES),
            "message_bytes": size,
        },
    )
