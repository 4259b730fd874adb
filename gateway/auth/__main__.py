"""``python -m gateway.auth``: the hash of a password, for USERS_FILE.

Owns: asking for it without showing it. Must not know: accounts.
"""

from __future__ import annotations

import sys
from getpass import getpass

from gateway.auth.passwords import hash_password


def main() -> int:
    password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        sys.stderr.write("no password\n")
        return 1
    sys.stdout.write(hash_password(password) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
