"""The reconciler and the command's pass, with a gateway that answers at once: what is asked for, counted and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import jwt
import pytest

from ops import reconcile, reconciler_token
from ops.errors import StackError
from ops.passes import Pass, repair, run_pass, settle
from ops.reconciler import Reconciler, Settings, State
from ops.reconciler_figures import Figures
from ops.reconciler_token import token_source
from shared.config import Source
from shared.errors import Misconfigured
from shared.tokens import new_key_pem

FOUND = {"code": "stock_held_for_cancelled", "orderId": "o-1", "subject": None, "says": {"order": "CANCELLED"}}
ITEM = {"code": "stock_differs", "orderId": None, "subject": "mug", "says": {}}


def page(*found: Any, unsettled: tuple[str, ...] = (), cursor: str | None = None, orders: int = 1) -> dict[str, Any]:
    watermark = None if cursor else "w-1"
    return {
        "stage": "orders",
        "checked": {"orders": orders},
        "discrepancies": list(found),
        "unsettled": list(unsettled),
        "nextCursor": cursor,
        "watermark": watermark,
    }


class FakeGateway:
    """Answers in the order given; remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, **query: object) -> Any:
        self.asked.append((path.removeprefix("/admin/reconcile"), {n: v for n, v in query.items() if v is not None}))
        return self._next()

    def post(self, path: str, body: Any, *, key: str | None = None) -> Any:
        self.asked.append((path.removeprefix("/admin/reconcile"), dict(body)))
        return self._next()

    def _next(self) -> Any:
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_pass_goes_from_page_to_page_until_its_end() -> None:
    gateway = FakeGateway(page(FOUND, cursor="c-1"), page(unsettled=("o-2",), orders=4))
    ended = run_pass(gateway, quiet_s=5, since="w-0", limit=7)

    assert gateway.asked == [
        ("", {"quiet": 5, "limit": 7, "since": "w-0"}),
        ("", {"quiet": 5, "limit": 7, "cursor": "c-1"}),
    ]
    assert (ended.discrepancies, list(ended.unsettled), ended.watermark) == ([FOUND], ["o-2"], "w-1")
    assert ended.checked == {"orders": 5}


def test_what_was_unsettled_is_looked_at_until_it_is_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.passes._AGAIN_AFTER_S", 0)
    gateway = FakeGateway(page(unsettled=("o-1",)), page(unsettled=("o-1",)), page(FOUND))
    ended = run_pass(gateway, quiet_s=5)
    settle(gateway, ended, quiet_s=5, patience_s=60)

    assert [path for path, _ in gateway.asked] == ["", "/orders", "/orders"]
    assert (ended.discrepancies, list(ended.unsettled)) == ([FOUND], [])
    # Counted once, however often it is looked at.
    assert ended.checked == {"orders": 1}


def test_many_orders_are_asked_for_some_at_a_time() -> None:
    gateway = FakeGateway(*(page() for _ in range(3)))
    Pass().look_again(gateway, [f"o-{number}" for number in range(120)], 5)
    assert [len(query["ids"].split(",")) for _, query in gateway.asked] == [50, 50, 20]


def test_a_repair_names_what_was_found() -> None:
    gateway = FakeGateway({"repaired": True})
    assert repair(gateway, FOUND, quiet_s=5) == {"repaired": True}
    wanted = {"code": "stock_held_for_cancelled", "orderId": "o-1", "subject": None, "quiet": 5}
    assert gateway.asked == [("/repairs", wanted)]


# The process


def settings(tmp_path: Path, **said: str) -> Settings:
    usual = {"GATEWAY_URL": "http://gateway", "RECONCILE_STATE_FILE": str(tmp_path / "state.json")}
    return Settings.read(Source(values={**usual, **said}))


def reconciler(tmp_path: Path, gateway: FakeGateway, state: State | None = None, **said: str) -> Reconciler:
    return Reconciler(
        operator=gateway,
        settings=settings(tmp_path, **said),
        figures=Figures(),
        wait=lambda _seconds: False,
        state=state or State(full_at=2e9),
    )


def figure(made: Reconciler, name: str, **labels: str) -> float | None:
    return made.figures.registry.get_sample_value(f"ordersaga_reconcile_{name}", labels)


def test_it_begins_with_the_last_hour_and_goes_on_from_there(tmp_path: Path) -> None:
    gateway = FakeGateway(page(), page())
    made = reconciler(tmp_path, gateway)
    made.make_pass()
    made.make_pass()

    assert [(q.get("ago"), q.get("since"), q.get("full")) for _, q in gateway.asked] == [
        (3600, None, None),
        (None, "w-1", None),
    ]
    assert figure(made, "orders_checked_total") == 2


