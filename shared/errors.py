"""The one tree of errors, with codes that never change.

Owns: what can go wrong, said in a way every room understands (RPC replies, dead-letter reasons, problem documents).
Must not know: HTTP, AMQP or SQL. The gateway alone maps codes to HTTP statuses.

Permanent errors come again however often the same input is tried; transient errors may pass. The consumer decides by
this difference alone: permanent goes to the dead letters, transient is tried again later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


def _json_ready(value: Any) -> Any:
    """Marshmallow numbers the entries of a list; a JSON object's names are texts."""
    if isinstance(value, Mapping):
        return {str(name): _json_ready(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(inner) for inner in value]
    return value


class OrderSagaError(Exception):
    """Base of everything this system raises on purpose.

    ``code`` is stable and machine-readable; ``details`` is JSON-ready. Both travel in RPC replies as
    ``exc_args = [message, details]``, which is also why ``args`` holds exactly these two.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str = "", details: Mapping[str, Any] | None = None) -> None:
        self.message = message or type(self).__name__
        self.details: dict[str, Any] = _json_ready(details or {})
        super().__init__(self.message, self.details)

    def __str__(self) -> str:
        return self.message


class PermanentError(OrderSagaError):
    """Trying again cannot help: the input itself is refused."""

    code = "permanent_error"


class TransientError(OrderSagaError):
    """Trying again later may help: something this process needs is out of reach or busy."""

    code = "transient_error"


# Requests


class InvalidRequest(PermanentError):
    """The request's shape or values are wrong; details: {"errors": {field: [messages]}}."""

    code = "invalid_request"


class Forbidden(PermanentError):
    """The caller may see this, but not do that; what a caller may not even see is NotFound."""

    code = "forbidden"


class ChaosDisabled(PermanentError):
    """Trouble is not made on purpose in this installation (CHAOS_ENABLED)."""

    code = "chaos_disabled"


class PreconditionFailed(PermanentError):
    """The thing has changed since its sender last saw it; details: {"version"} as it is now."""

    code = "precondition_failed"


class NotFound(PermanentError):
    code = "not_found"


class OrderNotFound(NotFound):
    code = "order_not_found"


class ProductNotFound(NotFound):
    code = "product_not_found"


class CartNotFound(NotFound):
    code = "cart_not_found"


class PaymentNotFound(NotFound):
    code = "payment_not_found"


class ReservationNotFound(NotFound):
    code = "reservation_not_found"


class ErasureNotFound(NotFound):
    code = "erasure_not_found"


class ChaosSwitchNotFound(NotFound):
    """No switch with this id is on; it may have ended."""

    code = "chaos_switch_not_found"


class DeadLettersNotFound(NotFound):
    """No work queue has this name, or the queue of its dead letters is not declared; details: {"queue"}."""

    code = "dead_letters_not_found"


class RedriveNotFound(NotFound):
    code = "redrive_not_found"


class Conflict(PermanentError):
    code = "conflict"


class ProductExists(Conflict):
    code = "product_exists"


class PriceMismatch(Conflict):
    """The client's price differs from the price list; details: {"price", "currency"} as they are now."""

    code = "price_mismatch"


class OrderNotCancellable(Conflict):
    """The order is being shipped or has ended in another way; details: {"status", "allowedActions"}."""

    code = "order_not_cancellable"


class OrderNotApprovable(Conflict):
    """The order does not wait for an approval; details: {"status", "allowedActions"}."""

    code = "order_not_approvable"


class OrderNotFulfillable(Conflict):
    """The order is not confirmed, or its stock is not held; details: {"status", "allowedActions"}."""

    code = "order_not_fulfillable"


class OrderNotReturnable(Conflict):
    """Only what was fulfilled can come back; details: {"status", "allowedActions"}."""

    code = "order_not_returnable"


class OrderArchived(Conflict):
    """The order is over and was put away: it can be looked at, nothing can be asked of it; details: {"status"}."""

    code = "order_archived"


class SagaNotNudgeable(Conflict):
    """No event of the order waits for an answer, or it is too old; details: {"status", "step", "flag"}."""

    code = "saga_not_nudgeable"


class SagaNotFlagged(Conflict):
    """There is nothing to resolve; details: {"status", "step", "flag"}."""

    code = "saga_not_flagged"


class CartNotOpen(Conflict):
    """The cart has become an order; details: {"orderId"}."""

    code = "cart_not_open"


class PaymentNotReady(Conflict):
    """Nothing is to be paid for this order yet, because its stock is not reserved yet; worth asking again."""

    code = "payment_not_ready"


class PaymentNotPayable(Conflict):
    """The payment is not one that waits for its customer (any more); details: {"status"}."""

    code = "payment_not_payable"


class PaymentExpired(Conflict):
    """Too late: a charge could not end before the reservation does; details: {"expiresAt"}."""

    code = "payment_expired"


class PaymentInProgress(Conflict):
    """An earlier attempt to pay has no outcome yet."""

    code = "payment_in_progress"


class PaymentNotRefundable(Conflict):
    """No money was taken; details: {"status"}."""

    code = "payment_not_refundable"


class ReservationNotHeld(Conflict):
    """The hold has ended already; details: {"status"}."""

    code = "reservation_not_held"


class ForeignReservation(Conflict):
    """The reservation belongs to an order: only its saga moves it."""

    code = "foreign_reservation"


class ReservationExists(Conflict):
    """Another hold has this reference."""

    code = "reservation_exists"


class OutOfStock(Conflict):
    """All lines or none; details: {"items": [...]} that there is not enough of."""

    code = "out_of_stock"


class IdempotencyKeyInProgress(Conflict):
    """A request with this key is still running; safe to repeat in a moment."""

    code = "idempotency_key_in_progress"


class Unprocessable(PermanentError):
    code = "unprocessable"


class UnknownItem(Unprocessable):
    """Not in the price list or not for sale; details: {"items": [...]}."""

    code = "unknown_item"


class MixedSellers(Unprocessable):
    """One seller per order; details: {"sellerIds": [...]}."""

    code = "mixed_sellers"


class MixedCurrencies(Unprocessable):
    code = "mixed_currencies"


class CartEmpty(Unprocessable):
    code = "cart_empty"


class CartFull(Unprocessable):
    """More lines than an order may have; details: {"maxLines"}."""

    code = "cart_full"


class RefundTooLarge(Unprocessable):
    """More than is left of the payment, or than the returned lines cost; details: {"refundable", "currency"}."""

    code = "refund_too_large"


class ReturnTooLarge(Unprocessable):
    """More than was shipped and not returned yet; details: {"items": {item: still returnable}}."""

    code = "return_too_large"


class NothingSelected(Unprocessable):
    """There is nothing to be done: no dead letter matches."""

    code = "nothing_selected"


class IdempotencyKeyReused(Unprocessable):
    """The key was used before with another payload."""

    code = "idempotency_key_reused"


class InvalidSignature(PermanentError):
    """A webhook that its sender did not sign, or signed too long ago."""

    code = "invalid_signature"


class MethodNotFound(PermanentError):
    """No such RPC method."""

    code = "method_not_found"


# Messages: why an event goes to the dead letters


class UndecodableMessage(PermanentError):
    """The body is not strict UTF-8 JSON of an object, or is encoded or compressed in a way nobody here sends."""

    code = "undecodable"


class InvalidEnvelope(PermanentError):
    """An AMQP property or header has a type or length nobody here sends."""

    code = "invalid_envelope"


class UnknownSchemaVersion(PermanentError):
    """The event's major schema version is not one that this consumer reads."""

    code = "unknown_schema_version"


class InvalidPayload(PermanentError):
    """The payload does not load in the consumer's own view; details: {"errors": {field: [messages]}}."""

    code = "invalid_payload"


class OlderThanHorizon(PermanentError):
    """So old that the inbox may have forgotten it: applying it might be applying it twice."""

    code = "older_than_horizon"


class BrokenRule(PermanentError):
    """The event asks for something the domain forbids in every state."""

    code = "broken_rule"


class ChaosRefusal(PermanentError):
    """Refused on purpose, by a chaos switch; as good as any once it is off."""

    code = "chaos_refusal"


class RetriesExhausted(PermanentError):
    """Transient errors on every attempt; details: {"attempts", "last_error"}."""

    code = "retries_exhausted"


# Transient


class DatabaseUnavailable(TransientError):
    code = "database_unavailable"


class BrokerUnavailable(TransientError):
    code = "broker_unavailable"


class ProviderUnavailable(TransientError):
    """The payment provider did not answer; the outcome of the call is unknown."""

    code = "provider_unavailable"


class FinanceViewOff(TransientError):
    """The finance view is not part of this installation, or not switched on."""

    code = "finance_view_off"


class FinanceViewDown(TransientError):
    """The finance view should be there, and does not answer."""

    code = "finance_view_down"


class ChaosError(TransientError):
    """Failed on purpose, by a chaos switch."""

    code = "chaos_error"


class Misconfigured(PermanentError):
    """A setting is missing or absurd; the process must not start."""

    code = "misconfigured"


class TopologyMissing(TransientError):
    """A queue or exchange this process needs does not exist yet; ``ordersaga topology`` declares it."""

    code = "topology_missing"


def _tree(root: type[OrderSagaError]) -> dict[str, type[OrderSagaError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


ERRORS_BY_NAME: dict[str, type[OrderSagaError]] = _tree(OrderSagaError)
"""Class name (``exc_type`` of an RPC reply) → class."""
