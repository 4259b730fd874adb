"""Who may act on attempts: a process that is unsure of what it leases gives its lease up."""

from __future__ import annotations

from uuid import UUID

import pytest

from payment_service.service import Charging
from shared.errors import DatabaseUnavailable, TransientError


class TestLease:
    def test_it_is_given_up_when_the_answer_to_a_commit_is_lost(self) -> None:
        """Given attempts that may be leased without this process knowing of them, then their lease lapses."""
        charging = Charging()
        charging.worker_id = before = UUID(int=9)
        with pytest.raises(DatabaseUnavailable), charging.lease_given_up_when_unsure():
            raise DatabaseUnavailable("server closed the connection")
        assert charging.worker_id != before

    def test_it_is_kept_otherwise(self) -> None:
        charging = Charging()
        charging.worker_id = before = UUID(int=9)
        with pytest.raises(TransientError), charging.lease_given_up_when_unsure():
            raise TransientError("deadlock")
        assert charging.worker_id == before