def test_a_new_process_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    reconciler(tmp_path, FakeGateway(page(FOUND))).make_pass()
    again = State.load(tmp_path / "state.json")
    assert (again.watermark, again.open) == ("w-1", ["o-1"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fullAt": "x", "open": []}'])
def test_a_state_that_cannot_be_read_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert State.load(tmp_path / "state.json").watermark is None


def test_now_and_then_it_looks_at_everything(tmp_path: Path) -> None:
    gateway = FakeGateway(page(), page())
    made = reconciler(tmp_path, gateway, State(watermark="w-0", full_at=0.0))
    made.make_pass()
    made.make_pass()
    assert [q.get("full") for _, q in gateway.asked] == ["true", None]


def test_what_differs_is_counted_until_it_differs_no_more(tmp_path: Path) -> None:
    """Given a discrepancy, when a later look at its order does not find it, then its figure is 0."""
    gateway = FakeGateway(page(FOUND, unsettled=("o-2",)), page(), page(FOUND), page(), page())
    made = reconciler(tmp_path, gateway)
    code = {"code": "stock_held_for_cancelled"}
    made.make_pass()
    assert (figure(made, "discrepancies", **code), figure(made, "unsettled")) == (1, 1)
    made.make_pass()
    assert figure(made, "discrepancies", **code) == 1
    assert sorted(gateway.asked[-1][1]["ids"].split(",")) == ["o-1", "o-2"]
    made.make_pass()
    assert (figure(made, "discrepancies", **code), figure(made, "unsettled")) == (0, 0)


def test_what_is_about_no_order_is_kept_until_a_full_pass(tmp_path: Path) -> None:
    made = reconciler(tmp_path, FakeGateway(page(ITEM), page(), page()))
    made.make_pass()
    made.make_pass()
    assert figure(made, "discrepancies", code="stock_differs") == 1
    made.state.full_at = 0.0
    made.make_pass()
    assert figure(made, "discrepancies", code="stock_differs") == 0


def test_a_pass_that_fails_is_counted_and_made_again_from_the_same_place(tmp_path: Path) -> None:
    gateway = FakeGateway(StackError("the gateway does not answer"), page())
    made = reconciler(tmp_path, gateway, State(watermark="w-0", full_at=2e9))
    ends = iter([False, False, False, True])
    made.wait = lambda _seconds: next(ends)
    made.run()

    assert [query["since"] for _, query in gateway.asked] == ["w-0", "w-0"]
    assert figure(made, "passes_failed_total") == 1


def test_it_rests_in_proportion_to_its_work(tmp_path: Path) -> None:
    """A page keeps the system busy for its time; the rest of a second belongs to others."""
    rests: list[float] = []

    def wait(seconds: float) -> bool:
        rests.append(seconds)
        return False

    made = reconciler(tmp_path, FakeGateway(page(cursor="c"), page()), RECONCILE_SHARE="1")
    made.wait = wait
    made.make_pass()
    assert rests == [0, 0]


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in ({"RECONCILE_SHARE": "2"}, {"RECONCILE_EVERY_S": "0"}, {"GATEWAY_URL": ""}):
        with pytest.raises(Misconfigured):
            settings(tmp_path, **wrong)


# Its tokens


def test_it_signs_its_own_tokens_where_it_has_the_key(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(new_key_pem())
    give = token_source(Source(values={"JWT_SIGNING_KEY_FILE": str(file)}))
    claims = jwt.decode(give(), options={"verify_signature": False})
    assert (claims["sub"], claims["roles"]) == ("reconciler", ["ADMIN"])
    assert give() == give()


def test_a_token_in_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    give = token_source(Source(values={"RECONCILER_TOKEN_FILE": str(file)}))
    assert give() == "one"
    file.write_text("two")
    assert give() == "two"
    file.unlink()
    with pytest.raises(Misconfigured):
        give()


def test_somebody_else_s_issuer_is_asked_until_its_token_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    asked: list[dict[str, str]] = []

    def ask(_url: str, said: dict[str, str]) -> tuple[str, float]:
        asked.append(said)
        return f"token-{len(asked)}", 600.0 if len(asked) > 1 else 0.0

    monkeypatch.setattr(reconciler_token, "_asked", ask)
    values = {
        "RECONCILER_TOKEN_URL": "https://issuer/token",
        "RECONCILER_CLIENT_ID": "reconciler",
        "RECONCILER_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
    }
    give = token_source(Source(values=values))
    assert [give(), give(), give()] == ["token-1", "token-2", "token-2"]
    assert asked[0] == {
        "grant_type": "client_credentials",
        "client_id": "reconciler",
        "client_secret": "s3cret",
    }


def test_without_any_way_to_a_token_it_does_not_start() -> None:
    with pytest.raises(Misconfigured, match="RECONCILER_TOKEN_FILE"):
        token_source(Source(values={}))


# The command


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("2h", 7200), ("1d", 86_400), ("15m", 900)])
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "0h", "-1h", "1w", "1.5h"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter):
        duration(text)


def duration(text: str) -> int | None:
    parse: Callable[..., int | None] = reconcile._duration
    return parse(None, None, text)
