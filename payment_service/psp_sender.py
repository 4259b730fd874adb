"""Sends the simulated provider's webhooks until each has been taken.

Owns: leases, tries and their pauses, the POST itself. Must not know: who listens, what the webhooks say.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from payment_service import psp_book as book
from payment_service.psp_webhooks import PROCESSING
from payment_service.webhooks import SIGNATURE_HEADER, sign
from shared.logs import get_logger
from shared.metrics import counter

log = get_logger(__name__)

SENDERS = 8
SEND_TIMEOUT_S = 5.0
LEASE = timedelta(seconds=3 * SEND_TIMEOUT_S)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
POLL_S = 0.2
_POLL_AFTER_ERROR_S = 2.0
_WEBHOOKS = counter(
    "psp_webhooks_sent", "Webhooks the simulated provider sent, by whether they were taken", ("outcome",)
)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Where webhooks go, and the secret that they are signed with."""

    url: str
    secret: str

    def post(self, body: str, at: datetime) -> int:
        """The status of the answer. A redirect is an answer like any other. Raises OSError or HTTPException."""
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sign(body, secret=self.secret, at=at)}
        with closing(kind(parts.hostname or "", parts.port, timeout=SEND_TIMEOUT_S)) as connection:
            connection.request("POST", target, body=body.encode(), headers=headers)
            return connection.getresponse().status


class WebhookSender:
    """Several may run at once, also in several processes: each takes what the others have not leased."""

    def __init__(self, engine: Engine, receiver: Receiver, clock: Callable[[], datetime]) -> None:
        self._engine, self._receiver, self._clock = engine, receiver, clock
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._free = SENDERS
        self._lock = threading.Lock()

    def run(self) -> None:
        """Until :meth:`stop`; what is being sent then is sent to its end."""
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook") as pool:
            while not self._stopping.is_set():
                self._wake.clear()
                pause_s = POLL_S
                try:
                    self._send_due(pool)
                except SQLAlchemyError as error:
                    log.warning("webhooks_not_read", error=type(error).__name__)
                    pause_s = _POLL_AFTER_ERROR_S
                self._wake.wait(pause_s)

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def _send_due(self, pool: ThreadPoolExecutor) -> None:
        """As many as there are senders: a lease must not run out while its webhook waits for one."""
        if self._free == 0:
            return
        with self._engine.begin() as connection:
            webhooks = self._lease(connection)
        with self._lock:
            self._free -= len(webhooks)
        of_charge: dict[str, list[book.DueWebhook]] = {}
        for webhook in webhooks:
            of_charge.setdefault(webhook.charge_key, []).append(webhook)
        for group in of_charge.values():
            pool.submit(self._send_in_order, group)

    def _lease(self, connection: Connection) -> list[book.DueWebhook]:
        now = self._clock()
        webhooks = book.lease_webhooks(connection, now, LEASE, self._free)
        ended = [webhook.charge_key for webhook in webhooks if webhook.type != PROCESSING]
        if ended:
            # Whoever hears the outcome and asks for it must find it.
            book.settle(connection, ended, now)
        return webhooks

    def _send_in_order(self, webhooks: Sequence[book.DueWebhook]) -> None:
        """Those of one charge one after the other, as long as their lease lasts; the rest becomes due again."""
        until = self._clock() + LEASE - 2 * timedelta(seconds=SEND_TIMEOUT_S)
        for webhook in webhooks:
            if self._clock() <= until:
                self._send(webhook)
        with self._lock:
            self._free += len(webhooks)
        self._wake.set()

    def _send(self, webhook: book.DueWebhook) -> None:
        try:
            problem = self._problem_of(webhook)
            # crash point: psp.webhook_sent
            with self._engine.begin() as connection:
                self._record(connection, webhook, problem)
        except Exception as error:
            # Its lease runs out, and it is sent again.
            log.warning("webhook_not_recorded", number=webhook.number, error=type(error).__name__)

    def _problem_of(self, webhook: book.DueWebhook) -> str | None:
        """None when it was taken."""
        try:
            status = self._receiver.post(webhook.body, self._clock())
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None if 200 <= status < 300 else f"answered {status}"

    def _record(self, connection: Connection, webhook: book.DueWebhook, problem: str | None) -> None:
        _WEBHOOKS.labels("taken" if problem is None else "not_taken").inc()
        if problem is None:
            book.webhook_delivered(connection, webhook.number, self._clock())
            log.info("webhook_delivered", number=webhook.number, type=webhook.type, tries=webhook.tries)
            return
        pause_s = pause_after(webhook.tries)
        book.webhook_failed(connection, webhook.number, problem, self._clock() + timedelta(seconds=pause_s))
        log.warning("webhook_not_taken", number=webhook.number, tries=webhook.tries, problem=problem, pause_s=pause_s)


def pause_after(tries: int) -> float:
    """Doubles with each try, up to a cap; it is never given up."""
    return min(FIRST_PAUSE_S * 2.0 ** min(tries - 1, 16), LONGEST_PAUSE_S)
