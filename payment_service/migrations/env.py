"""Alembic's environment for the payment service's database."""

from payment_service.models import Base
from shared.migrations import run_environment

run_environment(Base.metadata)
