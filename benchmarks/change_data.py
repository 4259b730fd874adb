"""How fast a connector takes changes from the log into the stream, and how late a single one arrives.

``python -m benchmarks.change_data [--rows 50000] [--single 50]``, with `ordersaga env` of a stack with --cdc in the
environment. Rows go into order_items and are deleted at the end; nothing else of the stack is touched.

Owns: this measurement. Must not know: the shop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Any
from uuid import uuid4

import pika
import psycopg2

from ops.change_data import send_command
from ops.databases import driver_url
from ops.rabbitmq import normal_uri
from shared.change_data.captured import CAPTURED, STREAM

ORDER = CAPTURED["order"]
_MANY = """
insert into order_items (order_id, item, seller_id, quantity, price)
select %s, 'item ' || n, 'benchmark', 1, 9.90 from generate_series(1, %s) n
"""
_LIMIT_S = 600.0


class Reader:
    """Counts rows of one order in the stream, from now on."""

    def __init__(self, amqp_uri: str) -> None:
        self.counts: dict[str, int] = {}
        self._connection = pika.BlockingConnection(pika.URLParameters(normal_uri(amqp_uri)))
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=5000)
        channel.basic_consume(STREAM, self._arrived, arguments={"x-stream-offset": "next"})
        self._connection.process_data_events(time_limit=0.5)

    def _arrived(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        said = json.loads(body)
        row = said.get("after") or {}
        if row.get("seller_id") == "benchmark":
            self.counts[row["order_id"]] = self.counts.get(row["order_id"], 0) + 1
        channel.basic_ack(method.delivery_tag)

    def wait_for(self, order_id: str, count: int) -> float:
        """When the last of them came."""
        deadline = time.monotonic() + _LIMIT_S
        while self.counts.get(order_id, 0) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {self.counts.get(order_id, 0)} of {count} came within {_LIMIT_S:g} s")
            self._connection.process_data_events(time_limit=0.2)
        return time.monotonic()


def catch_up(cursor: Any, reader: Reader, amqp_uri: str, rows: int) -> float:
    """Changes in a second, of ``rows`` that were written while the connector was paused; its start is not counted."""
    send_command(amqp_uri, ORDER, "pause")
    time.sleep(5)
    order_id = str(uuid4())
    cursor.execute(_MANY, (order_id, rows))
    send_command(amqp_uri, ORDER, "resume")
    began = reader.wait_for(order_id, 1)
    seconds = reader.wait_for(order_id, rows) - began
    return rows / max(seconds, 1e-9)


def delays(cursor: Any, reader: Reader, count: int) -> list[float]:
    """Milliseconds from a commit to the stream's reader, one row at a time."""
    found = []
    for _ in range(count):
        order_id = str(uuid4())
        cursor.execute(_MANY, (order_id, 1))
        committed = time.monotonic()
        found.append((reader.wait_for(order_id, 1) - committed) * 1000)
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--single", type=int, default=50)
    options = parser.parse_args()
    amqp_uri = os.environ["AMQP_URI"]
    connection = psycopg2.connect(driver_url(os.environ["ORDER_DATABASE_URL"]))
    connection.autocommit = True
    with connection.cursor() as cursor:
        reader = Reader(amqp_uri)
        per_second = catch_up(cursor, reader, amqp_uri, options.rows)
        took = delays(cursor, reader, options.single)
        cursor.execute("delete from order_items where seller_id = 'benchmark'")
    result = {
        "changes_per_second": round(per_second),
        "delay_ms": {"median": round(statistics.median(took), 1), "p95": round(took[int(len(took) * 0.95)], 1)},
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
