"""What is asked of the finance view: sums that are those of the shop, whoever asks, however old it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from harness.changes import Books, Message, moment
from harness.databases import Databases
from harness.finance import FinanceHouse, Stream, finance_database
from harness.people import CUSTOMER, EVERYTHING_BUT_OPERATOR, OPERATOR, SELLER, asks_of
from harness.processes import Processes

from gateway.rpc import RpcClient
from shared.errors import Forbidden, InvalidRequest

pytestmark = pytest.mark.integration

MARCH: dict[str, Any] = {"since": "2026-02-28", "until": "2026-05-31"}
STALE_AFTER_S = 600
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def database(stack_environment: Mapping[str, str]) -> str:
    return finance_database(stack_environment)


@pytest.fixture
def house(database: str, stack_environment: Mapping[str, str], processes: Processes) -> Iterator[FinanceHouse]:
    stream = Stream(stack_environment["AMQP_URI"])
    house = FinanceHouse(database, stream, processes)
    house.serve(FINANCE_STALE_AFTER_S=str(STALE_AFTER_S))
    yield house
    processes.stop()
    house.close()
    stream.close()


@pytest.fixture
def ask(rpc: RpcClient) -> Ask:
    return asks_of(rpc, "finance_service")


def told(house: FinanceHouse, messages: list[Message]) -> None:
    house.stream.publish(messages)
    house.feed()
    house.wait_read(len(messages))


def a_month(seed: int) -> Books:
    """Orders of two sellers in two currencies: sold, declined, cancelled, given back, on many days."""
    chance, books = Random(seed), Books()  # noqa: S311 -- a shop, no secret
    for _ in range(60):
        price, seller = f"{chance.randint(1, 9_999) / 100:.2f}", chance.choice(["potter", "smith"])
        currency = chance.choice(["EUR", "EUR", "USD"])
        match chance.randrange(4):
            case 0:
                books.order_becomes(books.place(price, seller=seller, currency=currency), "CANCELLED")
            case 1:
                gone = books.sell(price, seller=seller, currency=currency)
                books.later(hours=chance.randint(0, 30))
                books.order_becomes(gone, "CANCELLED")
                books.refund(gone, price)
            case _:
                kept = books.sell(price, seller=seller, currency=currency)
                books.later(hours=chance.randint(0, 30))
                books.order_becomes(kept, "FULFILLED")
                if chance.random() < 0.3:
                    books.refund(kept, "0.01")
        books.later(hours=chance.randint(0, 20))
    books.heartbeat()
    return books


def expected_of(books: Books) -> dict[tuple[str, str, str], dict[str, Decimal]]:
    """The same sums, from what the shop itself knows: (day, seller, currency) → what."""
    sums: dict[tuple[str, str, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for order in books.orders.values():
        of = sums[order["created_at"][:10], order["seller_id"], order["currency"]]
        of["placed"] += Decimal(order["price"])
        if order["status"] in ("CONFIRMED", "FULFILLED"):
            of["ordered"] += Decimal(order["price"])
            of["orderedCaptured"] += Decimal(order["price"])
    for entry in books.entries:
        if entry["account"] == "psp_receivable":
            seller = next(p["seller_id"] for p in books.payments.values() if p["order_id"] == entry["order_id"])
            amount = Decimal(entry["amount"])
            of = sums[entry["at"][:10], seller, entry["currency"]]
            of["captured" if amount > 0 else "refunded"] += abs(amount)
    return sums


AMOUNTS = ("placed", "ordered", "orderedCaptured", "captured", "refunded")


def figures_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Decimal]]:
    return {
        (row["day"], row["sellerId"], row["currency"]): {name: Decimal(row[name]) for name in AMOUNTS} for row in rows
    }


class TestSums:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_are_those_of_the_shop_page_by_page(self, seed: int, house: FinanceHouse, ask: Ask) -> None:
        """Given a month of business, told with the payments first, then every sum is the shop's own."""
        books = a_month(seed)
        told(house, [*books.of("payment"), *books.of("order")])

        rows, cursor = [], None
        while True:
            page = ask(OPERATOR, "finance_report", **MARCH, limit=17, cursor=cursor)
            rows += page["rows"]
            if (cursor := page["nextCursor"]) is None:
                break
        assert rows == sorted(rows, key=lambda row: (-date_number(row["day"]), row["sellerId"], row["currency"]))
        expected = {of: {name: sums[name] for name in AMOUNTS} for of, sums in expected_of(books).items()}
        assert figures_of(rows) == expected
        for row in rows:
            assert Decimal(row["net"]) == Decimal(row["captured"]) - Decimal(row["refunded"])
            assert Decimal(row["notCaptured"]) == Decimal(row["ordered"]) - Decimal(row["orderedCaptured"])
        for total in page["totals"]:
            of = [sums for (_, _, currency), sums in expected.items() if currency == total["currency"]]
            assert {name: Decimal(total[name]) for name in AMOUNTS} == {n: sum(s[n] for s in of) for n in AMOUNTS}
        assert ask(OPERATOR, "finance_differences", **MARCH)["orders"] == []

    def test_filters_narrow_rows_and_totals(self, house: FinanceHouse, ask: Ask) -> None:
        books = Books()
        books.sell("10.00", seller="potter")
        books.sell("7.00", seller="smith")
        books.sell("5.00", seller="smith", currency="USD")
        told(house, books.messages)

        narrow = ask(OPERATOR, "finance_report", **MARCH, seller_id="smith", currency="EUR")
        assert [(row["sellerId"], row["captured"]) for row in narrow["rows"]] == [("smith", "7.00")]
        assert [(total["currency"], total["net"]) for total in narrow["totals"]] == [("EUR", "7.00")]
        elsewhere = ask(OPERATOR, "finance_report", since="2026-03-02", until="2026-03-02")
        assert (elsewhere["rows"], elsewhere["totals"]) == ([], [])

    def test_a_day_is_one_of_utc(self, house: FinanceHouse, ask: Ask) -> None:
        """Given a sale a moment before midnight that is paid after it, then it is two days' business."""
        books = Books(datetime(2026, 3, 1, 23, 59, 59, 990_000, tzinfo=UTC))
        books.sell("10.00")
        told(house, books.messages)

        rows = ask(OPERATOR, "finance_report", **MARCH)["rows"]
        assert [(row["day"], row["ordered"], row["captured"]) for row in rows] == [
            ("2026-03-02", "0.00", "10.00"),
            ("2026-03-01", "10.00", "0.00"),
        ]


