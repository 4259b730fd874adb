"""``python -m payment_service serve|relay|migrate|psp``: the composition root of the payment service.

``psp`` is another company's process, the simulated provider's: it lives here because its book does.
"""

from collections.abc import Mapping
from pathlib import Path

from shared.config import Source
from shared.process import ServiceProcess, main


def create_psp_book(environment: Mapping[str, str]) -> None:
    """The simulated provider's own tables, in its own database."""
    from payment_service.psp_book import create_book

    create_book(Source(values=environment).text("PSP_DATABASE_URL"))


def run_psp(environment: Mapping[str, str]) -> None:
    """The simulated provider's server and its webhooks."""
    from payment_service.psp_server import run

    run(environment)


PROCESS = ServiceProcess(
    name="payment_service",
    service="payment_service.service:PaymentService",
    settings="payment_service.settings:Settings",
    database_setting="PAYMENT_DATABASE_URL",
    migrations=Path(__file__).parent / "migrations",
    figures="payment_service.figures:FIGURES",
    after_migrate=create_psp_book,
    commands={"psp": run_psp},
)

if __name__ == "__main__":
    main(PROCESS)
