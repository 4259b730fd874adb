"""What chaos switches do to one queue's batches, as broker, network and machine do it by themselves on bad days.

Owns: how each kind of trouble for consumers is made. Must not know: who switched it on.

What a crash or a lost acknowledgement brings back is left in peace: it comes marked as redelivered. So nothing is
delivered again and again until the queue's delivery limit takes it for poison, whatever the share.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import eventlet

from shared.chaos import figures
from shared.chaos.memory import ChaosMemory
from shared.errors import BrokerUnavailable, ChaosError, ChaosRefusal, OrderSagaError, PermanentError
from shared.logs import get_logger
from shared.messaging.confirming_publisher import ConfirmingPublisher
from shared.messaging.delivery import Delivery
from shared.messaging.headers import CHAOS_COPY_HEADER
from shared.messaging.settlement import Settlement, kept_properties

log = get_logger(__name__)

E = TypeVar("E")
Pairs = Sequence[tuple[Delivery, E]]
DELAY_STEP_S = 0.1


def die() -> None:
    """As by SIGKILL: nothing is finished, nothing is said goodbye to."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


class Mischief:
    """``chance`` gives numbers from 0 to below 1; ``is_ending``: the process would like to end, nobody waits then."""

    def __init__(
        self,
        memory: ChaosMemory,
        settlement: Settlement,
        publisher: ConfirmingPublisher,
        *,
        targets: tuple[str, str],
        is_ending: Callable[[], bool],
        chance: Callable[[], float] = random.random,
        die: Callable[[], None] = die,
    ) -> None:
        self.memory = memory
        self._settlement, self._publisher = settlement, publisher
        self._targets, self._is_ending, self._chance, self._die = targets, is_ending, chance, die

    def before(self, pairs: Pairs[E]) -> list[tuple[Delivery, E]]:
        """Before a batch is handled; those of it that are still to be handled."""
        self._delay()
        amounts = self._amounts()
        for delivery, _ in pairs:
            if self._happens(amounts, "consumer_duplicate") and CHAOS_COPY_HEADER not in delivery.headers:
                self._put_once_more(delivery)
        left = [pair for pair in pairs if not self._fails(pair[0], amounts)]
        self._crash(left, amounts, "consumer_crash_before")
        return left

    def keeps_acknowledgement(self, pairs: Pairs[Any]) -> bool:
        """After a batch was saved; whether it has been settled here, in another way than by acknowledging it."""
        amounts = self._amounts()
        self._crash(pairs, amounts, "consumer_crash_after")
        if not self._happens(amounts, "consumer_drop_ack"):
            return False
        dropped = sum(self._settle_without(delivery) for delivery, _ in pairs)
        self._acted("consumer_drop_ack", dropped)
        return True

    def _settle_without(self, delivery: Delivery) -> bool:
        """Whether it goes back to its queue: what has come before is acknowledged after all."""
        if delivery.is_redelivered:
            delivery.acknowledge()
        else:
            delivery.requeue()
        return not delivery.is_redelivered

    def _amounts(self) -> dict[str, float]:
        return self.memory.amounts(*self._targets)

    def _delay(self) -> None:
        """No longer than the switch is on."""
        began = time.monotonic()
        if "consumer_delay" in self._amounts():
            self._acted("consumer_delay")
        while not self._is_ending():
            left_s = began + self._amounts().get("consumer_delay", 0.0) / 1000 - time.monotonic()
            if left_s <= 0:
                return
            eventlet.sleep(min(left_s, DELAY_STEP_S))

    def _put_once_more(self, delivery: Delivery) -> None:
        headers = {**delivery.headers, CHAOS_COPY_HEADER: 1}
        properties = kept_properties(delivery.properties)
        try:
            self._publisher.publish(
                delivery.body, exchange="", routing_key=delivery.queue, properties=properties, headers=headers
            )
        except (BrokerUnavailable, PermanentError) as error:
            log.warning("chaos_copy_not_made", queue=delivery.queue, error=str(error)[:300])
        else:
            self._acted("consumer_duplicate")

    def _fails(self, delivery: Delivery, amounts: Mapping[str, float]) -> bool:
        """Whether it was made to fail, and settled as whatever fails."""
        error: OrderSagaError
        if self._happens(amounts, kind := "consumer_refusal"):
            error = ChaosRefusal("refused on purpose by a chaos switch")
        elif self._happens(amounts, kind := "consumer_error"):
            error = ChaosError("failed on purpose by a chaos switch")
        else:
            return False
        self._acted(kind)
        self._settlement.settle_failed(delivery, error)
        return True

    def _crash(self, pairs: Pairs[Any], amounts: Mapping[str, float], kind: str) -> None:
        are_new = bool(pairs) and not any(delivery.is_redelivered for delivery, _ in pairs)
        if are_new and self._happens(amounts, kind):
            self._acted(kind)
            self._die()

    def _happens(self, amounts: Mapping[str, float], kind: str) -> bool:
        return kind in amounts and self._chance() < amounts[kind]

    def _acted(self, kind: str, times: int = 1) -> None:
        figures.ACTS.labels(kind).inc(times)
        log.info("chaos_acted", kind=kind, queue=self._targets[1], times=times)
