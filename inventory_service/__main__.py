"""``python -m inventory_service serve|relay|migrate``: the composition root of the inventory service."""

from pathlib import Path

from shared.process import ServiceProcess, main

PROCESS = ServiceProcess(
    name="inventory_service",
    service="inventory_service.service:InventoryService",
    settings="inventory_service.settings:Settings",
    database_setting="INVENTORY_DATABASE_URL",
    migrations=Path(__file__).parent / "migrations",
    figures="inventory_service.figures:FIGURES",
)

if __name__ == "__main__":
    main(PROCESS)
