"""Hands a service's settings to its workers."""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider

SETTINGS_KEY = "SETTINGS"


class SettingsProvider(DependencyProvider):
    """Injects the frozen settings object that the process was started with."""

    def get_dependency(self, worker_ctx: Any) -> Any:
        return self.container.config[SETTINGS_KEY]
