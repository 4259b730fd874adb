"""Deterministic simulation: the services' real code and real SQL, with time, network and provider in our hands.

Owns: everything that decides what happens next. Must not know: RabbitMQ, threads, the wall clock.
See docs/decisions/0011-deterministic-simulation.md.
"""

import warnings

# Nameko imports eventlet, which says so each time.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
