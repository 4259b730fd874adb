"""Change data capture: the committed row changes of a PostgreSQL database, read from its write-ahead log by Debezium.

Importing this package needs neither Java nor the extra `cdc`; running a ChangeEngine needs both (`make cdc`).
"""

from shared.change_data.changes import Change, Heartbeat
from shared.change_data.engine import ChangeEngine, ChangeEngineFailed
from shared.change_data.settings import EngineSettings

__all__ = ["Change", "ChangeEngine", "ChangeEngineFailed", "EngineSettings", "Heartbeat"]
