"""The finance view over HTTP: what was earned, how old that is, and whether the ledger says the same.

Owns: GET /admin/finance and all that is behind it. Must not know: how the view is filled, how the ledger is kept.

``periods`` which days are meant · ``asking`` the finance and the payment service · ``comparing`` the two, pure ·
``documents`` · ``views``
"""

from gateway.admin.finance.views import blueprint

__all__ = ["blueprint"]
