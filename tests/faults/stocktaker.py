"""Never oversold, at any moment: looks at the stock again and again.

Owns: what is wrong with a shelf. Must not know: who sold what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg2

from ops.books import DATABASES, read_only

from .sampling import Sampler

PAUSE_S = 0.1
_OVERSOLD = """
select item, on_hand, reserved from stock where reserved > on_hand or reserved < 0 or on_hand < 0
"""


class Stocktaker:
    """What it saw is in ``complaints``: each item once, as it was first seen."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._url = environment[DATABASES["inventory"]]
        self._connection: Any = None
        self._seen: dict[str, str] = {}
        self.sampler = Sampler(self._look, pause_s=PAUSE_S, expected=(psycopg2.Error,))

    @property
    def complaints(self) -> list[str]:
        return list(self._seen.values())

    def _look(self) -> None:
        try:
            if self._connection is None:
                self._connection = read_only(self._url)
            self._read()
        except psycopg2.Error:
            self._connection = None
            raise

    def _read(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(_OVERSOLD)
            for item, on_hand, reserved in cursor.fetchall():
                self._seen.setdefault(item, f"oversold: {item} had {on_hand} on hand, {reserved} reserved")
