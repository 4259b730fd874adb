"""All faults there are, and the arenas they need.

Owns: the list. Must not know: what the faults do.
"""

from __future__ import annotations

from collections.abc import Mapping

from .arena import Opener, plain
from .fault import ArenaKind, Fault
from .killing import KILLING

FAULTS: tuple[Fault, ...] = (*KILLING,)
ARENAS: Mapping[ArenaKind, Opener] = {ArenaKind.PLAIN: plain}
