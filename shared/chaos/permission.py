"""Whether trouble may be made on purpose here. Must not know: any switch."""

from __future__ import annotations

from shared.config import Source

_ON, _OFF = "on", "off"
_DEVELOPMENT, _PRODUCTION = "development", "production"


def read_chaos_enabled(source: Source) -> bool:
    """CHAOS_ENABLED: on or off; unless it is said, on in development (ORDERSAGA_MODE) only. Raises Misconfigured."""
    mode = source.choice("ORDERSAGA_MODE", (_PRODUCTION, _DEVELOPMENT), _PRODUCTION)
    return source.choice("CHAOS_ENABLED", (_ON, _OFF), _ON if mode == _DEVELOPMENT else _OFF) == _ON
