"""``python -m tests.harness.evolving serve``. Imports little: what it runs is imported once sockets are patched."""

from pathlib import Path

from shared.process import ServiceProcess, main

PROCESS = ServiceProcess(
    name="order_service",
    service="tests.harness.evolving.service:EvolvingService",
    settings="order_service.settings:Settings",
    database_setting="ORDER_DATABASE_URL",
    migrations=Path("nowhere"),
    figures="order_service.figures:FIGURES",
)

if __name__ == "__main__":
    main(PROCESS)
