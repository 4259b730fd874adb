"""A consumer of a test's own, run as a service is: ``python -m tests.harness.evolving serve``."""
