"""What operators see and do over HTTP: health in detail, sagas, audit log, dead letters, reconciliation, the provider.

Owns: which endpoints there are below /admin. Must not know: how services or the broker do what is asked of them.
"""

from gateway.admin import audit, chaos, dead_letters, health, reconcile, sagas

NOUNS = (health, sagas, audit, dead_letters, reconcile, chaos)
"""Modules with a ``blueprint`` each."""
