"""`ordersaga sagas`, `saga`, `audit` and `erase`: what they ask of a gateway, what they show, and how they end."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from ops import audit, erasure, sagas
from ops.cli import main
from ops.errors import StackError

ID = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
SAGA: dict[str, Any] = {
    "orderId": ID,
    "status": "RESERVED",
    "reason": None,
    "userId": "anna",
    "sellerId": "[shop]",
    "waitsFor": "payment",
    "step": "payment",
    "since": "2026-01-31T12:00:00.000000Z",
    "until": "2026-01-31T12:05:00.000000Z",
    "flag": None,
    "flaggedAt": None,
    "startedAt": "2026-01-31T11:59:00.000000Z",
    "correlationId": "req-1",
}
LATE = {**SAGA, "orderId": ID[:-1] + "f", "flag": "reserved_overdue", "until": "2026-01-31T11:59:30.000000Z"}
AS_OF = "2026-01-31T12:00:12.000000Z"
CREATED = {
    "eventId": "e-1",
    "type": "ORDER_CREATED",
    "source": "order_service",
    "causationId": None,
    "at": "2026-01-31T12:00:00.000000Z",
    "recordedAt": "2026-01-31T12:00:00.000000Z",
    "decision": "emitted",
    "note": "",
    "afterCauseS": None,
    "afterStartS": 0.0,
}
TWICE = {
    **CREATED,
    "eventId": "e-2",
    "type": "INVENTORY_RESERVED",
    "source": "inventory_service",
    "causationId": "e-1",
    "decision": "ignored",
    "note": "already reserved",
    "afterCauseS": 0.025,
    "afterStartS": 0.025,
}
DETAIL: dict[str, Any] = {
    **SAGA,
    "asOf": AS_OF,
    "isWhole": False,
    "isArchived": False,
    "atDeadline": "cancel",
    "allowedActions": ["cancel"],
    "timeline": [CREATED, TWICE],
    "expected": [
        {
            "who": "payment",
            "events": ["PAYMENT_SUCCESS", "PAYMENT_FAILED"],
            "answersTo": "INVENTORY_RESERVED",
            "isNext": True,
            "until": SAGA["until"],
        },
        {
            "who": "order",
            "events": ["ORDER_CONFIRMED"],
            "answersTo": "PAYMENT_SUCCESS",
            "isNext": False,
            "until": None,
        },
    ],
}
ENTRY = {
    "id": ID,
    "service": "order_service",
    "at": "2026-01-31T12:00:00.000000Z",
    "actor": "=root",
    "roles": ["ADMIN", "USER"],
    "action": "cancel_order",
    "objectType": "order",
    "objectId": ID,
    "requestId": None,
    "before": {"status": "PENDING"},
    "after": {"status": "CANCELLED", "note": "ticket 7"},
}


class Gateway:
    """Answers one after the other; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, {name: value for name, value in query.items() if value is not None}))
        return self._next()

    def post(self, path: str, body: Any, *, key: str | None = None) -> Any:
        self.asked.append((path, body))
        return self._next()

    def _next(self) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


