"""Phase ``relay``: one relay takes a full outbox to the broker.

Owns: relay_msgs_per_s. Must not know: how the relay does it.

Nobody consumes meanwhile: what is measured is reading, publishing with confirms into a quorum queue, and marking.
"""

from __future__ import annotations

from datetime import timedelta

from benchmarks import alone
from benchmarks.bench import SETTLE_S, Bench, CannotMeasure, Measured
from benchmarks.orders import place_in_bulk, wait_until_ended
from benchmarks.preload import copying
from benchmarks.preload.preload import drop_templates, prepare_copy, session
from benchmarks.preload.tables import Table
from ops.management import ManagementApi
from ops.waiting import holds_within

TEMPLATE = 1_000
_EVENT = "ORDER_CREATED"
_EVENTS = f"event_type = '{_EVENT}'"
_NEWEST = f"id in (select id from outbox where {_EVENTS} order by id desc limit {TEMPLATE})"  # noqa: S608
_MARKS = {"slot": "%(slot)s", "back": "%(back)s"}
_UNPUBLISHED = "select count(*) from outbox where published_at is null"
# A window is marked at one moment. The first one carries what went before: connecting, being elected.
_PUBLISHED = """
with windows as (
    select published_at, count(*) as events from outbox where id > %s and published_at is not null group by 1
)
select sum(events) - (select events from windows order by published_at limit 1),
       extract(epoch from max(published_at) - min(published_at))
from windows
"""


def measure(bench: Bench) -> Measured:
    known = bench.books.number("order", f"select count(*) from outbox where {_EVENTS}")  # noqa: S608
    if known < TEMPLATE:
        with bench.rpc() as rpc:
            place_in_bulk(rpc, bench.items, TEMPLATE, bench.chance)
    wait_until_ended(bench.books)
    with alone.only_servers(bench):
        last_id = bench.books.number("order", "select max(id) from outbox")
        _fill(bench, bench.sizes.relay_rows // TEMPLATE)
        with alone.running(bench.stack, "order_relay") as pid, bench.cpu({pid: "order_relay"}) as spent:
            _wait_until_published(bench)
        events, seconds = bench.books.rows("order", _PUBLISHED, (last_id,))[0]
        _empty(bench, last_id)
    return Measured(
        figures={
            "relay_msgs_per_s": round(float(events) / float(seconds), 1),
            "relay_cpu_us_per_msg": {name: round(s * 1e6 / bench.sizes.relay_rows, 1) for name, s in spent.items()},
        },
        details={"events": bench.sizes.relay_rows},
    )


def _fill(bench: Bench, copies: int) -> None:
    """Unpublished copies of real events, each of an order of its own that does not exist."""
    bench.say(f"filling the outbox with {copies * TEMPLATE} events")
    with session(bench.environment["ORDER_DATABASE_URL"]) as cursor:
        statement = prepare_copy(cursor, Table(name="outbox", rows=_NEWEST), _MARKS, instead={"published_at": "null"})
        for number in range(copies):
            cursor.execute(
                statement, copying.parameters(newest_ms=0x7FFF_FFFF_FFFF, number=number, step=timedelta(seconds=1))
            )
        drop_templates(cursor)
        cursor.execute("vacuum (analyze) outbox")


def _wait_until_published(bench: Bench) -> None:
    if not holds_within(lambda: bench.books.number("order", _UNPUBLISHED) == 0, timeout_s=SETTLE_S, pause_s=0.2):
        raise CannotMeasure(f"the relay did not publish everything within {SETTLE_S:.0f} s")


def _empty(bench: Bench, last_id: int) -> None:
    """As if there had been nothing: nobody may act on orders that do not exist."""
    with session(bench.environment["ORDER_DATABASE_URL"]) as cursor:
        cursor.execute("delete from outbox where id > %s", (last_id,))
    api = ManagementApi(bench.stack.administrator()["ADMIN_MANAGEMENT_URL"])
    for queue in api.queues():
        if queue["name"].endswith(f".{_EVENT}"):
            api.request("DELETE", f"/api/queues/%2F/{queue['name']}/contents")
