"""Owns: the key of the stack's gateway, and tokens signed with it for tools, demos and testers.

Must not know: passwords, or what a token opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ops.errors import StackError
from ops.folder import StackFolder, write_atomically
from shared import tokens
from shared.errors import Misconfigured
from shared.identity import LONGEST_NAME, Role

KEY_VARIABLE = "JWT_SIGNING_KEY_FILE"


def ensure_signing_key(folder: StackFolder) -> None:
    """Make the key once; only its owner may read it."""
    if not folder.signing_key_file.exists():
        write_atomically(folder.signing_key_file, tokens.new_key_pem(), mode=0o600)


def mint(
    environment: Mapping[str, str],
    subject: str,
    roles: Iterable[Role | str] = (Role.USER,),
    seller_id: str | None = None,
    *,
    ttl_s: float = tokens.DEFAULT_TTL_S,
) -> str:
    """A bearer token for anybody, believed by the gateway of the stack that has this environment. Raises StackError."""
    for name in (subject, *([seller_id] if seller_id is not None else [])):
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise StackError(f"a name in a token has 1 to {LONGEST_NAME} printable characters, unlike {name!r}")
    held = {Role(role) for role in roles}
    if (Role.SELLER in held) != (seller_id is not None):
        raise StackError("a SELLER has a shop, and nobody else", hint="add --seller SHOP, or leave it away")
    return tokens.mint(_key(environment), subject=subject, roles=held, seller_id=seller_id, ttl_s=ttl_s)


def _key(environment: Mapping[str, str]) -> tokens.SigningKey:
    file = environment.get(KEY_VARIABLE)
    if file is None:
        raise StackError("this stack has no key for tokens yet", hint="`ordersaga up` makes one")
    try:
        return tokens.read_signing_key(Path(file).read_text(encoding="ascii"), name=file)
    except (OSError, UnicodeDecodeError, Misconfigured) as error:
        raise StackError(f"the key for tokens cannot be used: {error}") from error
