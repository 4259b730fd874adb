"""Hands a worker the identity that its request came with.

Owns: where in Nameko's context it stands. Must not know: what anybody may do.
"""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider

from shared.identity import TRUSTED

CONTEXT_KEY = "identity"


class CallerProvider(DependencyProvider):
    """Injects a ``shared.identity.Identity``; timers and events run as TRUSTED."""

    def get_dependency(self, worker_ctx: Any) -> Any:
        return worker_ctx.data.get(CONTEXT_KEY, TRUSTED)
