"""A service without Nameko: answers RPCs from a thread, as the test says.

Owns: its queue, and the form of replies. Must not know: what is asked; that is a method ``_name`` of a subclass.
"""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import uuid4

import pika

STOP_TIMEOUT_S = 15.0


class RpcService:
    """Each method ``_name(properties, arguments)`` is called in the service's own thread, and may ``reply``."""

    def __init__(self, amqp_uri: str, name: str | None = None) -> None:
        self.name = name or f"fake_{uuid4().hex[:8]}"
        self.seen: list[tuple[str, Any]] = []
        self.connection = pika.BlockingConnection(pika.URLParameters(amqp_uri))
        self._channel = self.connection.channel()
        self._channel.exchange_declare("nameko-rpc", exchange_type="topic", durable=True)
        queue = f"rpc-fake-{uuid4().hex}"
        self._channel.queue_declare(queue, exclusive=True)
        self._channel.queue_bind(queue, "nameko-rpc", routing_key=f"{self.name}.*")
        self._channel.basic_consume(queue, self._on_call, auto_ack=True)
        self._thread = threading.Thread(target=self._channel.start_consuming, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join(STOP_TIMEOUT_S)
        self.connection.close()

    def _on_call(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        name = method.routing_key.rpartition(".")[2]
        arguments = json.loads(body)["kwargs"]
        self.seen.append((name, properties))
        getattr(self, f"_{name}")(properties, arguments)

    def reply(self, properties: Any, result: Any = None, error: Any = None) -> None:
        self._channel.basic_publish(
            "nameko-rpc",
            properties.reply_to,
            json.dumps({"result": result, "error": error}).encode(),
            pika.BasicProperties(correlation_id=properties.correlation_id, content_type="application/json"),
        )
