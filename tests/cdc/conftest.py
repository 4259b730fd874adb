"""Fixtures of the tests that capture changes for real: roles, slots that are gone afterwards, the stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from harness.change_data import Stream, open_stream, replication_urls
from harness.databases import Databases

from ops.replication import close_replication
from shared.messaging.addresses import split_addresses


@pytest.fixture(scope="module")
def replication(empty_stack: None, stack_environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """*_REPLICATION_URL of every service; roles and slots are taken away at the end."""
    close_replication(stack_environment["ADMIN_DATABASE_URL"])
    yield replication_urls(stack_environment)
    close_replication(stack_environment["ADMIN_DATABASE_URL"])


@pytest.fixture
def stream(stack_environment: Mapping[str, str], empty_stack: None) -> Iterator[Stream]:
    [address] = split_addresses(stack_environment["AMQP_URI"])
    with open_stream(address) as opened:
        yield opened


@pytest.fixture
def empty_tables(databases: Databases) -> None:
    """Emptied before a test begins to read: its deletions are no part of what it looks at."""
    databases.empty()
