"""Comparing what the services and the provider's book say of orders, and repairing what differs.

Owns: the endpoints under /admin/reconcile and all that is behind them. Must not know: the services' tables.

``kinds`` what can differ · ``sides`` what each says of an order · ``comparing``, ``goods``, ``money`` finding what
differs, pure · ``walking`` page by page, ``places`` the cursor · ``asking`` the services · ``repairing`` · ``views``
"""

from gateway.admin.reconcile.views import blueprint

__all__ = ["blueprint"]
