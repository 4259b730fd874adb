"""Asking the finance view, and the ledger about the same.

Owns: who is asked what at the same time, and what is said where one of them is not there.
Must not know: HTTP, what the answers add up to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import current_app

from gateway.access import caller
from gateway.admin.finance.comparing import MEANINGS, Verdict, compare, overall
from gateway.admin.finance.periods import Period, period_of
from gateway.at_once import ask_at_once
from gateway.services import FINANCE_SERVICE, PAYMENT_SERVICE, CallTimedOut, Services, trusted_services
from shared.errors import FinanceViewDown, FinanceViewOff, OrderSagaError
from shared.identity import Identity

FINANCE_SETTING = "ORDERSAGA_FINANCE_VIEW"
PATIENCE_S = 4.0
_OFF = (
    "Revenue is read from captured changes, which are not switched on here: `ordersaga up --cdc`, or compose with "
    "`--profile cdc` and FINANCE_VIEW=on"
)
_DOWN = (
    "The finance service does not answer: `ordersaga status` shows finance_service and finance_feed. Orders and "
    "payments do not need it"
)


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Questions in somebody's name, also from threads that know no request."""

    client: Services
    caller: Identity

    def view(self, method: str, **wanted: Any) -> Any:
        """Raises FinanceViewDown where no answer comes: nobody has to wait for somebody who is not there."""
        try:
            return self.client.call(FINANCE_SERVICE, method, PATIENCE_S, caller=self.caller, **wanted)
        except CallTimedOut as error:
            raise FinanceViewDown(_DOWN) from error

    def ledger(self, period: Period, currency: str | None, before: str | None) -> Any:
        return self.client.call(
            PAYMENT_SERVICE,
            "ledger_totals",
            PATIENCE_S,
            caller=self.caller,
            since=period.begins_at.isoformat(),
            until=period.ends_at.isoformat(),
            before=before,
            currency=currency,
        )


def asker() -> Asker:
    """In the name of the current request. Raises FinanceViewOff where there is nobody to ask."""
    if not current_app.config[FINANCE_SETTING]:
        raise FinanceViewOff(_OFF)
    return Asker(client=trusted_services(), caller=caller())


def whole_view(query: Mapping[str, Any]) -> dict[str, Any]:
    """A FinanceView for a FinanceQuery. Raises what the finance service raises, Unprocessable, FinanceViewOff."""
    period = period_of(query, datetime.now(UTC).date())
    asks = asker()
    days, narrowed = _days(period), {"seller_id": query.get("seller"), "currency": query.get("currency")}
    questions: dict[str, Callable[[], Any]] = {
        "report": lambda: asks.view(
            "finance_report", **days, **narrowed, limit=query["limit"], cursor=query.get("cursor")
        ),
        "figures": lambda: asks.view("finance_figures", **days, currency=query.get("currency")),
        "differences": lambda: asks.view("finance_differences", **days, **narrowed),
    }
    answers = ask_at_once(list(questions), lambda name: questions[name]())
    return {
        "from": days["since"],
        "to": days["until"],
        **answers["report"],
        "differences": answers["differences"],
        "reconciliation": _reconciliation(asks, period, query.get("currency"), answers["figures"]),
    }


def rows_of_page(query: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    """Rows alone, and the next cursor. Raises as :func:`whole_view`."""
    period = period_of(query, datetime.now(UTC).date())
    wanted = {"seller_id": query.get("seller"), "currency": query.get("currency")}
    page = asker().view("finance_report", **_days(period), **wanted, limit=query["limit"], cursor=query.get("cursor"))
    return page["rows"], page["nextCursor"]


def _days(period: Period) -> dict[str, str]:
    return {"since": period.first.isoformat(), "until": period.last.isoformat()}


def _reconciliation(asks: Asker, period: Period, currency: str | None, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger is asked after the view, and up to a moment that the view knows: so it can be behind, never ahead."""
    payment = next(source for source in figures["sources"] if source["database"] == "payment")
    of_view = {"viewAsOf": payment["asOf"], "lagS": payment["ageS"], "cut": figures["cut"]}
    try:
        ledger = asks.ledger(period, currency, figures["cut"])
    except OrderSagaError as error:
        return _said(Verdict.UNKNOWN, of_view, trouble=f"the ledger does not answer ({error.code})")
    lines = compare(figures["now"], figures["settled"], ledger["totals"] if figures["cut"] else [])
    verdict = overall(lines) if figures["cut"] else Verdict.UNKNOWN
    return _said(
        verdict,
        of_view,
        ledgerAsOf=ledger["asOf"],
        unbalanced=ledger["unbalanced"],
        lines=[line.document() for line in lines],
        trouble=None if figures["cut"] else "the view knows nothing of payments yet",
    )


def _said(verdict: Verdict, of_view: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"ledgerAsOf": None, "unbalanced": None, "lines": [], "trouble": None}
    return {"verdict": verdict.value, "meaning": MEANINGS[verdict], **of_view, **nothing, **known}
