"""What may be the name of somebody, wherever it comes from: a file, a token.

Owns: which texts can stand in an identity. Must not know: accounts or tokens.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from shared.identity import ANONYMOUS, LONGEST_NAME, TRUSTED

RESERVED_SUBJECTS = (ANONYMOUS.subject, TRUSTED.subject)
"""The audit log calls nobody else so: somebody with such an id would hide behind it."""
_UNPRINTABLE = ("Cc", "Cs")


def is_name(value: Any) -> bool:
    """1 to 64 characters, none a control character or half of a surrogate pair: every store and log can hold it."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= LONGEST_NAME
        and not any(unicodedata.category(character) in _UNPRINTABLE for character in value)
    )
