"""Answers to operators who ask how the simulated provider behaves, or change that. Must not know: Nameko, HTTP.

Owns: that it is for operators, what is wrong with a change, and what is recorded of whoever asked. The provider's book
is another company's: no transaction of ours is open while it is asked, and a change is recorded before it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from payment_service.psp_behaviour import SETTINGS, Behaviour, faults, shown
from shared import audit, idempotency
from shared.database import Sessions, transaction
from shared.errors import Forbidden, InvalidRequest
from shared.identity import Identity, Role

LONGEST_NAME = 40


class Tunable(Protocol):
    """A provider that behaves as it is told. Every method raises ProviderUnavailable."""

    def behaviour(self) -> Behaviour: ...

    def change_behaviour(self, changes: Mapping[str, float]) -> None: ...

    def reset_behaviour(self) -> None: ...


def show(caller: Identity, provider: Tunable) -> dict[str, Any]:
    """{"behaviour": every setting with its value, default, limits and meaning}. Raises Forbidden."""
    _require_operator(caller)
    return {"behaviour": shown(provider.behaviour())}


def change(
    sessions: Sessions, caller: Identity, provider: Tunable, changes: Any, correlation_id: Any
) -> dict[str, Any]:
    """All of ``changes`` (name → number) or none; answers as :func:`show`. Raises Forbidden, InvalidRequest."""
    _require_operator(caller)
    wanted = _checked(changes)
    idempotency.check_request_ids(None, correlation_id)
    before = asdict(provider.behaviour())
    _record(sessions, caller, "change_provider_behaviour", correlation_id, {n: before[n] for n in wanted}, wanted)
    provider.change_behaviour(wanted)
    return show(caller, provider)


def reset(sessions: Sessions, caller: Identity, provider: Tunable, correlation_id: Any) -> dict[str, Any]:
    """Everything as it is by default; answers as :func:`show`. Raises Forbidden, InvalidRequest."""
    _require_operator(caller)
    idempotency.check_request_ids(None, correlation_id)
    changed = {name: value for name, value in asdict(provider.behaviour()).items() if value != SETTINGS[name].default}
    defaults = {name: SETTINGS[name].default for name in changed}
    _record(sessions, caller, "reset_provider_behaviour", correlation_id, changed, defaults)
    provider.reset_behaviour()
    return show(caller, provider)


def _require_operator(caller: Identity) -> None:
    if not caller.has(Role.ADMIN):
        raise Forbidden("how the provider behaves is for operators")


def _checked(changes: Any) -> dict[str, float]:
    if not isinstance(changes, dict):
        raise InvalidRequest("changes must be an object", {"errors": {"changes": ["must be an object"]}})
    wrong = faults(changes)
    if wrong:
        errors = {name[:LONGEST_NAME]: [words] for name, words in wrong.items()}
        raise InvalidRequest("nothing is changed", {"errors": errors})
    return changes


def _record(
    sessions: Sessions,
    caller: Identity,
    action: str,
    correlation_id: str | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> None:
    with transaction(sessions) as tx:
        audit.record(tx, caller, action, "provider", "psp", request_id=correlation_id, before=before, after=after)
