"""What an operator says who makes trouble on purpose.

Owns: the fields and their limits. Must not know: which kind goes with which target; the services know.
"""

# ruff: noqa: N815 -- the fields' names are the API's

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from gateway.fields import Matches, Text, moment
from gateway.services import ALL_SERVICES
from shared.chaos.kinds import KINDS, LONGEST_S, MOST_DELAY_MS, PROVIDER_TARGET, USUAL_S

TARGET_PATTERN = rf"^({PROVIDER_TARGET}|({'|'.join(ALL_SERVICES)})(\.[A-Z_]{{1,64}})?)$"
_BOTH = {"required": ["durationS", "until"]}


class Positive(fields.Float):
    """A JSON number of a thousandth or more."""

    def __init__(self, *, most: float, description: str, **options: Any) -> None:
        # A least number instead of "more than 0", which the document cannot say.
        limits = validate.Range(min=0.001, max=most)
        super().__init__(validate=limits, metadata={"description": description}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class NewSwitch(ma.Schema):
    """Trouble of one kind for one target, until a time at which it ends by itself."""

    class Meta:
        json_schema = {"not": _BOTH}  # noqa: RUF012 -- as marshmallow declares options

    kind = fields.String(
        required=True,
        validate=validate.OneOf(list(KINDS)),
        metadata={"description": "; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items())},
    )
    target = fields.String(
        required=True,
        validate=Matches(
            TARGET_PATTERN, error="psp, a service, or a work queue such as payment_service.ORDER_CANCELLED."
        ),
        metadata={"description": "psp for the psp kinds, a service or one of its work queues for consumers, a service"},
    )
    amount = Positive(
        most=MOST_DELAY_MS,
        description="How much of it: a share up to 1, or milliseconds for delays; none for relay_pause",
    )
    durationS = Positive(most=LONGEST_S, description=f"How long from now; {USUAL_S} if neither this nor until is said")
    until = moment(description="When it ends, within a day; in place of durationS")
    note = Text(required=True, max_length=500)

    @ma.validates_schema
    def _one_end(self, data: dict[str, Any], **_: Any) -> None:
        if "durationS" in data and "until" in data:
            raise ma.ValidationError("Either this or durationS.", "until")
