"""Every queue of the contract has its dead letters, its consumer, and nobody else's copies."""

from __future__ import annotations

from functools import partial

import pytest
from harness.broker import CHOREOGRAPHY, Broker
from harness.databases import SERVICES
from harness.processes import Processes
from harness.waiting import wait_until

from shared.choreography import event_exchange

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("clean")]

WORK_QUEUES = [queue for queue, _ in CHOREOGRAPHY.work_queues()]


@pytest.fixture
def services(processes: Processes) -> None:
    for process in [processes.start(service) for service in SERVICES]:
        process.wait_ready()


@pytest.mark.parametrize("event_type", sorted(CHOREOGRAPHY.events))
def test_an_event_reaches_its_consumers_and_no_other(broker: Broker, event_type: str) -> None:
    """Given no service, then a published event lies in the queue of each declared consumer, once."""
    event = CHOREOGRAPHY.events[event_type]
    if not event.consumers:
        pytest.skip("declared to have no consumer")
    broker.publish(event_exchange(event.publisher), event_type, b"{}")

    filled = {queue: broker.depth(queue) for queue in WORK_QUEUES if broker.depth(queue)}
    assert filled == {f"{consumer.service}.{event_type}": 1 for consumer in event.consumers}


def test_poison_in_any_queue_ends_in_the_dead_letters_of_that_queue(
    broker: Broker, processes: Processes, services: None
) -> None:
    """Given a bad message in every work queue, then each is consumed, and set aside beside its own queue."""
    for queue in WORK_QUEUES:
        broker.publish("", queue, queue.encode())

    for queue in WORK_QUEUES:
        [letter] = wait_until(partial(broker.dead, queue), f"{queue} has a dead letter")
        assert letter.body == queue.encode()
        assert letter.headers["x-error-code"] == "undecodable"
        assert letter.headers["x-origin-queue"] == queue
    assert all(process.is_alive for process in processes.all)
