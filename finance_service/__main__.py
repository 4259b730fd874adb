"""``python -m finance_service serve|feed|migrate|reset``: the composition root of the finance service."""

from collections.abc import Mapping
from pathlib import Path

from shared.process import ServiceProcess, main


def run_feed(environment: Mapping[str, str]) -> None:
    """Read the stream of changes until SIGTERM; on standby while another feed is active."""
    from finance_service.feeding import run

    run(environment)


def reset(environment: Mapping[str, str]) -> None:
    """Forget everything: the next feed begins with what the stream has. Refused while a feed is active."""
    from finance_service.feeding import forget_everything

    forget_everything(environment)


PROCESS = ServiceProcess(
    name="finance_service",
    service="finance_service.service:FinanceService",
    settings="finance_service.settings:Settings",
    database_setting="FINANCE_DATABASE_URL",
    migrations=Path(__file__).parent / "migrations",
    figures="finance_service.figures:FIGURES",
    has_outbox=False,
    commands={"feed": run_feed, "reset": reset},
)

if __name__ == "__main__":
    main(PROCESS)
