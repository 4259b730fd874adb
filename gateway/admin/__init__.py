"""What operators see and do over HTTP: health in detail, sagas, audit log, dead letters and
their redrives, the provider's behaviour.

Owns: which endpoints there are below /admin. Must not know: how services or the broker do what is asked of them.
"""

from gateway.admin import audit, chaos, dead_letters, health, redrives, sagas

NOUNS = (health, sagas, audit, dead_letters, redrives, chaos)
"""Modules with a ``blueprint`` each."""
