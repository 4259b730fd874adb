"""The models say what the migrations make."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from harness.databases import SERVICES, URLS
from sqlalchemy import create_engine

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("service", SERVICES)
def test_models_and_migrations_agree(stack_environment: Mapping[str, str], service: str) -> None:
    """Given a migrated database, then alembic finds nothing to change in it for the service's models."""
    metadata = import_module(f"{service}.models").Base.metadata
    engine = create_engine(stack_environment[URLS[service]])
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()
