"""The tree of errors is a contract: other processes and clients know its names and codes."""

from __future__ import annotations

import json
import pickle

import pytest

from shared.errors import ERRORS_BY_NAME, OrderSagaError, PermanentError, TransientError

CODES = {
    "BrokenRule": "broken_rule",
    "BrokerUnavailable": "broker_unavailable",
    "CartEmpty": "cart_empty",
    "CartFull": "cart_full",
    "CartNotFound": "cart_not_found",
    "CartNotOpen": "cart_not_open",
    "ChaosDisabled": "chaos_disabled",
    "ChaosError": "chaos_error",
    "ChaosRefusal": "chaos_refusal",
    "ChaosSwitchNotFound": "chaos_switch_not_found",
    "RedriveNotFound": "redrive_not_found",
    "NothingSelected": "nothing_selected",
    "Conflict": "conflict",
    "DatabaseUnavailable": "database_unavailable",
    "DeadLettersNotFound": "dead_letters_not_found",
    "ErasureNotFound": "erasure_not_found",
    "FinanceViewDown": "finance_view_down",
    "FinanceViewOff": "finance_view_off",
    "Forbidden": "forbidden",
    "ForeignReservation": "foreign_reservation",
    "IdempotencyKeyInProgress": "idempotency_key_in_progress",
    "IdempotencyKeyReused": "idempotency_key_reused",
    "InvalidEnvelope": "invalid_envelope",
    "InvalidPayload": "invalid_payload",
    "InvalidRequest": "invalid_request",
    "InvalidSignature": "invalid_signature",
    "MethodNotFound": "method_not_found",
    "Misconfigured": "misconfigured",
    "MixedCurrencies": "mixed_currencies",
    "MixedSellers": "mixed_sellers",
    "NotFound": "not_found",
    "OlderThanHorizon": "older_than_horizon",
    "OrderNotApprovable": "order_not_approvable",
    "OrderNotCancellable": "order_not_cancellable",
    "OrderNotFound": "order_not_found",
    "OrderNotFulfillable": "order_not_fulfillable",
    "OrderNotReturnable": "order_not_returnable",
    "OrderArchived": "order_archived",
    "OrderSagaError": "internal_error",
    "OutOfStock": "out_of_stock",
    "PaymentExpired": "payment_expired",
    "PaymentInProgress": "payment_in_progress",
    "PaymentNotFound": "payment_not_found",
    "PaymentNotPayable": "payment_not_payable",
    "PaymentNotReady": "payment_not_ready",
    "PaymentNotRefundable": "payment_not_refundable",
    "PermanentError": "permanent_error",
    "PreconditionFailed": "precondition_failed",
    "PriceMismatch": "price_mismatch",
    "ProductExists": "product_exists",
    "ProductNotFound": "product_not_found",
    "ProviderUnavailable": "provider_unavailable",
    "RefundTooLarge": "refund_too_large",
    "ReservationExists": "reservation_exists",
    "ReservationNotFound": "reservation_not_found",
    "ReservationNotHeld": "reservation_not_held",
    "SagaNotFlagged": "saga_not_flagged",
    "SagaNotNudgeable": "saga_not_nudgeable",
    "RetriesExhausted": "retries_exhausted",
    "ReturnTooLarge": "return_too_large",
    "TopologyMissing": "topology_missing",
    "TransientError": "transient_error",
    "UndecodableMessage": "undecodable",
    "UnknownItem": "unknown_item",
    "UnknownSchemaVersion": "unknown_schema_version",
    "Unprocessable": "unprocessable",
}
"""A code may be added here, never changed or taken away."""


def test_codes_are_stable() -> None:
    assert {name: ERRORS_BY_NAME[name].code for name in CODES} == CODES


def test_every_error_of_the_tree_is_written_down_here() -> None:
    assert set(ERRORS_BY_NAME) == set(CODES)


def test_codes_are_unique() -> None:
    assert len({error.code for error in ERRORS_BY_NAME.values()}) == len(ERRORS_BY_NAME)


@pytest.mark.parametrize("name", CODES)
def test_every_error_is_made_and_made_again_from_its_arguments(name: str) -> None:
    """That is how it travels in an RPC reply: as its name and its args, in JSON."""
    kind = ERRORS_BY_NAME[name]
    error = kind("what happened", {"items": ["mug"]})

    again = kind(*json.loads(json.dumps(error.args)))

    assert (again.message, again.details, str(again)) == ("what happened", {"items": ["mug"]}, "what happened")
    assert kind().details == {}
    assert str(kind()) == name
    assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301


@pytest.mark.parametrize("name", sorted(set(CODES) - {"OrderSagaError"}))
def test_an_error_is_permanent_or_transient_and_never_both(name: str) -> None:
    kind = ERRORS_BY_NAME[name]
    assert issubclass(kind, PermanentError) != issubclass(kind, TransientError)


def test_details_are_not_shared_with_the_caller() -> None:
    details = {"items": ["mug"]}
    error = OrderSagaError("x", details)
    details["items"] = []
    assert error.details == {"items": ["mug"]}
