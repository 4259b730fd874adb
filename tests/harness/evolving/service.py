"""A consumer whose event has changed twice: no real event has yet, and what happens then must be seen to work.

Owns: PAYMENT_PENDING as it might become, one view per major, and a service on the real loop that logs what it gets.
Must not know: what the order service makes of it, whose queue and database it has.
"""

from __future__ import annotations

import os
from typing import Any

from marshmallow import fields
from nameko_sqlalchemy import Database

from order_service.models import Base
from shared.database import ENGINE_OPTIONS
from shared.envelope import Received
from shared.event_schema import EventSchema, Money, Payload, PayloadSchema, currency, order_id
from shared.logs import get_logger
from shared.messaging.batch_consumer import consume
from shared.messaging.chaos_watch import ChaosProvider

log = get_logger(__name__)

EVENT, SERVICE = "PAYMENT_PENDING", "order_service"
VERSION_SETTING = "VIEW_VERSION"


class First(EventSchema):
    order_id = order_id()
    price = Money(required=True)
    currency = currency()


def renamed(payload: Payload) -> Payload:
    """1 → 2: a price is called an amount, as everywhere else."""
    payload["amount"] = payload.pop("price")
    return payload


class Second(EventSchema):
    schema_version = 2
    upcasters = {1: renamed}  # noqa: RUF012 -- as views declare it
    order_id = order_id()
    amount = Money(required=True)
    currency = currency()


class Sum(PayloadSchema):
    amount = Money(required=True)
    currency = currency()


def joined(payload: Payload) -> Payload:
    """2 → 3: an amount and its currency are one thing."""
    return {"id": payload["id"], "due": {"amount": payload["amount"], "currency": payload["currency"]}}


class Third(EventSchema):
    schema_version = 3
    upcasters = {1: renamed, 2: joined}  # noqa: RUF012
    order_id = order_id()
    due = fields.Nested(Sum, required=True)
    reminder = fields.Boolean(load_default=False)


VIEWS: dict[str, type[EventSchema]] = {"1": First, "2": Second, "3": Third}


class EvolvingService:
    """Knows what it got, and nothing else."""

    name = SERVICE
    database = Database(Base, engine_options=ENGINE_OPTIONS)
    chaos = ChaosProvider()

    @consume(EVENT, VIEWS[os.environ.get(VERSION_SETTING, "3")])
    def look(self, events: list[Received[Any]]) -> None:
        for event in events:
            # Written in the log as JSON, which has no money and no ids.
            log.info("seen", body=repr(event.body), came=dict(event.payload), version=event.envelope.schema_version)
