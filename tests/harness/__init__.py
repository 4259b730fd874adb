"""What integration and e2e tests stand on: real processes, the broker, the databases, and a way to wait.

Owns: how a test reaches the real thing. Must not know: what any single test promises.
"""