def date_number(day: str) -> int:
    return int(day.replace("-", ""))


class TestDifferences:
    def test_are_named_and_certain_once_both_databases_are_told(self, house: FinanceHouse, ask: Ask) -> None:
        """Given an order that is confirmed and not paid, and one that is paid and not known, then both are named; and
        they are certain only when what came after is known of both databases.
        """
        books = Books()
        confirmed, stray = books.place("10.00"), books.place("20.00")
        books.order_becomes(confirmed, "CONFIRMED")
        books.capture(stray)
        books.sell("30.00")
        messages = [m for m in books.messages if (m.said["after"] or {}).get("id") != str(stray)]
        told(house, messages)

        found = ask(OPERATOR, "finance_differences", **MARCH)
        kinds = {one["orderId"]: one["kind"] for one in found["orders"]}
        assert kinds == {str(confirmed): "confirmed_not_captured", str(stray): "captured_not_ordered"}
        assert (found["certain"], found["uncertain"]) == (0, 2)

        books.messages.clear()
        books.later(minutes=1)
        books.heartbeat()
        house.stream.publish(books.messages[:1])
        house.wait_read(len(messages) + 1)
        assert ask(OPERATOR, "finance_differences", **MARCH)["certain"] == 0
        house.stream.publish(books.messages[1:])
        house.wait_read(len(messages) + 2)
        assert ask(OPERATOR, "finance_differences", **MARCH)["certain"] == 2
        assert ask(OPERATOR, "finance_differences", **MARCH, seller_id="nobody")["orders"] == []

    def test_the_ledger_and_refunds_are_held_against_the_payment(self, house: FinanceHouse, ask: Ask) -> None:
        books = Books()
        unbooked, unrefunded = books.sell("10.00"), books.sell("20.00")
        books.refund(unrefunded, "1.00")
        entries = {m.id for m in books.messages if (m.said["after"] or {}).get("order_id") == str(unbooked)}
        left_out = [m for m in books.messages if not (m.id in entries and m.said["table"] == "ledger_entries")]
        left_out = [m for m in left_out if m.said["table"] != "refunds"]
        told(house, left_out)

        found = ask(OPERATOR, "finance_differences", **MARCH)["orders"]
        assert {one["orderId"]: one["kind"] for one in found} == {
            str(unbooked): "ledger_differs",
            str(unrefunded): "refunds_differ",
        }


class TestAge:
    def test_a_view_that_knows_nothing_says_so(self, house: FinanceHouse, ask: Ask) -> None:
        state = ask(OPERATOR, "finance_state")
        assert (state["asOf"], state["ageS"], state["isStale"], state["isWhole"]) == (None, None, True, True)
        assert [source["asOf"] for source in state["sources"]] == [None, None]
        figures = ask(OPERATOR, "finance_figures", **MARCH)
        assert (figures["now"], figures["settled"], figures["cut"]) == ([], [], None)

    def test_the_older_of_the_two_databases_counts(self, house: FinanceHouse, ask: Ask) -> None:
        """Given one that is fresh and one that fell silent, then the view is as old as the silent one, and stale."""
        now = datetime.now(UTC)
        fresh, old = Books(now), Books(now - timedelta(seconds=STALE_AFTER_S + 60))
        fresh.heartbeat()
        old.heartbeat()
        told(house, [*fresh.of("order"), *old.of("payment")])

        state = ask(OPERATOR, "finance_state")
        assert {one["database"]: one["isStale"] for one in state["sources"]} == {"order": False, "payment": True}
        assert (state["isStale"], state["staleAfterS"]) == (True, STALE_AFTER_S)
        assert datetime.fromisoformat(state["asOf"]) == old.now
        assert state["ageS"] >= STALE_AFTER_S + 60

        fresh.messages.clear()
        fresh.heartbeat()
        house.stream.publish(fresh.of("payment"))
        house.wait_read(3)
        assert ask(OPERATOR, "finance_state")["isStale"] is False

    def test_what_the_ledger_is_compared_by_ends_before_what_is_known(self, house: FinanceHouse, ask: Ask) -> None:
        books = Books()
        books.sell("10.00")
        books.later(minutes=1)
        books.sell("20.00")
        told(house, books.messages)

        figures = ask(OPERATOR, "finance_figures", **MARCH)
        assert figures["now"] == [{"currency": "EUR", "captured": "30.00", "refunded": "0.00"}]
        assert figures["settled"] == [{"currency": "EUR", "captured": "10.00", "refunded": "0.00"}]


