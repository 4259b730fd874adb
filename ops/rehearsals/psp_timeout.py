"""Owns: a provider that answers after its limit, or never, and what becomes of the orders that wait for it.

Must not know: how a rehearsal is run.
"""

from __future__ import annotations

from collections.abc import Mapping

from ops.rehearsals.figures import Figure
from ops.rehearsals.options import Option, Options
from ops.rehearsals.playing import Play
from ops.rehearsals.rehearsal import Conclusion, Ending, Place, Rehearsal, harmless
from ops.scenarios.provider import all_delivered, booked
from ops.scenarios.script import charges, count, words

_USUAL_LIMIT_S = 30.0
_USUAL_CALL_S = 10.0
_ROLLED_BACK = "CANCELLED (payment_failed)"
_WEBHOOKS = 2


def settings(options: Options) -> Mapping[str, str]:
    """One call must not take longer than all of them together."""
    limit_s = options.number("limit")
    if limit_s == _USUAL_LIMIT_S:
        return {}
    return {"PSP_LIMIT_S": f"{limit_s:g}", "PSP_CALL_TIMEOUT_S": f"{min(_USUAL_CALL_S, limit_s / 2):g}"}


def play(play: Play) -> Conclusion:
    limit_s, answer_s = play.options.number("limit"), play.options.number("answer-after")
    play.patience_s += limit_s + answer_s
    silent, late, good = play.product(), play.product(), play.product()
    late_ms = {"late_ms": answer_s * 1000} if answer_s else {}
    with play.stage.provider_behaves(**late_ms):
        play.wait(1.2, "what the payment service knows of its provider's behaviour is up to a second old")
        never = play.place(silent, 2, paymentMethod="tok_timeout")
        slow = play.place(late, 3, paymentMethod="tok_async_late") if answer_s else None
        play.step(
            f"two orders: one call is never answered, one after {answer_s:g} s" if slow else "one order, never answered"
        )
        _meanwhile(play, never, silent, good)
        _never(play, never, silent)
        if slow is not None:
            _late(play, slow, late)
    took_s = _waited_s(play, never)
    play.facts |= {"limitS": limit_s, "failedAfterS": took_s, "rolledBack": 1 if slow is None else 2}
    return harmless(
        f"given up after {took_s:.1f} s (limit {limit_s:g} s): order cancelled, stock back on the shelf, "
        "the charge voided in case it was made, and an answer that came later changed nothing"
    )


def _meanwhile(play: Play, never: str, silent: str, good: str) -> None:
    """The order waits and holds its stock; other customers are served."""
    play.reserved(never)
    play.expect("it waits", "10 on hand, 2 reserved", play.stock(silent))
    play.expect("another card meanwhile", "CONFIRMED", words(play.ended(play.place(good))))


def _never(play: Play, order_id: str, item: str) -> None:
    order = play.order_when(order_id, lambda o: o["status"] == "CANCELLED", "the limit has passed")
    play.step("the limit has passed for the one that is never answered")
    play.expect("order", _ROLLED_BACK, words(order))
    order = play.ended(order_id)
    play.step("settled: stock and money are known to be back")
    play.expect("charge", "psp_timeout", charges(play.payment(order)))
    play.expect("provider's book", "VOIDED", booked(play, order)["status"])
    play.expect_stock(item, 10, 0)


def _late(play: Play, order_id: str, item: str) -> None:
    order = play.ended(order_id)
    play.expect("the one answered late", _ROLLED_BACK, words(order))
    all_delivered(play, order, _WEBHOOKS)
    play.step("the provider's good news has come, too late")
    play.until(lambda: booked(play, order)["status"] == "VOIDED", "the charge is voided")
    latest = play.order(order_id)
    play.expect("and still", _ROLLED_BACK, words(latest))
    play.expect("success said", 0, count(latest, "PAYMENT_SUCCESS"))
    play.expect("provider's book", "VOIDED", booked(play, order)["status"])
    play.expect_stock(item, 10, 0)


_WAITED = """
select extract(epoch from max(at) filter (where status = 'CANCELLED') - max(at) filter (where status = 'RESERVED'))
from order_status_history where order_id = %s
"""


def _waited_s(play: Play, order_id: str) -> float:
    return round(float(play.books.rows("order", _WAITED, (order_id,))[0][0]), 1)


REHEARSAL = Rehearsal(
    name="psp_timeout",
    what="The provider does not answer within its limit: for one order never, for another one after it was given up.",
    why="Nobody knows then whether money was taken; who guesses charges twice, or ships for nothing.",
    watch=(
        Place(where="dashboard", what="/admin/sagas: both orders wait for payment_service, until when"),
        Place(
            where="UI, Queues",
            what="payment_service.ORDER_CANCELLED and inventory_service.PAYMENT_FAILED, at the limit",
        ),
        Place(where="command", what="ordersaga psp book; ordersaga saga ID"),
        Place(
            where="figures", what="payment_failure_rate, ordersaga_psp_circuit_state, payment_attempt_latency_seconds"
        ),
    ),
    foretold=Ending.HARMLESS,
    play=play,
    options=(
        Option(
            name="limit",
            usual=_USUAL_LIMIT_S,
            short=8,
            least=2,
            most=120,
            meaning="Seconds the provider is given in all; other than 30 restarts processes with PSP_LIMIT_S.",
        ),
        Option(
            name="answer-after",
            usual=35,
            short=16,
            least=0,
            most=300,
            meaning="Seconds until the late answer comes; 0: it never does.",
        ),
    ),
    settings=settings,
    figures=(
        Figure(name="ordersaga_payment_attempts_ended_total", labels={"kind": "CHARGE", "status": "TIMED_OUT"}),
        Figure(name="payment_attempt_latency_seconds_count", labels={"kind": "VOID"}),
        Figure(name="payment_failure_rate", is_gauge=True),
        Figure(name="ordersaga_orders_reached_status_total", labels={"reason": "payment_failed"}),
    ),
)
