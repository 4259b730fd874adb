"""Getting at a module while it is imported: its source before it is compiled, or its contents once it is there.

Owns: the import hook. Must not know: what is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

PACKAGES = frozenset({"order_service", "inventory_service", "payment_service", "gateway", "shared"})
Rewrite = Callable[[str], str]
Action = Callable[[ModuleType], None]

_rewrites: list[Rewrite] = []
_actions: dict[str, list[Action]] = {}


def rewrite_sources(rewrite: Rewrite) -> None:
    """Every module of ours that is imported from now on is compiled from what ``rewrite`` makes of its source."""
    _rewrites.append(rewrite)
    _install()


def after_import(module: str, action: Action) -> None:
    """``action`` gets the module once it has been executed, before whoever imports it goes on."""
    _actions.setdefault(module, []).append(action)
    _install()


class _Loader(SourceFileLoader):
    def path_stats(self, path: str) -> Any:
        """What is rewritten is neither taken from the cache of compiled files nor put there."""
        raise OSError("not cached")

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]
        source = data.decode() if isinstance(data, bytes) else data
        for rewrite in _rewrites:
            source = rewrite(source)
        return super().source_to_code(source.encode(), path, _optimize=_optimize)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for action in _actions.get(module.__name__, ()):
            action(module)


class _Finder(MetaPathFinder):
    """First in line; finds what the others would find, and exchanges the loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader:
                    spec.loader = _Loader(spec.loader.name, spec.loader.path)
                return spec
        return None


def _install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
