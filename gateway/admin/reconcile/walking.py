"""One page of a pass: the next orders, charges or items, and what differs.

Owns: what is looked at in which stage, of all there is or of what changed. Must not know: HTTP, what differs in orders.

Every order is compared once, as the order service knows them, or as it was told of them. Of what the others know, only
what nobody ordered is left then, and what the order service was not told of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.admin.desk import DeadLetterDesk
from gateway.admin.reconcile.asking import WALKS, Asker
from gateway.admin.reconcile.comparing import Verdict
from gateway.admin.reconcile.kinds import Discrepancy
from gateway.admin.reconcile.places import WALKED, Place

OUTBOX_PATIENCE_S = 60.0
_WALKED = {"orders": "orders", "goods": "reservations", "money": "payments", "book": "charges", "items": "items"}
"""Stage → what its pages hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """``place`` is where to go on, None at the end; ``checked`` counts what was looked at, by its name."""

    place: Place | None
    watermark: str | None = None
    checked: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)


def next_page(asker: Asker, place: Place, *, limit: int, quiet_s: float, desk: DeadLetterDesk | None) -> Page:
    """Stages in which there is nothing (any more) are passed over."""
    if place.is_full and not place.heads:
        place = replace(place, heads=_heads(asker, quiet_s))
    while True:
        if place.stage == "house":
            verdict = Verdict(discrepancies=(*_outboxes(asker), *_dead_letters(desk)))
            return Page(place=None, watermark=place.watermark, verdict=verdict)
        page = _walk(asker, place, limit, quiet_s)
        if any(page.checked.values()) or page.place is None:
            return page
        place = page.place


def _heads(asker: Asker, quiet_s: float) -> dict[str, str]:
    """Where those that change during a full pass begin."""
    return {
        stage: asker.ask(*WALKS[stage], after=None, limit=1, quiet_s=quiet_s, ago_s=None)["next"] for stage in WALKED
    }


def _walk(asker: Asker, place: Place, limit: int, quiet_s: float) -> Page:
    told = asker.ask(
        *WALKS[place.stage],
        after=place.at.get(place.stage),
        limit=limit,
        full=place.is_full,
        quiet_s=quiet_s,
        ago_s=place.ago_s,
    )
    walked = place.walked_to(told["next"])
    following = walked.next_stage() if told["isEnd"] else walked
    if place.stage == "items":
        return Page(place=following, checked={"items": told["checked"]}, verdict=_items(told["wrong"]))
    ids: Sequence[str] = told["orderIds"]
    unknown: Sequence[Mapping[str, Any]] = told.get("unknown", ())
    checked = {_WALKED[place.stage]: told.get("seen", len(ids))}
    heard_elsewhere = place.stage in ("goods", "money") or (place.stage == "book" and place.is_full)
    compared = asker.unheard(ids, told.get("changedAt", {})) if heard_elsewhere else ids
    verdict = asker.compared(compared, quiet_s)
    strangers = tuple(_stranger(charge) for charge in unknown)
    return Page(
        place=following, checked=checked, verdict=replace(verdict, discrepancies=(*verdict.discrepancies, *strangers))
    )


def _stranger(charge: Mapping[str, Any]) -> Discrepancy:
    words = f"{charge['status']} {charge['amount']} {charge['currency']}, refunded {charge['refunded']}"
    says = {"payment": "no attempt has this key", "provider": words}
    return Discrepancy(code="unknown_charge", subject=charge["key"], says=says)


def _items(wrong: Sequence[Mapping[str, Any]]) -> Verdict:
    return Verdict(
        discrepancies=tuple(
            Discrepancy(
                code="stock_differs",
                subject=item["item"],
                says={
                    "stock": f"on hand {item['onHand']}, reserved {item['reserved']}",
                    "movements": f"on hand {item['movedOnHand']}, reserved {item['movedReserved']}",
                    "reservations": f"reserved {item['held']}",
                },
            )
            for item in wrong
        )
    )


def _outboxes(asker: Asker) -> list[Discrepancy]:
    return [
        Discrepancy(
            code="outbox_stuck",
            subject=service.replace("_service", "_relay"),
            says={service: f"{backlog['events']} events, the oldest for {backlog['oldestS']:.0f} s"},
        )
        for service, backlog in asker.backlogs().items()
        if backlog["oldestS"] > OUTBOX_PATIENCE_S
    ]


def _dead_letters(desk: DeadLetterDesk | None) -> list[Discrepancy]:
    return [
        Discrepancy(code="dead_letters", subject=queue, says={"broker": f"{depth} dead letters"})
        for queue, depth in (desk.depths() if desk is not None else {}).items()
        if depth
    ]
