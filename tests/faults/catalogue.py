"""All faults there are, and the arenas they need.

Owns: the lists. Must not know: what the faults do.
"""

from __future__ import annotations

from collections.abc import Mapping

from .arena import Opener, plain
from .cabled import CABLED, cabled
from .clocked import CLOCKED, clocked
from .clustered import CLUSTERED, clustered
from .crashing import CRASHING, crashing
from .fault import ArenaKind, Fault
from .killing import KILLING
from .messages import MESSAGES
from .provider import PROVIDER
from .proxied import PROXIED, proxied
from .repeating import REPEATING
from .servers import SERVERS
from .small_disk import SMALL_DISK, small_disk
from .storm import STORM
from .tracing import TRACING

FAULTS: tuple[Fault, ...] = (
    *KILLING,
    *SERVERS,
    *PROVIDER,
    *MESSAGES,
    *REPEATING,
    *STORM,
    *TRACING,
    *SMALL_DISK,
    *CRASHING,
    *CLUSTERED,
    *PROXIED,
    *CABLED,
    *CLOCKED,
)
QUICK = (
    "kill-random",
    "broker-killed",
    "database-crash",
    "provider-answers-lost",
    "poison",
    "storm",
    "crash-consumer",
    "crash-relay",
)
"""The slice for CI."""
ARENAS: Mapping[ArenaKind, Opener] = {
    ArenaKind.PLAIN: plain,
    ArenaKind.SMALL_DISK: small_disk,
    ArenaKind.CRASHING: crashing,
    ArenaKind.CLOCKED: clocked,
    ArenaKind.PROXIED: proxied,
    ArenaKind.CABLED: cabled,
    ArenaKind.CLUSTER: clustered,
}
