"""``python -m payment_service serve|relay|migrate``: the composition root of the payment service."""

from collections.abc import Mapping
from pathlib import Path

from shared.config import Source
from shared.process import ServiceProcess, main


def create_psp_book(environment: Mapping[str, str]) -> None:
    """The simulated provider's own tables, in its own database."""
    from payment_service.psp_simulator import create_book

    create_book(Source(values=environment).text("PSP_DATABASE_URL"))


PROCESS = ServiceProcess(
    name="payment_service",
    service="payment_service.service:PaymentService",
    settings="payment_service.settings:Settings",
    database_setting="PAYMENT_DATABASE_URL",
    migrations=Path(__file__).parent / "migrations",
    after_migrate=create_psp_book,
)

if __name__ == "__main__":
    main(PROCESS)
