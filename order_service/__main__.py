"""``python -m order_service serve|relay|migrate``: the composition root of the order service."""

from pathlib import Path

from shared.process import ServiceProcess, main

PROCESS = ServiceProcess(
    name="order_service",
    service="order_service.service:OrderService",
    settings="order_service.settings:Settings",
    database_setting="ORDER_DATABASE_URL",
    migrations=Path(__file__).parent / "migrations",
    figures="order_service.figures:FIGURES",
)

if __name__ == "__main__":
    main(PROCESS)
