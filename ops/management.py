"""Owns: talking to RabbitMQ's management HTTP API. Must not know: which queues there should be."""

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ops.errors import StackError

_TIMEOUT_S = 10.0


class ManagementApi:
    """A thin client; every failure is a StackError that names the request."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._address = (parts.hostname or "127.0.0.1", parts.port or (15671 if self._secure else 15672))
        self._prefix = parts.path.rstrip("/").removesuffix("/api")
        login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(login.encode()).decode()

    def why_unreachable(self) -> str | None:
        """None when the API answers our login, else the reason in one line."""
        try:
            self.request("GET", "/api/whoami")
        except StackError as error:
            return error.message
        return None

    def queues(self, vhost: str = "/") -> list[dict[str, Any]]:
        """Every queue with its arguments and its state of this moment (the usual listing lags 5 s behind)."""
        path = f"/api/queues/{quote(vhost, safe='')}?disable_stats=true&enable_queue_totals=true"
        return list(self.request("GET", path))

    def running_nodes(self) -> int:
        """How many nodes of the broker run, as this one sees it."""
        return sum(bool(node.get("running")) for node in self.request("GET", "/api/nodes"))

    def exchanges(self, vhost: str = "/") -> list[dict[str, Any]]:
        return list(self.request("GET", f"/api/exchanges/{quote(vhost, safe='')}"))

    def import_definitions(self, definitions: dict[str, Any], vhost: str | None = None) -> None:
        """Add definitions: for the whole broker, or for one vhost (then without users and vhosts)."""
        where = "" if vhost is None else f"/{quote(vhost, safe='')}"
        self.request("POST", f"/api/definitions{where}", definitions)

    def request(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            status, answer = self._exchange(method, self._prefix + path, content, headers)
        except (OSError, http.client.HTTPException) as error:
            raise StackError(f"RabbitMQ's management API does not answer: {error}") from error
        if status >= 400:
            raise StackError(f"RabbitMQ refused {method} {path}: {status} {_reason(answer)}")
        return json.loads(answer) if answer else None

    def _exchange(self, method: str, path: str, content: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(*self._address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _reason(answer: bytes) -> str:
    try:
        document = json.loads(answer)
        return str(document.get("reason") or document.get("error"))
    except (ValueError, AttributeError):
        return answer[:200].decode("utf-8", errors="replace")
