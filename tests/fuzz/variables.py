"""How the fuzzer tells its hooks, which schemathesis loads in a process of its own, what it knows.

Owns: names of environment variables. Must not know: what is done with their values.
"""

SEED = "ORDERSAGA_FUZZ_SEED"
"""Of all that the hooks leave to chance."""
TOKENS = "ORDERSAGA_FUZZ_TOKENS"
"""JSON: role → bearer token."""
KNOWN = "ORDERSAGA_FUZZ_KNOWN"
"""JSON: path parameter → ids of things that exist."""
