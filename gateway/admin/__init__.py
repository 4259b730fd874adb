"""What operators see and do over HTTP: health, sagas, audit log, erasures, dead letters, books, chaos, finance.

Owns: which endpoints there are below /admin. Must not know: how services or the broker do what is asked of them.
"""

from gateway.admin import audit, chaos, dead_letters, erasures, finance, health, reconcile, redrives, sagas

NOUNS = (health, sagas, audit, erasures, dead_letters, redrives, reconcile, chaos, finance)
"""Modules with a ``blueprint`` each."""
