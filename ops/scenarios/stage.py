"""Owns: what the flows of the long demo may take hold of beside the gateway: processes, and the provider's behaviour.
Must not know: which flow does what with it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ops.psp_client import PspClient
from ops.scenarios.freezing import frozen
from ops.stack import Stack

_NEWEST_CHARGES = 500


@dataclass(kw_only=True)
class Stage:
    """One running stack. ``payments_are_in`` lets one flow begin when another has come so far."""

    stack: Stack
    provider: PspClient
    payments_are_in: threading.Event = field(default_factory=threading.Event)
    _called_off: threading.Event = field(default_factory=threading.Event)

    def call_off(self) -> None:
        """Have every flow end at its next wait, and leave what it holds as it found it."""
        self._called_off.set()
        self.payments_are_in.set()

    @property
    def is_called_off(self) -> bool:
        return self._called_off.is_set()

    def frozen(self, name: str) -> contextlib.AbstractContextManager[None]:
        return frozen(self.stack, name)

    def kill(self, name: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        self.stack.kill(name)

    @contextlib.contextmanager
    def provider_behaves(self, **behaviour: float) -> Iterator[None]:
        """For everybody who pays meanwhile; then as before."""
        known = {setting["name"]: setting["value"] for setting in self.provider.behaviour()["behaviour"]}
        self.provider.change_behaviour(behaviour)
        try:
            yield
        finally:
            self.provider.change_behaviour({name: known[name] for name in behaviour})

    def booked(self, key: str) -> dict[str, Any]:
        """The provider's own record of the charge with this key: status, refunded, webhooks."""
        charges = self.provider.book(_NEWEST_CHARGES)["charges"]
        return next((charge for charge in charges if charge["key"] == key), {"status": "unknown", "webhooks": []})
