"""What people ask for: customers, sellers, operators, and somebody with a shell.

Owns: requests and their arguments, drawn by chance. Must not know: when they come (scheduler.py).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from payment_service.domain import payment_id
from shared.envelope import encode

from .record import KEYS, Request, Violation
from .scenario import TOKENS, Wish
from .world import World

KEYS_KEPT_S = 23 * 3600.0


class People:
    """Each action is a pair: ``_can_*`` says whether it is possible, ``_do_*`` takes it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wishes: list[Wish] = list(world.scenario.wishes)

    @property
    def chance(self) -> random.Random:
        return self.world.chance

    def _can_place(self) -> bool:
        return bool(self.wishes)

    def _do_place(self) -> None:
        wish = self.wishes.pop(0)
        order = {
            "userId": "u1",
            "items": [{"item": item, "quantity": quantity} for item, quantity in wish.lines],
            "paymentMode": wish.payment_mode,
            "paymentMethod": wish.token,
        }
        self._ask("place_order", "order_service", {"order": order}, with_key=True)

    def _can_cancel(self) -> bool:
        return bool(self.world.order_ids())

    def _do_cancel(self) -> None:
        by = self.chance.choice(("customer", "seller", "operator"))
        arguments = {"order_id": self.chance.choice(self.world.order_ids()), "by": by}
        self._ask("cancel_order", "order_service", arguments, with_key=True)

    def _orders(self, event_type: str) -> list[str]:
        """Orders of which such an event was published; in an unwise world any order."""
        return self.world.order_ids() if self.world.scenario.is_unwise else self.world.orders_with(event_type)

    def _can_approve(self) -> bool:
        return bool(self._orders_to_approve())

    def _orders_to_approve(self) -> list[str]:
        if self.world.scenario.is_unwise:
            return self.world.order_ids()
        return [id_ for id_ in self.world.orders_with("ORDER_CREATED") if self.world.requires_approval(id_)]

    def _do_approve(self) -> None:
        self._ask_seller("approve_order")

    _can_decline = _can_approve

    def _do_decline(self) -> None:
        self._ask_seller("decline_order")

    def _ask_seller(self, name: str) -> None:
        order_id = self.chance.choice(self._orders_to_approve())
        arguments = {"order_id": order_id, "by": self.chance.choice(("seller", "operator"))}
        self._ask(name, "order_service", arguments, with_key=True)

    def _can_confirm(self) -> bool:
        return bool(self._orders("PAYMENT_PENDING"))

    def _do_confirm(self) -> None:
        order_id = self.chance.choice(self._orders("PAYMENT_PENDING"))
        arguments = {"payment_id": self._payment(order_id), "payment_method": self.chance.choice(TOKENS)}
        self._ask("confirm_payment", "payment_service", arguments, with_key=True)

    def _payment(self, order_id: str) -> str:
        return str(payment_id(UUID(order_id)))

    def _can_fulfil(self) -> bool:
        return bool(self._orders("ORDER_CONFIRMED"))

    def _do_fulfil(self) -> None:
        order_id = self.chance.choice(self._orders("ORDER_CONFIRMED"))
        arguments = {"order_id": order_id, "tracking": self.chance.choice((None, "track-1"))}
        self._ask("fulfil_order", "order_service", arguments, with_key=True)

    def _can_give_back(self) -> bool:
        return bool(self._orders("ORDER_FULFILLED"))

    def _do_give_back(self) -> None:
        line = {"item": self.chance.choice(("mug", "tea", "ring")), "quantity": self.chance.choice((1, 1, 2))}
        goods: dict[str, object] = {"items": [line], "restock": self.chance.random() < 0.6}
        if self.chance.random() < 0.3:
            goods["refundAmount"] = self.chance.choice(("0.00", "4.00", "10.00"))
        arguments = {"order_id": self.chance.choice(self._orders("ORDER_FULFILLED")), "goods": goods}
        self._ask("return_order", "order_service", arguments, with_key=True)

    def _can_refund(self) -> bool:
        return bool(self._orders("PAYMENT_SUCCESS"))

    def _do_refund(self) -> None:
        arguments = {
            "payment_id": self._payment(self.chance.choice(self._orders("PAYMENT_SUCCESS"))),
            "amount": self.chance.choice((None, "3.00", "10.00", "20.00")),
            "reason": "goodwill",
        }
        self._ask("refund_payment", "payment_service", arguments, with_key=True)

    def _can_hold(self) -> bool:
        return True

    def _do_hold(self) -> None:
        held: dict[str, object] = {"items": [{"item": self.chance.choice(("mug", "tea")), "quantity": 1}]}
        if self.chance.random() < 0.5:
            held["ttlSeconds"] = self.chance.choice((5, 100))
        if self.chance.random() < 0.5:
            held["reference"] = self.chance.choice(("r1", "r2"))
        self._ask("reserve_stock", "inventory_service", {"reservation": held}, with_key=True)

    def _can_end_hold(self) -> bool:
        return bool(self.world.answered_ids("reserve_stock", "reservation"))

    def _do_end_hold(self) -> None:
        ids = self.world.answered_ids("reserve_stock", "reservation")
        if self.chance.random() < 0.1:
            ids = self.world.order_ids() or ids
        name = self.chance.choice(("release_reservation", "commit_reservation"))
        self._ask(name, "inventory_service", {"reservation_id": self.chance.choice(ids)}, with_key=True)

    def _can_adjust(self) -> bool:
        return True

    def _do_adjust(self) -> None:
        adjustment = {
            "item": self.chance.choice(("mug", "tea", "ring")),
            "delta": self.chance.choice((-2, -1, 1, 2)),
            "reason": "counted",
        }
        self._ask("adjust_stock", "inventory_service", {"adjustment": adjustment}, with_key=True)

    def _can_create_product(self) -> bool:
        return True

    def _do_create_product(self) -> None:
        product = {
            "item": self.chance.choice(("cup", "jar")),
            "name": "New",
            "sellerId": "s1",
            "price": "10.00",
            "currency": "EUR",
            "onHand": self.chance.choice((0, 5)),
            "requiresApproval": self.chance.random() < 0.5,
        }
        self._ask("create_product", "inventory_service", {"product": product}, with_key=True)

    def _ask(self, name: str, service: str, arguments: Mapping[str, Any], *, with_key: bool) -> None:
        key = f"key-{len(self.world.requests)}" if with_key else None
        request = Request(name=name, service=service, arguments=arguments, key=key, sent_s=self.world.clock.elapsed_s)
        self.world.request(request)

    def _can_repeat_request(self) -> bool:
        return bool(self._repeatable())

    def _repeatable(self) -> list[Request]:
        """Keys are kept for a day; who repeats a request later than that has made a new one."""
        now_s = self.world.clock.elapsed_s
        return [r for r in self.world.requests if now_s - r.sent_s < KEYS_KEPT_S]

    def _do_repeat_request(self) -> None:
        self.world.count_fault("request repeated")
        self.world.request(self.chance.choice(self._repeatable()))

    def _can_misuse_key(self) -> bool:
        return any(request.name == "place_order" and request.answers for request in self._repeatable())

    def _do_misuse_key(self) -> None:
        """The key of an order with another order: refused, whatever became of the first."""
        used = self.chance.choice([r for r in self._repeatable() if r.name == "place_order" and r.answers])
        order = {"userId": "u2", "items": [{"item": "tea", "quantity": 7}]}
        misused = Request(
            name="place_order", service="order_service", arguments={"order": order}, key=used.key, sent_s=used.sent_s
        )
        self.world.request(misused)
        if misused.answers or (misused.refusals and misused.refusals != ["idempotency_key_reused"]):
            raise Violation(KEYS, f"{used.key} was used for another order: {misused}")
        self.world.requests.remove(misused)

    def _can_dispatch_by_hand(self) -> bool:
        return not self.world.strangers

    def _do_dispatch_by_hand(self) -> None:
        """ORDER_CREATED of an order that nobody placed, as nameko's dispatcher would send it."""
        stranger = str(UUID(int=self.world.ids.new().int ^ 1))
        self.world.strangers.append(stranger)
        payload = {
            "id": stranger,
            "userId": "u9",
            "items": [{"item": "mug", "quantity": 1}],
            "price": "10.00",
            "currency": "EUR",
            "paymentMode": "auto",
            "paymentMethod": "tok_success",
        }
        self.world.count_fault("event dispatched by hand")
        self.world.dispatch("ORDER_CREATED", encode(payload), message_id=None)

    def _can_dispatch_again(self) -> bool:
        return bool(self.world.published)

    def _do_dispatch_again(self) -> None:
        """What was said before, under another id: past every inbox, only the state knows that it is old."""
        event = self.chance.choice(list(self.world.published.values()))
        self.world.count_fault("said again under another id")
        self.world.dispatch(event.type, event.message.body, message_id=str(self.world.ids.new()))
