"""The classes of the running code: what each service publishes, and how each consumer sees it.

Owns: finding them by the services' names. Must not know: what is done with them. Nothing in shared imports a service;
only the tools do that use this, when they run.
"""

from __future__ import annotations

import warnings
from importlib import import_module

from shared.choreography.model import Choreography
from shared.event_contracts.checking import Published, Views
from shared.event_schema import EventSchema


def published_classes(choreography: Choreography) -> Published:
    """In the order of the contract."""
    modules = {service: import_module(f"{service}.schemas") for service in choreography.services}
    return {
        event.type: modules[event.publisher].PUBLISHED[event.type]
        for event in choreography.events.values()
        if event.type in modules[event.publisher].PUBLISHED
    }


def consumed_views(choreography: Choreography) -> Views:
    """As the services' entrypoints declare them."""
    # Said once, when eventlet is imported, whoever imports it; Nameko runs on nothing else.
    warnings.filterwarnings("ignore", message="(?s).*Eventlet is deprecated")
    from shared.messaging.batch_consumer import consumed_events

    found: dict[tuple[str, str], type[EventSchema]] = {}
    for service in choreography.services:
        module, _, name = import_module(f"{service}.__main__").PROCESS.service.partition(":")
        views = consumed_events(getattr(import_module(module), name))
        found |= {(service, event): view for event, view in views.items()}
    return found
