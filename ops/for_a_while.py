"""Owns: a stack with other settings for a while, and its own again afterwards. Must not know: what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ops.folder import StackFolder
from ops.stack import Stack
from ops.state import load_state


@contextmanager
def settings_for_a_while(
    stack: Stack,
    external: Mapping[str, str],
    settings: Mapping[str, str],
    *,
    more_later: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Processes are restarted where a setting differs. ``more_later``: others that are changed meanwhile."""
    state = load_state(StackFolder(root=stack.folder))
    known = state.settings if state else {}
    before = {name: known.get(name, "") for name in {**settings, **(more_later or {})}}
    try:
        stack.up(external=external, settings=settings)
        yield
    finally:
        # Where it did not come up, or somebody stopped it, nothing is started only to be told this.
        if stack.is_up():
            stack.up(external=external, settings=before)