class TestWho:
    def test_only_operators(self, house: FinanceHouse, ask: Ask) -> None:
        """Each request, asked by everybody else, also by somebody who is both customer and seller."""
        for method in ("finance_report", "finance_figures", "finance_differences", "finance_state"):
            arguments = {} if method == "finance_state" else MARCH
            for who in (CUSTOMER, SELLER, EVERYTHING_BUT_OPERATOR):
                with pytest.raises(Forbidden):
                    ask(who, method, **arguments)
            assert ask(OPERATOR, method, **arguments)

    def test_nonsense_is_refused(self, house: FinanceHouse, ask: Ask) -> None:
        nonsense: list[dict[str, Any]] = [
            {"since": "yesterday"},
            {"since": None},
            {"until": 5},
            {"since": "2026-06-01"},
            {"since": "2020-01-01"},
            {"until": "9999-12-31", "since": "9999-12-30"},
            {"cursor": "=="},
            {"cursor": "WzEsMiwzXQ=="},
            {"cursor": 5},
            {"limit": 0},
            {"limit": "5"},
            {"seller_id": ""},
            {"currency": ["EUR"]},
        ]
        for said in nonsense:
            with pytest.raises(InvalidRequest):
                ask(OPERATOR, "finance_report", **{**MARCH, **said})


class TestLedger:
    """The other side: what the payment service says that its ledger adds up to."""

    @pytest.fixture(autouse=True)
    def payment_service(self, clean: None, processes: Processes, databases: Databases) -> Iterator[None]:
        processes.start_ready("payment_service")
        books = Books()
        books.sell("10.00")
        books.later(minutes=1)
        books.refund(books.sell("20.00"), "5.00")
        books.sell("7.00", currency="USD")
        for entry in books.entries:
            statement = (
                "insert into ledger_entries (transaction_id, order_id, account, amount, currency, at) "
                "values (%s, %s, %s, %s, %s, %s)"
            )
            names = ("transaction_id", "order_id", "account", "amount", "currency", "at")
            databases.query("payment_service", statement, *(entry[name] for name in names))
        yield
        processes.stop()

    def test_adds_up_by_currency_and_day_and_until_a_moment(self, rpc: RpcClient) -> None:
        ask = asks_of(rpc, "payment_service")
        days = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
        before = moment(datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC))
        answer = ask(OPERATOR, "ledger_totals", **days, before=before, by_day=True)

        euros = {"captured": "30.00", "refunded": "5.00", "settled": {"captured": "10.00", "refunded": "0.00"}}
        dollars = {"captured": "7.00", "refunded": "0.00", "settled": {"captured": "0.00", "refunded": "0.00"}}
        assert answer["totals"] == [{"currency": "EUR", **euros}, {"currency": "USD", **dollars}]
        assert answer["days"] == [{"day": "2026-03-01", **total} for total in answer["totals"]]
        assert answer["unbalanced"] == 0
        assert ask(OPERATOR, "ledger_totals", **days, currency="USD")["totals"][0]["settled"]["captured"] == "7.00"
        nothing = ask(OPERATOR, "ledger_totals", since="2026-03-02T00:00:00Z", until="2026-03-03T00:00:00Z")
        assert (nothing["totals"], nothing["days"]) == ([], [])

    def test_says_what_does_not_add_up(self, rpc: RpcClient, databases: Databases) -> None:
        databases.query(
            "payment_service", "delete from ledger_entries where account = 'customer_payments' and amount = -10"
        )
        days = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
        assert asks_of(rpc, "payment_service")(OPERATOR, "ledger_totals", **days)["unbalanced"] == 1

    def test_is_for_operators_and_needs_its_moments(self, rpc: RpcClient) -> None:
        ask = asks_of(rpc, "payment_service")
        days = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
        with pytest.raises(Forbidden):
            ask(EVERYTHING_BUT_OPERATOR, "ledger_totals", **days)
        for wrong in ({"since": None}, {"until": "2026-03-01"}, {"before": "now"}, {"currency": 5}):
            with pytest.raises(InvalidRequest):
                ask(OPERATOR, "ledger_totals", **{**days, **wrong})
