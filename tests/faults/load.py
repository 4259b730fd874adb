"""Customers who order all the time, whatever breaks: an open loop, paced, each request repeated until it is answered.

Owns: the thread with its event loop, the pace, and patience. Must not know: faults, databases, what customers want.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ops.people import SHOP, customer, people_of, seller
from ops.waiting import holds_within

from .ledger import Ledger
from .requests import NoAnswer, Reply, Request, send
from .wishes import Shelf, Wish, another_body, next_wish

# More of them only say the same again to a machine that is busy with coming back.
MOST_WAITING = 1_500
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 4.0
_PASSING = {408, 429, 502, 503, 504}
_PASSING_CODES = {"idempotency_key_in_progress"}


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    environment: Mapping[str, str]
    chance: random.Random
    orders_per_s: float
    shelf: Callable[[], Shelf]


class Load:
    """Use as a context manager: it begins to order at once. ``hang_up_share`` may be changed while it runs."""

    def __init__(self, plan: LoadPlan) -> None:
        self.ledger = Ledger()
        self.hang_up_share = 0.0
        self._plan = plan
        self._people = people_of(plan.environment)
        self._url = plan.environment["GATEWAY_URL"]
        self._run, self._numbers = secrets.token_hex(4), itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ordering, self._ending = True, False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._pace()), name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending = True
        self._thread.join(60)

    def pause(self) -> None:
        """No new orders; those under way go on until they are answered."""
        self._ordering = False

    def resume(self) -> None:
        self._ordering = True

    def shelf(self) -> Shelf:
        """What is for sale just now."""
        return self._plan.shelf()

    @property
    def tasks(self) -> int:
        """How many customers are not done."""
        return len(self._tasks)

    def is_quiet(self) -> bool:
        return not self._ordering and not self._tasks

    def wait_for_more(self, orders: int, *, timeout_s: float) -> bool:
        """Whether that many were accepted from now on: load is really there."""
        wanted = len(self.ledger.accepted) + orders
        return holds_within(lambda: len(self.ledger.accepted) >= wanted, timeout_s=timeout_s)

    async def _pace(self) -> None:
        """An order each 1/rate seconds, by the clock and not by answers; after a pause it does not catch up."""
        every_s, due_s = 1 / self._plan.orders_per_s, time.monotonic()
        while not self._ending:
            due_s = max(due_s + every_s, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if self._ordering:
                self._begin()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self) -> None:
        if len(self._tasks) >= MOST_WAITING:
            self.ledger.held_back += 1
            return
        wish = next_wish(self._plan.chance, self._plan.shelf())
        key = f"{self._run}-{next(self._numbers)}"
        task = asyncio.get_running_loop().create_task(self._shop(wish, key))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.ledger.complain(f"the load itself failed: {type(error).__name__}: {error}")

    async def _shop(self, wish: Wish, key: str) -> None:
        self.ledger.open_keys.add(key)
        token = self._people.token(customer(wish.user))
        order = Request(path="/orders", body=wish.body, token=token, key=key)
        await asyncio.gather(*(self._place(order) for _ in range(wish.copies)))
        if wish.is_repeated:
            await self._place(order)
        if wish.has_other_body:
            await self._misuse(order)
        self.ledger.open_keys.discard(key)
        if key in self.ledger.accepted:
            await self._follow_up(wish, key, token)

    async def _place(self, order: Request) -> None:
        hangs_up_s = self._plan.chance.uniform(0.0, 0.05)
        if self._plan.chance.random() < self.hang_up_share:
            await self._once(Request(**{**vars(order), "hangs_up_after_s": hangs_up_s}))
        reply = await self._until_answered(order)
        if reply.status == 202:
            self.ledger.accept(order.key, str(reply.body["id"]))
        else:
            self.ledger.complain(f"POST /orders {order.body} was refused: {reply.status} {reply.code}")

    async def _misuse(self, order: Request) -> None:
        """The key belongs to an order that was answered: for another one it must be refused."""
        reply = await self._until_answered(Request(**{**vars(order), "body": another_body(order.body)}))
        if (reply.status, reply.code) != (422, "idempotency_key_reused"):
            self.ledger.complain(f"key {order.key} with another body was answered {reply.status} {reply.code}")

    async def _follow_up(self, wish: Wish, key: str, token: str) -> None:
        path = f"/orders/{self.ledger.accepted[key]}"
        if wish.fulfils_after_s is not None:
            await asyncio.sleep(wish.fulfils_after_s)
            shop = self._people.token(seller(SHOP))
            await self._ask(Request(path=f"{path}/fulfil", body={}, token=shop, key=f"{key}-fulfil"))
        if wish.cancels_after_s is not None:
            await asyncio.sleep(wish.cancels_after_s)
            await self._ask(Request(path=f"{path}/cancel", body={}, token=token, key=f"{key}-cancel"))

    async def _ask(self, request: Request) -> None:
        """Granted, or refused because it comes too late or too early: both are good answers."""
        self.ledger.open_keys.add(request.key)
        reply = await self._until_answered(request)
        self.ledger.open_keys.discard(request.key)
        if reply.status not in (202, 409):
            self.ledger.complain(f"POST {request.path} was answered {reply.status} {reply.code}")

    async def _until_answered(self, request: Request) -> Reply:
        pause_s = FIRST_PAUSE_S
        while True:
            reply = await self._once(request)
            if reply is not None and not _is_passing(reply):
                return reply
            await asyncio.sleep(pause_s * self._plan.chance.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _once(self, request: Request) -> Reply | None:
        try:
            reply = await send(self._url, request)
        except NoAnswer:
            self.ledger.answers["none"] += 1
            return None
        self.ledger.answers[str(reply.status)] += 1
        if reply.status == 500:
            self.ledger.complain(f"POST {request.path} was answered 500: {dict(reply.body)}")
        return reply


def _is_passing(reply: Reply) -> bool:
    return reply.status in _PASSING or reply.code in _PASSING_CODES
