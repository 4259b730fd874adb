"""The finance view over HTTP.

Owns: GET /admin/finance. Must not know: how figures come about.
"""

from __future__ import annotations

from typing import Any

from flask import Response

from gateway.admin.finance.asking import whole_view
from gateway.admin.finance.documents import FinanceQuery, FinanceView
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from shared.identity import Role

blueprint = ApiBlueprint(
    "admin_finance",
    __name__,
    url_prefix="/api/v1/admin/finance",
    description="Operators: revenue, as captured changes tell it, and whether the ledger agrees",
)


@blueprint.route("", methods=["GET"])
@blueprint.allow(Role.ADMIN)
@blueprint.response(200, FinanceView)
@blueprint.documented(problems=(504,))
@blueprint.arguments(FinanceQuery, location="query")
def show_finance(query: dict[str, Any]) -> Response:
    """Revenue, refunds and what was captured of what was ordered, by day, seller and currency

    A read model, fed by the changes that the databases have committed: `asOf` says how old it is, `isStale` whether
    that is too old. `reconciliation` compares it with the ledger, twice: as both are now, and up to `cut`, which both
    know for certain. What differs now alone is `behind`, what differs up to `cut` really `differs`. Without change data
    capture there is no such view: 503 `finance_view_off`, at once.
    """
    return json_response(whole_view(query))
