"""Who the fuzzer is: a token of each role.

Owns: which people act, and what is theirs. Must not know: requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from ops.stack import Stack

CUSTOMER, SELLER = "anna", "potter"


def tokens_of(_stack: Stack) -> Mapping[str, str]:
    """Role → bearer token. Empty as long as the gateway asks nobody who they are."""
    return {}
