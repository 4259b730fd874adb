"""The tests of one module once more, under another module's fixtures: what both ways of relaying have to pass.

Owns: taking them over. Must not know: any test.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

_FIXTURE = type(pytest.fixture(lambda: None))


def same_tests(module: ModuleType, *names: str) -> Mapping[str, Any]:
    """Its fixtures and its tests, all or those named, for the other module's globals().

    A fixture that the other module defines below takes the place of one of these. The module's marks do not come along.
    """
    found = vars(module)
    fixtures = {name: value for name, value in found.items() if isinstance(value, _FIXTURE)}
    wanted = names or [name for name in found if name.startswith(("test_", "Test"))]
    return {**fixtures, **{name: found[name] for name in wanted}}
