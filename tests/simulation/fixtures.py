"""The databases that tests run schedules on.

Owns: one server for a folder of tests. Must not know: schedules.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cluster import Cluster
from .runner import Bench, bench


@pytest.fixture(scope="session")
def schedules() -> Iterator[Bench]:
    with Cluster() as server, bench(server, "tests") as own:
        yield own
