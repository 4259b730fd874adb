"""One shop's day as examples: anna orders two mugs from a potter, pays, and sends one back.

Owns: examples of requests and answers, by operationId. A test sends each request and checks each answer.
Must not know: how they get into the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Examples = Mapping[str, Mapping[str, Any]]

_ORDER_ID = "01a214ee-bc8e-72a8-afa8-ffc5d434af6e"
_PAYMENT_ID = "c7ace051-a05d-5fc2-a219-c750b9202992"
_RESERVATION_ID = "01a214ee-cace-706a-aeba-9db9ca603aa3"
_CART_ID = "01a214f0-11aa-7d3e-8c55-9a1b2c3d4e5f"
_REFUND_ID = "01a214ee-c552-777b-9ad8-4b54dc1bea91"
_PLACED_AT, _CONFIRMED_AT, _DUE_AT = "2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2026-01-31T12:15:00Z"

_TWO_MUGS = [{"item": "mug", "quantity": 2}]
_ONE_MUG = [{"item": "mug", "quantity": 1}]
_ADDRESS = {"name": "Anna Arendt", "line1": "Domplatz 1", "city": "Erfurt", "postalCode": "99084", "country": "DE"}

REQUESTS: Examples = {
    "placeOrder": {
        "two mugs": {"items": _TWO_MUGS},
        "what is in a cart": {"cartId": _CART_ID},
        "the price as the customer saw it, paid later, shipped": {
            "items": _TWO_MUGS,
            "price": "20.00",
            "currency": "EUR",
            "paymentMode": "manual",
            "shippingAddress": _ADDRESS,
        },
        "a card that is declined": {"items": _ONE_MUG, "paymentMethod": "tok_card_declined"},
    },
    "cancelOrder": {"by its customer": {}, "by its seller": {"by": "seller"}},
    "approveOrder": {"approve": {}},
    "declineOrder": {"decline": {}},
    "fulfilOrder": {"with a tracking number": {"tracking": "JJD000390007882"}, "without one": {}},
    "returnOrder": {
        "one mug, as good as new": {"items": _ONE_MUG, "restock": True},
        "one mug, broken, half of its price": {"items": _ONE_MUG, "restock": False, "refundAmount": "5.00"},
    },
    "confirmPayment": {"a card known to the provider": {"paymentMethod": "tok_success"}},
    "refundPayment": {"a part": {"amount": "5.00", "reason": "scratched"}, "all that is left": {}},
    "createPayment": {"of an order": {"orderId": _ORDER_ID}},
    "createCart": {"empty": {}, "with two mugs": {"items": _TWO_MUGS}},
    "putCartItem": {"three of them": {"quantity": 3}},
    "issueToken": {"in development": {"username": "user@ordersaga.example", "password": "User1234!"}},
    "changeProduct": {"a new price": {"price": "11.00"}, "not sold any more": {"active": False}},
    "nudgeSaga": {"nobody answered": {"note": "no answer for ten minutes, inventory was restarted"}},
    "cancelSaga": {"for its customer": {"note": "the customer called, see ticket 4711"}},
    "resolveSaga": {"done by hand": {"note": "refunded in the provider's dashboard, see ticket 4711"}},
    "requestErasure": {"on request": {"userId": "anna", "note": "letter of January 31"}},
    "adminDeadLettersRedrive": {"try one": {"count": 1}},
    "adminReconcileRepair": {
        "stock of a cancelled order": {"code": "stock_held_for_cancelled", "orderId": _ORDER_ID},
        "one of its charges": {"code": "stray_charge", "orderId": _ORDER_ID, "subject": _REFUND_ID},
    },
    "adminDeadLettersDiscard": {
        "test data": {"count": 10, "note": "test data of last Friday, see ticket 4711"},
        "a certain one": {"ids": ["0f343b0931126a20f133d67c2b018a3b"], "note": "sent by hand, by mistake"},
    },
    "createRedrive": {
        "what failed while the database was full": {
            "filter": {"consumer": "order_service", "error": "retries_exhausted"},
            "pace": {"perSecond": 20},
        },
        "of one order": {"filter": {"text": _ORDER_ID}, "max": 10},
    },
    "foreseeRedrive": {"of one event": {"filter": {"event": "PAYMENT_SUCCESS"}, "limit": 20}},
    "advanceRedrive": {"one step": {}},
    "stopRedrive": {"to look first": {"note": "the provider is slow again"}},
    "resumeRedrive": {"go on": {}},
    "changeBehaviour": {"every tenth call fails": {"failure_rate": 0.1}, "slow": {"latency_ms": 300}},
    "switchOn": {
        "every second call to the provider fails, for five minutes": {
            "kind": "psp_failure",
            "target": "psp",
            "amount": 0.5,
            "durationS": 300,
            "note": "rehearsal of the runbook",
        },
        "nothing leaves the order service's outbox": {
            "kind": "relay_pause",
            "target": "order_service",
            "note": "what does the board show?",
        },
    },
    "createProduct": {
        "a mug": {
            "item": "mug",
            "name": "Mug, 300 ml",
            "sellerId": "potter",
            "price": "10.00",
            "currency": "EUR",
            "onHand": 50,
        },
        "made to order": {
            "item": "vase",
            "name": "Vase",
            "sellerId": "potter",
            "price": "120.00",
            "currency": "EUR",
            "onHand": 3,
            "requiresApproval": True,
        },
    },
    "inventoryReserve": {
        "for ten minutes": {"items": [{"item": "mug", "quantity": 3}], "ttlSeconds": 600, "reference": "market stall"}
    },
    "inventoryRelease": {"back on the shelf": {"reservationId": _RESERVATION_ID}},
    "inventoryCommit": {"sold at the stall": {"reservationId": _RESERVATION_ID}},
    "inventoryAdjust": {
        "a delivery": {"item": "mug", "delta": 20, "reason": "delivery 4711"},
        "a loss": {"item": "mug", "delta": -1, "reason": "fell off the shelf"},
    },
    "receiveWebhook": {
        "a charge has succeeded": {
            "id": "evt_1",
            "type": "charge.succeeded",
            "data": {"key": f"{_PAYMENT_ID}:1", "reference": "psp_1"},
        },
        "a charge was declined": {
            "id": "evt_2",
            "type": "charge.failed",
            "data": {"key": f"{_PAYMENT_ID}:1", "reason": "insufficient_funds"},
        },
    },
}

_SUMMARY = {
    "id": _ORDER_ID,
    "userId": "anna",
    "sellerId": "potter",
    "status": "PENDING",
    "reason": None,
    "price": "20.00",
    "currency": "EUR",
    "paymentMode": "auto",
    "deadlineAt": _DUE_AT,
    "settledAt": None,
    "createdAt": _PLACED_AT,
    "updatedAt": _PLACED_AT,
}
_CREATED_EVENT = "01a214ee-bc8f-7175-baf6-5530ce6da8f5"
_ORDER = {
    **_SUMMARY,
    "items": [{"item": "mug", "sellerId": "potter", "quantity": 2, "price": "10.00"}],
    "shippingAddress": None,
    "awaitsApproval": False,
    "fulfilRequestedAt": None,
    "tracking": None,
    "refunded": "0.00",
    "flag": None,
    "flaggedAt": None,
    "returns": [],
    "allowedActions": ["cancel"],
    "history": [{"status": "PENDING", "from": None, "reason": None, "at": _PLACED_AT, "eventId": _CREATED_EVENT}],
    "timeline": [
        {
            "eventId": _CREATED_EVENT,
            "type": "ORDER_CREATED",
            "source": "order_service",
            "causationId": None,
            "correlationId": "checkout-7f3a",
            "at": _PLACED_AT,
            "recordedAt": _PLACED_AT,
            "decision": "emitted",
            "note": "",
            "payload": {"id": _ORDER_ID, "price": "20.00", "currency": "EUR"},
        }
    ],
    "reservation": None,
    "payment": None,
}
_CANCELLED = {
    **_ORDER,
    "status": "CANCELLED",
    "reason": "customer",
    "deadlineAt": None,
    "settledAt": _CONFIRMED_AT,
    "updatedAt": _CONFIRMED_AT,
    "allowedActions": [],
}
_PRODUCT = {
    "item": "mug",
    "name": "Mug, 300 ml",
    "sellerId": "potter",
    "price": "10.00",
    "currency": "EUR",
    "active": True,
    "requiresApproval": False,
    "version": 1,
    "onHand": 50,
    "reserved": 0,
    "available": 50,
    "updatedAt": _PLACED_AT,
}
_RESERVATION = {
    "id": _RESERVATION_ID,
    "kind": "manual",
    "reference": "market stall",
    "status": "RESERVED",
    "generation": 1,
    "items": [{"item": "mug", "quantity": 3}],
    "expiresAt": "2026-01-31T12:10:00Z",
    "createdAt": _PLACED_AT,
    "endedAt": None,
}
_PAYMENT = {
    "id": _PAYMENT_ID,
    "orderId": _ORDER_ID,
    "userId": "anna",
    "status": "PENDING",
    "mode": "manual",
    "amount": "20.00",
    "currency": "EUR",
    "expiresAt": _DUE_AT,
    "charging": True,
    "attemptsLeft": 2,
    "pspReference": None,
    "refunded": "0.00",
    "refunding": "0.00",
    "createdAt": _PLACED_AT,
    "updatedAt": _CONFIRMED_AT,
    "attempts": [],
    "refunds": [],
}
_REFUND = {
    "id": _REFUND_ID,
    "paymentId": _PAYMENT_ID,
    "orderId": _ORDER_ID,
    "amount": "5.00",
    "currency": "EUR",
    "reason": "scratched",
    "status": "PENDING",
    "failure": None,
    "createdAt": _CONFIRMED_AT,
    "endedAt": None,
}
_RETURN = {
    "id": _REFUND_ID,
    "items": _ONE_MUG,
    "restock": True,
    "refundAmount": "10.00",
    "status": "REQUESTED",
    "createdAt": _CONFIRMED_AT,
}
_UP = {"status": "up", "database": "up", "broker": "up"}
_READY = {"status": "ready", "services": {"order_service": _UP, "inventory_service": _UP, "payment_service": _UP}}

_CART = {
    "id": _CART_ID,
    "userId": "anna",
    "status": "OPEN",
    "orderId": None,
    "items": [
        {
            "item": "mug",
            "quantity": 2,
            "name": "Mug, 300 ml",
            "sellerId": "potter",
            "price": "10.00",
            "currency": "EUR",
            "forSale": True,
        }
    ],
    "price": "20.00",
    "currency": "EUR",
    "createdAt": _PLACED_AT,
    "updatedAt": _PLACED_AT,
}
_SWITCH = {
    "id": "01a214ee-d001-7c1f-8a51-2f6f8d0b7b11",
    "service": "payment_service",
    "kind": "psp_failure",
    "target": "psp",
    "amount": 0.5,
    "note": "rehearsal of the runbook",
    "setBy": "operator",
    "setAt": _PLACED_AT,
    "until": "2026-01-31T12:05:00Z",
    "remainingS": 300.0,
}

_SAGA = {
    "orderId": _ORDER_ID,
    "status": "PENDING",
    "reason": None,
    "userId": "anna",
    "sellerId": "potter",
    "waitsFor": "inventory",
    "step": "answer",
    "since": _PLACED_AT,
    "until": _DUE_AT,
    "flag": None,
    "flaggedAt": None,
    "startedAt": _PLACED_AT,
    "correlationId": "checkout-7f3a",
}
_SAGA_DETAIL = {
    **_SAGA,
    "asOf": _CONFIRMED_AT,
    "isWhole": False,
    "isArchived": False,
    "atDeadline": "cancel",
    "allowedActions": ["cancel"],
    "timeline": [
        {
            "eventId": _CREATED_EVENT,
            "type": "ORDER_CREATED",
            "source": "order_service",
            "causationId": None,
            "at": _PLACED_AT,
            "recordedAt": _PLACED_AT,
            "decision": "emitted",
            "note": "",
            "afterCauseS": None,
            "afterStartS": 0.0,
        }
    ],
    "expected": [
        {
            "who": "inventory",
            "events": ["INVENTORY_RESERVED", "INVENTORY_REJECTED"],
            "answersTo": "ORDER_CREATED",
            "isNext": True,
            "until": _DUE_AT,
        }
    ],
}

_SUMS = {
    "currency": "EUR",
    "placedOrders": 2,
    "placed": "30.00",
    "standingOrders": 2,
    "ordered": "30.00",
    "orderedCaptured": "20.00",
    "notCaptured": "10.00",
    "payments": 1,
    "captured": "20.00",
    "refunds": 1,
    "refunded": "5.00",
    "net": "15.00",
}
_FINANCE = {
    "from": "2026-01-01",
    "to": "2026-01-31",
    "asOf": "2026-01-31T12:00:10.000000Z",
    "ageS": 1.2,
    "isStale": False,
    "staleAfterS": 60.0,
    "isWhole": True,
    "sources": [
        {"database": name, "asOf": "2026-01-31T12:00:10.000000Z", "ageS": 1.2, "isStale": False, "lsn": 26_843_545}
        for name in ("order", "payment")
    ],
    "stream": {"name": "cdc.changes", "offset": 118, "messages": 117, "unreadable": 0, "lost": None},
    "rows": [{"day": "2026-01-31", "sellerId": "potter", **_SUMS}],
    "nextCursor": None,
    "totals": [_SUMS],
    "differences": {
        "certain": 0,
        "uncertain": 1,
        "isCut": False,
        "orders": [
            {
                "kind": "confirmed_not_captured",
                "orderId": _ORDER_ID,
                "sellerId": "potter",
                "orderStatus": "CONFIRMED",
                "price": "10.00",
                "paymentStatus": "PENDING",
                "captured": "0.00",
                "refunded": "0.00",
                "carriedOut": "0.00",
                "receivable": "0.00",
                "currency": "EUR",
                "since": "2026-01-31T12:00:09.000000Z",
                "isCertain": False,
            }
        ],
    },
    "reconciliation": {
        "verdict": "behind",
        "meaning": "What differs is on its way: the view is not as far as the ledger",
        "viewAsOf": "2026-01-31T12:00:10.000000Z",
        "lagS": 1.2,
        "ledgerAsOf": "2026-01-31T12:00:11.200000Z",
        "cut": "2026-01-31T12:00:05.000000Z",
        "unbalanced": 0,
        "lines": [
            {
                "currency": "EUR",
                "view": {"captured": "20.00", "refunded": "5.00"},
                "ledger": {"captured": "30.00", "refunded": "5.00"},
                "missing": {"captured": "10.00", "refunded": "0.00"},
                "settledMissing": {"captured": "0.00", "refunded": "0.00"},
                "verdict": "behind",
            }
        ],
        "trouble": None,
    },
}

ANSWERS: Examples = {
    "showFinance": {"one sale is still on its way": _FINANCE},
    "listSagas": {"the last page": {"sagas": [_SAGA], "nextCursor": None, "asOf": _CONFIRMED_AT}},
    "getSaga": {"nobody has answered yet": _SAGA_DETAIL},
    "switchOn": {"on for five minutes": _SWITCH},
    "switchOff": {"before its end": {**_SWITCH, "remainingS": 120.5}},
    "showChaos": {"one switch is on": {"behaviour": [], "switches": [_SWITCH], "unanswered": []}},
    "createCart": {"with two mugs": _CART},
    "getCart": {"with two mugs": _CART},
    "createPayment": {"to be confirmed": {**_PAYMENT, "charging": False, "attemptsLeft": 3}},
    "changeProduct": {"a new price": {**_PRODUCT, "price": "11.00", "version": 2}},
    "placeOrder": {"accepted": _SUMMARY},
    "listOrders": {"the last page": {"orders": [_SUMMARY], "nextCursor": None}},
    "getOrder": {"a moment after it was placed": _ORDER},
    "cancelOrder": {"cancelled": _CANCELLED},
    "returnOrder": {"taken back": _RETURN},
    "getPayment": {"being charged": _PAYMENT},
    "confirmPayment": {"being charged": _PAYMENT},
    "refundPayment": {"under way": _REFUND},
    "createProduct": {"created": _PRODUCT},
    "listProducts": {"the last page": {"products": [_PRODUCT], "nextCursor": None}},
    "getProduct": {"a mug": _PRODUCT},
    "inventoryReserve": {"held": _RESERVATION},
    "inventoryRelease": {"released": {**_RESERVATION, "status": "RELEASED", "endedAt": _CONFIRMED_AT}},
    "inventoryCommit": {"gone for good": {**_RESERVATION, "status": "COMMITTED", "endedAt": _CONFIRMED_AT}},
    "inventoryAdjust": {"after a delivery": {**_PRODUCT, "onHand": 70, "available": 70}},
    "listReservations": {"the last page": {"reservations": [_RESERVATION], "nextCursor": None}},
    "getReservation": {"held by hand": _RESERVATION},
    "receiveWebhook": {"taken": {"applied": True}},
    "healthReady": {"all up": _READY},
}
