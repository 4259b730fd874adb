"""Alembic's environment for the inventory service's database."""

from inventory_service.models import Base
from shared.migrations import run_environment

run_environment(Base.metadata)
