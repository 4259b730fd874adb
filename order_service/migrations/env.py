"""Alembic's environment for the order service's database."""

from order_service.models import Base
from shared.migrations import run_environment

run_environment(Base.metadata)
