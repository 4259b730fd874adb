"""What the gateway can be told from outside.

Owns: names, defaults and limits of the settings. Must not know: ``os.environ`` (the composition root
hands a source in) nor anything that uses the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.auth.limits import RateLimits
from gateway.auth.settings import AuthSettings
from gateway.dashboard.settings import DashboardSettings
from shared.config import ProcessSettings, Source
from shared.errors import Misconfigured


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Limits of the HTTP side; the defaults are the ones the API promises."""

    max_body_bytes: int = 256 * 1024
    health_timeout_s: float = 2.0
    place_timeout_s: float = 5.0
    rate_limits: RateLimits = field(default_factory=RateLimits)
    # How many of our own proxies stand in front: X-Forwarded-For is believed that many times, and else not at all.
    trusted_proxies: int = 0
    # Whether there is a finance service to ask: it runs only where changes are captured.
    has_finance_view: bool = False
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)

    @classmethod
    def read(cls, source: Source, *, place_timeout_s: float = 5.0, is_development: bool = False) -> HttpSettings:
        # Nought is a number of proxies too, but no count.
        proxies = 0 if source.values.get("TRUSTED_PROXIES") == "0" else source.count("TRUSTED_PROXIES", 0)
        return cls(
            place_timeout_s=place_timeout_s,
            rate_limits=RateLimits.read_from(source),
            trusted_proxies=proxies,
            has_finance_view=source.choice("FINANCE_VIEW", ("on", "off"), "off") == "on",
            dashboard=DashboardSettings.read(source, is_development=is_development),
        )


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything a gateway process reads at its start."""

    process: ProcessSettings
    host: str
    port: int
    port_is_named: bool
    # A descriptor of a socket that somebody else has opened, and keeps open when this process ends; see ops.supervisor.
    socket_fd: int | None
    workers: int
    threads: int
    rpc_timeout_s: float
    http: HttpSettings
    auth: AuthSettings

    @classmethod
    def read(cls, source: Source) -> GatewaySettings:
        port = source.count("GATEWAY_PORT", 8000)
        if port > 65_535:
            raise Misconfigured(f"GATEWAY_PORT is out of range: {port}")
        rpc_timeout_s = source.seconds("RPC_TIMEOUT_S", 5.0)
        auth = AuthSettings.read(source)
        return cls(
            process=ProcessSettings.read(source),
            host=source.text("GATEWAY_HOST", "127.0.0.1"),
            port=port,
            port_is_named=bool(source.values.get("GATEWAY_PORT")),
            socket_fd=source.count("GATEWAY_SOCKET_FD", 0) if source.values.get("GATEWAY_SOCKET_FD") else None,
            workers=source.count("GATEWAY_WORKERS", 2),
            threads=source.count("GATEWAY_THREADS", 64),
            rpc_timeout_s=rpc_timeout_s,
            http=HttpSettings.read(source, place_timeout_s=rpc_timeout_s, is_development=auth.is_development),
            auth=auth,
        )
