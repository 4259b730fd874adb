"""Alembic's environment for the finance service's database."""

from finance_service.models import Base
from shared.migrations import run_environment

run_environment(Base.metadata)
