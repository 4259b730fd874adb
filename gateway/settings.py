"""What the gateway can be told from outside.

Owns: names, defaults and limits of the settings. Must not know: ``os.environ`` (the composition root
hands a source in) nor anything that uses the settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.config import ProcessSettings, Source
from shared.errors import Misconfigured


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Limits of the HTTP side; the defaults are the ones the API promises."""

    max_body_bytes: int = 256 * 1024
    health_timeout_s: float = 2.0
    place_timeout_s: float = 5.0


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything a gateway process reads at its start."""

    process: ProcessSettings
    host: str
    port: int
    port_is_named: bool
    workers: int
    threads: int
    rpc_timeout_s: float
    http: HttpSettings

    @classmethod
    def read(cls, source: Source) -> GatewaySettings:
        port = source.count("GATEWAY_PORT", 8000)
        if port > 65_535:
            raise Misconfigured(f"GATEWAY_PORT is out of range: {port}")
        rpc_timeout_s = source.seconds("RPC_TIMEOUT_S", 5.0)
        return cls(
            process=ProcessSettings.read(source),
            host=source.text("GATEWAY_HOST", "127.0.0.1"),
            port=port,
            port_is_named=bool(source.values.get("GATEWAY_PORT")),
            workers=source.count("GATEWAY_WORKERS", 2),
            threads=source.count("GATEWAY_THREADS", 64),
            rpc_timeout_s=rpc_timeout_s,
            http=HttpSettings(place_timeout_s=rpc_timeout_s),
        )
