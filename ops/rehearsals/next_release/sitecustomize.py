"""The next release of PAYMENT_SUCCESS's consumers, for a rehearsal: they read version 2, and version 1 by an upcaster.

Python imports this at its start wherever this folder is on PYTHONPATH. Owns: what is different in that release.
Must not know: who is started with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

_CONSUMERS = frozenset({"order_service.schemas", "inventory_service.schemas"})


def _to_second(payload: dict[str, Any]) -> dict[str, Any]:
    """Version 2 calls the order's id by its name."""
    payload["orderId"] = payload.pop("id")
    return payload


def _release(module: ModuleType) -> None:
    """The consumer's view, as its next release would have it in its schemas.py."""
    first = module.PaymentSuccess
    order_id = module.order_id()
    order_id.data_key = "orderId"
    second = {"schema_version": 2, "upcasters": {1: _to_second}, "order_id": order_id, "__module__": module.__name__}
    module.PaymentSuccess = type("PaymentSuccess", (first,), second)  # type: ignore[attr-defined]


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _release(module)


class _Finder(MetaPathFinder):
    """First in line for the two modules; whatever else is imported, others find."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _CONSUMERS else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