Run = Callable[..., tuple[Gateway, Result]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def play(*arguments: str, answers: tuple[Any, ...]) -> tuple[Gateway, Result]:
        gateway = Gateway(*answers)
        for module in (sagas, audit, erasure):
            monkeypatch.setattr(module, "operator_client", lambda _stack: gateway)
        monkeypatch.setattr(sagas, "_REFRESH_S", 0)
        monkeypatch.setattr(erasure, "_PAUSE_S", 0)
        result = CliRunner().invoke(main, ["--stack", str(tmp_path), *arguments])
        return gateway, result

    return play


def page(*found: Any, cursor: str | None = None) -> dict[str, Any]:
    return {"sagas": list(found), "nextCursor": cursor, "asOf": AS_OF}


class TestBoard:
    def test_a_line_says_where_it_is_whose_turn_since_when_until_when(self, run: Run) -> None:
        _, result = run("sagas", answers=(page(LATE, SAGA),))

        first, second = (line for line in result.stdout.splitlines() if ID[:-1] in line)
        for words in ("RESERVED", "payment", "12 s", "42 s overdue", "[shop]", "anna", "reserved_overdue"):
            assert words in first
        assert "in 4 min" in second
        assert "2 sagas, 1 of them flagged" in result.stdout
        assert result.exit_code == 0

    def test_filters_are_passed_on(self, run: Run) -> None:
        options = ("--state", "stuck", "--step", "payment", "--waits-for", "customer", "--status", "RESERVED")
        more = ("--seller", "shop", "--user", "ada", "--text", "x", "--since", "s", "--until", "u", "--limit", "7")
        gateway, _ = run("sagas", *options, *more, answers=(page(),))
        wanted = {
            "limit": 7,
            "state": "stuck",
            "step": "payment",
            "waitsFor": "customer",
            "status": "RESERVED",
            "sellerId": "shop",
            "userId": "ada",
            "text": "x",
            "since": "s",
            "until": "u",
        }
        assert gateway.asked == [("/admin/sagas", wanted)]

    def test_pages_follow_up_to_the_limit_or_the_end(self, run: Run) -> None:
        full = page(*[SAGA] * 100, cursor="c")
        gateway, result = run("sagas", "--limit", "150", "--json", answers=(full, page(*[SAGA] * 50, cursor="d")))
        assert [query for _, query in gateway.asked] == [{"limit": 100}, {"limit": 50, "cursor": "c"}]
        assert (len(json.loads(result.stdout)["sagas"]), json.loads(result.stdout)["nextCursor"]) == (150, "d")
        gateway, result = run("sagas", "--all", "--json", answers=(full, full, page(SAGA)))
        assert len(json.loads(result.stdout)["sagas"]) == 201

    def test_watched_until_interrupted(self, run: Run) -> None:
        _, result = run("sagas", "--watch", "--json", answers=(page(SAGA), page(LATE), KeyboardInterrupt()))
        assert [json.loads(line)["sagas"][0]["flag"] for line in result.stdout.splitlines()] == [
            None,
            "reserved_overdue",
        ]
        assert result.exit_code == 130
        _, result = run("sagas", "--watch", answers=(page(SAGA), KeyboardInterrupt()))
        assert result.exit_code == 130

    def test_a_step_that_is_none_is_wrong_usage(self, run: Run) -> None:
        assert run("sagas", "--step", "lunch", answers=(page(),))[1].exit_code == 2


class TestOne:
    @pytest.mark.parametrize("words", [("saga", ID), ("saga", "show", ID)])
    def test_its_timeline_and_what_is_expected(self, run: Run, words: tuple[str, ...]) -> None:
        gateway, result = run(*words, answers=(DETAIL,))

        assert gateway.asked == [(f"/admin/sagas/{ID}", {})]
        for shown in (
            "payment, it is payment's turn",
            "in 4 min, then: cancel",
            "12:00:00.000",
            "25 ms",
            "  INVENTORY_RESERVED",
            "ignored: already reserved",
            "PAYMENT_SUCCESS or PAYMENT_FAILED",
            "then ORDER_CONFIRMED",
        ):
            assert shown in result.stdout
        assert result.exit_code == 0

    def test_the_beginning_of_an_id_is_enough(self, run: Run) -> None:
        gateway, result = run("saga", ID[:8], "--json", answers=(page(SAGA), DETAIL))
        assert [path for path, _ in gateway.asked] == ["/admin/sagas", f"/admin/sagas/{ID}"]
        assert json.loads(result.stdout) == DETAIL

    @pytest.mark.parametrize(("found", "words"), [((), "no orders"), ((SAGA, LATE), "2 orders")])
    def test_unless_it_names_another_number_than_one(self, run: Run, found: tuple[Any, ...], words: str) -> None:
        gateway, result = run("saga", "nudge", ID[:8], "--note", "x", answers=(page(*found),))
        assert (result.exit_code, words in result.stderr) == (1, True)
        assert len(gateway.asked) == 1

    def test_watched_until_it_is_whole(self, run: Run) -> None:
        whole = {**DETAIL, "isWhole": True, "expected": []}
        gateway, result = run("saga", ID, "--watch", answers=(DETAIL, DETAIL, whole))
        assert (len(gateway.asked), result.exit_code) == (3, 0)

    @pytest.mark.parametrize("what", ["nudge", "cancel", "resolve"])
    def test_it_is_helped_on_with_a_note(self, run: Run, what: str) -> None:
        gateway, result = run("saga", what, ID, "--note", "ticket 7", "--json", answers=(DETAIL,))
        assert gateway.asked == [(f"/admin/sagas/{ID}/{what}", {"note": "ticket 7"})]
        assert json.loads(result.stdout)["orderId"] == ID
        assert run("saga", what, ID, answers=(DETAIL,))[1].exit_code == 2

    def test_a_refusal_ends_with_its_words(self, run: Run) -> None:
        refusal = StackError("refused: 409 saga_not_flagged: no operator is asked to look at it")
        _, result = run("saga", "resolve", ID, "--note", "x", answers=(refusal,))
        assert (result.exit_code, "saga_not_flagged" in result.stderr) == (1, True)


class TestAudit:
    def test_a_table_for_people(self, run: Run) -> None:
        options = ("--actor", "root", "--action", "cancel_order", "--object", ID, "--type", "order", "--since", "s")
        gateway, result = run("audit", *options, answers=({"entries": [ENTRY], "nextCursor": None},))
        filters = {"actor": "root", "action": "cancel_order", "objectId": ID, "objectType": "order", "since": "s"}
        assert gateway.asked == [("/admin/audit", {"limit": 50, **filters})]
        for words in ("=root", "cancel_order", "status=PENDING", "note=ticket 7"):
            assert words in result.stdout

    def test_all_of_it_as_csv_that_no_spreadsheet_runs(self, run: Run) -> None:
        pages = ({"entries": [ENTRY] * 100, "nextCursor": "c"}, {"entries": [ENTRY], "nextCursor": None})
        gateway, result = run("audit", "--export", "csv", answers=pages)
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert len(rows) == 101
        assert (rows[0]["actor"], rows[0]["roles"], rows[0]["requestId"]) == ("'=root", "ADMIN USER", "")
        assert json.loads(rows[0]["after"]) == ENTRY["after"]
        assert [query.get("cursor") for _, query in gateway.asked] == [None, "c"]
        assert "101 entries" in result.stderr

    def test_all_of_it_as_lines_of_json(self, run: Run) -> None:
        _, result = run("audit", "--export", "jsonl", answers=({"entries": [ENTRY, ENTRY], "nextCursor": None},))
        assert [json.loads(line) for line in result.stdout.splitlines()] == [ENTRY, ENTRY]

    def test_no_more_than_was_asked_for(self, run: Run) -> None:
        gateway, result = run(
            "audit", "--limit", "2", "--json", answers=({"entries": [ENTRY, ENTRY], "nextCursor": "c"},)
        )
        assert len(json.loads(result.stdout)["entries"]) == 2
        assert [query["limit"] for _, query in gateway.asked] == [2]


class TestErasure:
    BEGUN: ClassVar[dict[str, Any]] = {"id": ID, "erased": 0, "skipped": 0, "finishedAt": None}

    def test_it_is_followed_to_its_end(self, run: Run) -> None:
        done = {"id": ID, "erased": 3, "skipped": 1, "finishedAt": AS_OF}
        gateway, result = run("erase", "--user", "ada", "--note", "letter", answers=(self.BEGUN, self.BEGUN, done))
        assert gateway.asked[0] == ("/admin/erasures", {"userId": "ada", "note": "letter"})
        assert gateway.asked[1:] == [(f"/admin/erasures/{ID}", {})] * 2
        assert "3 orders erased, 1 skipped" in result.stdout
        assert "ask again" in result.stdout

    def test_who_cannot_wait_is_told_that_it_goes_on(self, run: Run) -> None:
        _, result = run("erase", "--user", "ada", "--note", "x", "--timeout", "0", answers=(self.BEGUN,))
        assert (result.exit_code, "goes on by itself" in result.stderr) == (1, True)
