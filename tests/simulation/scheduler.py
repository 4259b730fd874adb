"""What happens next: any of the things that could, by chance; and in the end everything that is still to be done.

Owns: actions, their probabilities, the long calm at the end. Must not know: what must be true (invariants.py).

A schedule is a list of numbers, one for each step, and each step draws all it needs from its own number. So a step can
be left out without changing what the others draw: that is how a failing schedule is made smaller. The number 0 is a
step in which nothing happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from . import invariants
from .people import People
from .record import AT_REST, Violation
from .world import Room, World

STEPS = 50
MOST_ROUNDS = 60
_A_MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class Action:
    name: str
    weight: int
    is_possible: Callable[[], bool]
    take: Callable[[], None]


class Scheduler(People):
    """Takes steps in a world."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.stalled = set(world.scenario.stalled)
        self.is_ending = False
        self._actions = [
            Action(
                name=name, weight=weight, is_possible=getattr(self, f"_can_{name}"), take=getattr(self, f"_do_{name}")
            )
            for name, weight in world.scenario.weights.items()
            if weight
        ]
        world.while_paused = self._step

    def run(self, steps: Sequence[int]) -> None:
        """Raises Violation."""
        self._draw_from(1)
        self._do_place()
        if self.world.scenario.has_head_start:
            self._do_lull()
        for number in steps:
            if number:
                self._draw_from(number)
                self._step()
        self._draw_from(2)
        self.calm_down()
        invariants.check_at_rest(self.world)

    def _draw_from(self, number: int) -> None:
        self.world.chance = random.Random(number)  # noqa: S311
        self.world.ids.chance = random.Random(number + 0.5)  # noqa: S311

    def _step(self) -> None:
        possible = [action for action in self._actions if action.is_possible()]
        if not possible:
            return
        (action,) = self.chance.choices(possible, [action.weight for action in possible])
        self.world.tally.steps += 1
        self.world.tally.actions[action.name] += 1
        action.take()
        invariants.check_always(self.world)

    # Delivery

    def _can_deliver(self) -> bool:
        return bool(self.world.bus.filled)

    def _filled_queue(self) -> str:
        filled = self.world.bus.filled
        fast = [queue for queue in filled if queue not in self.stalled]
        return self.chance.choice(fast if fast and self.chance.random() < 0.97 else filled)

    def _do_deliver(self) -> None:
        queue = self._filled_queue()
        waiting = range(len(self.world.bus.queues[queue]))
        count = min(len(waiting), self.chance.choice((1, 1, 2, 5)))
        lose = self.chance.random() < self.world.scenario.fault_rate / 4
        self.world.deliver(queue, self.chance.sample(waiting, count), lose_acknowledgement=lose)

    _can_repeat_delivery = _can_deliver

    def _do_repeat_delivery(self) -> None:
        """The broker delivers again what it has not let go of."""
        queue = self._filled_queue()
        position = self.chance.randrange(len(self.world.bus.queues[queue]))
        self.world.count_fault("delivered twice")
        self.world.bus.repeat(queue, position)
        self.world.deliver(queue, [position])

    def _can_stall_queue(self) -> bool:
        return bool(self.world.bus.filled)

    def _do_stall_queue(self) -> None:
        """What lies in it now, and what comes, stays there for the most part until the end."""
        queue = self.chance.choice(self.world.bus.filled)
        self.world.count_fault("queue stalled")
        self.world.say(f"    {queue}")
        self.stalled.add(queue)

    def _can_publish_again(self) -> bool:
        return bool(self.world.published)

    def _do_publish_again(self) -> None:
        """An old event comes once more, to all who consume it."""
        event = self.chance.choice(list(self.world.published.values()))
        self.world.count_fault("published again long after")
        self.world.bus.send(event.message)

    # Relays

    def _can_relay(self) -> bool:
        return any(room.may_have_events for room in self.world.rooms.values())

    def _do_relay(self) -> None:
        room = self.chance.choice([room for room in self.world.rooms.values() if room.may_have_events])
        fault_rate = self.world.scenario.fault_rate
        crash_after = self.chance.choice((0, 1, 2)) if self.chance.random() < fault_rate else None
        lose_after = self.chance.choice((0, 1)) if self.chance.random() < fault_rate / 2 else None
        if self.chance.random() < fault_rate / 2:
            refused = self.chance.randrange(3)
            room.publisher.refuses = lambda row: row.envelope.event_id.int % 3 == refused and self._refused()
        self.world.relay(room, crash_after=crash_after, lose_after=lose_after)
        room.publisher.refuses = lambda _row: False

    def _refused(self) -> bool:
        self.world.count_fault("event refused by the broker")
        return True

    # Time

    def _can_pass_time(self) -> bool:
        return True

    def _do_pass_time(self) -> None:
        """A little, or to just before or just after the moment something is due."""
        due = sorted(moment for moment in self.world.due() if moment > self.world.clock.now)
        if due and self.chance.random() < 0.6:
            moment = self.chance.choice(due)
            self.world.pass_time_until(moment + self.chance.choice((-1, 1, 1)) * _A_MOMENT)
        else:
            self.world.pass_time(self.chance.choice((0.01, 0.5, 2, 6, 15, 40)) * self.chance.random())
        if self.chance.random() < 0.3:
            self._fire_all()

    def _can_outage(self) -> bool:
        return not self.world.pauses

    def _do_outage(self) -> None:
        """The broker is away for long: nothing is delivered, and the clocks go on."""
        self.world.count_fault("nothing delivered for long")
        self.world.pass_time(self.chance.choice((30, 70, 330, 650, 1000)))
        self._fire_all()

    def _can_fire_timer(self) -> bool:
        return True

    def _do_fire_timer(self) -> None:
        room = self.chance.choice(list(self.world.rooms.values()))
        self.world.fire(room, self.chance.choice(room.replicas[0].timers))

    # The payment service's workers

    def _can_call(self) -> bool:
        return any(worker.charger.to_call for worker in self.world.workers)

    def _do_call(self) -> None:
        """Also a frozen worker's: its call was on the way when it froze."""
        worker = self.chance.choice([worker for worker in self.world.workers if worker.charger.to_call])
        self.world.call(worker, self.chance.randrange(len(worker.charger.to_call)))

    def _can_save(self) -> bool:
        return any(worker.charger.has_answers and not worker.is_frozen for worker in self.world.workers)

    def _do_save(self) -> None:
        worker = self.chance.choice([w for w in self.world.workers if w.charger.has_answers and not w.is_frozen])
        self.world.save(worker)

    def _can_crash_worker(self) -> bool:
        return any(worker.charger.to_call or worker.charger.has_answers for worker in self.world.workers)

    def _do_crash_worker(self) -> None:
        worker = self.chance.choice([w for w in self.world.workers if w.charger.to_call or w.charger.has_answers])
        self.world.say(f"{worker.name} crashes")
        self.world.count_fault("worker crashed with calls in hand")
        worker.crash()

    def _can_freeze_worker(self) -> bool:
        return not any(worker.is_frozen for worker in self.world.workers)

    def _do_freeze_worker(self) -> None:
        """Rather one that has something in hand, and often for longer than its lease."""
        busy = [w for w in self.world.workers if w.charger.to_call or w.charger.has_answers]
        worker = self.chance.choice(busy or self.world.workers)
        self.world.say(f"{worker.name} freezes")
        self.world.count_fault("worker frozen")
        worker.is_frozen = True
        if self.chance.random() < 0.5:
            self.world.pass_time(self.chance.choice((11, 35)))

    def _can_thaw_worker(self) -> bool:
        return any(worker.is_frozen for worker in self.world.workers)

    def _do_thaw_worker(self) -> None:
        (worker,) = (worker for worker in self.world.workers if worker.is_frozen)
        self.world.say(f"{worker.name} wakes up")
        worker.is_frozen = False
        if self.chance.random() < 0.5:
            # Its timer is as late as everything else of it, and may be the first to notice.
            self.world.fire(self.world.rooms["payment_service"], "take_over_lapsed_attempts", worker)
        worker.keep_lease(self.world.clock.elapsed_s)

    # Webhooks

    def _can_webhook(self) -> bool:
        return bool(self.world.provider.untold)

    def _do_webhook(self) -> None:
        """In any order."""
        self.world.tell(self.chance.choice(self.world.provider.untold))

    def _can_repeat_webhook(self) -> bool:
        return any(webhook.heard for webhook in self.world.provider.webhooks)

    def _do_repeat_webhook(self) -> None:
        self.world.count_fault("webhook told twice")
        self.world.tell(self.chance.choice([w for w in self.world.provider.webhooks if w.heard]))

    # The calm at the end, and lulls on the way there

    def _can_lull(self) -> bool:
        return not self.world.pauses

    def _do_lull(self) -> None:
        """For once all goes well: everything under way arrives, and no time passes."""
        self.world.say("a lull")
        self.world.is_calm = True
        self._work_off()
        self.world.is_calm = False

    def calm_down(self) -> None:
        """No more faults: all is delivered, and time passes until nothing is due any more."""
        world = self.world
        world.say("calm")
        world.is_calm = self.is_ending = True
        for worker in world.workers:
            worker.is_frozen = False
        world.pass_time(1)
        for room in world.rooms.values():
            room.may_have_events = True
        for _ in range(MOST_ROUNDS):
            self._work_off()
            due = world.due()
            if not due:
                return
            world.pass_time_until(min(due) + _A_MOMENT)
            self._fire_all()
        raise Violation(AT_REST, f"still due after {MOST_ROUNDS} rounds: {min(world.due())}")

    def _work_off(self) -> None:
        for _ in range(MOST_ROUNDS):
            if not any([*self._relay_all(), *self._deliver_all(), *self._charge_all(), *self._tell_all()]):
                return
            invariants.check_always(self.world)
        raise Violation(AT_REST, "events make events without end")

    def _relay_all(self) -> Iterator[bool]:
        for room in self.world.rooms.values():
            while room.may_have_events:
                yield self.world.relay(room)

    def _deliver_all(self) -> Iterator[bool]:
        for queue in self.world.bus.filled:
            if queue in self.stalled and not self.is_ending:
                continue
            self.world.deliver(queue, list(range(len(self.world.bus.queues[queue]))))
            yield True

    def _charge_all(self) -> Iterator[bool]:
        for worker in self.world.workers:
            while not worker.is_frozen and (worker.charger.to_call or worker.charger.has_answers):
                if worker.charger.to_call:
                    self.world.call(worker, 0)
                if worker.charger.has_answers:
                    self.world.save(worker)
                yield True

    def _tell_all(self) -> Iterator[bool]:
        for webhook in self.world.provider.untold:
            self.world.tell(webhook)
            yield True

    def _fire_all(self) -> None:
        for room in self._rooms():
            for timer in room.replicas[0].timers:
                if timer != "forget_what_is_old":
                    self.world.fire(room, timer)

    def _rooms(self) -> list[Room]:
        return list(self.world.rooms.values())
