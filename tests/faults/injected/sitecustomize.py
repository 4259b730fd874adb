"""Python imports this at its start wherever this folder is on PYTHONPATH: in the processes of a fault campaign.

Owns: which environment variable switches what on. Must not know: what is done then.
"""

from __future__ import annotations

import os

if os.environ.get("ORDERSAGA_CRASH_POINTS"):
    from ordersaga_injected import crash_points

    crash_points.install()

if os.environ.get("ORDERSAGA_SEEDED_ERROR"):
    from ordersaga_injected import seeded_errors

    seeded_errors.install()
