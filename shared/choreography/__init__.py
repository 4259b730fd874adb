"""The declared contract of events, read from rabbitmq/choreography.yml.

Owns: the model of the contract, the names of exchanges and queues that follow from it, and its own consistency.
Must not know: any broker connection, or what a service does with an event.
"""

from shared.choreography.model import (
    Choreography,
    ContractBroken,
    Event,
    dead_letter_queue,
    event_exchange,
    load_choreography,
    retry_exchange,
    rpc_queue,
    work_queue,
)

__all__ = [
    "Choreography",
    "ContractBroken",
    "Event",
    "dead_letter_queue",
    "event_exchange",
    "load_choreography",
    "retry_exchange",
    "rpc_queue",
    "work_queue",
]
