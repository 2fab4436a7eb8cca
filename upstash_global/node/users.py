"""Users: who may run what.

Two are built in, as Upstash has them: `default` (everything but what administers the cluster, unless `admin`) and
`default_ro`, which the read-only token stands for: commands flagged read-only, minus scripting, minus the dangerous ones,
minus SCAN and KEYS. What is not allowed by a row of the table is refused (fail closed).
"""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from upstash_global.engine.table import ADMIN, DANGEROUS, NO_AUTH, PUBSUB, READONLY, Row
from upstash_global.errors import CommandError

DEFAULT: Final = "default"
READ_ONLY: Final = "default_ro"

# Session commands that change nothing but the session, and are therefore open to a read-only user.
_OPEN_GROUPS: Final = ("connection", "transactions")


class Users:
    def __init__(self, password: str | None) -> None:
        self.password_hash = None if password is None else _hash(password.encode())

    @property
    def default_is_open(self) -> bool:
        """Whether a connection needs no AUTH (`credentials: {insecure: true}`)."""
        return self.password_hash is None

    def authenticate(self, name: bytes, password: bytes) -> str | None:
        """The user's name if the password is theirs, else None; takes the same time either way."""
        expected = self.password_hash if self.password_hash is not None else _hash(b"")
        matches = compare_digest(expected, _hash(password))
        if name != DEFAULT.encode():
            return None
        return DEFAULT if matches or self.password_hash is None else None

    def refusal(self, user: str, row: Row) -> CommandError | None:
        """Why this user may not run this command, or None."""
        if user == DEFAULT:
            return None
        if user == READ_ONLY and _is_read(row):
            return None
        return CommandError(
            "NOPERM", f"this user has no permissions to run the '{row.display_name}' command or its subcommand"
        )


def _is_read(row: Row) -> bool:
    if row.name in ("SCAN", "KEYS") or row.group == "scripting" or row.flags & (ADMIN | DANGEROUS):
        return False
    if row.flags & (READONLY | NO_AUTH):
        return True
    return row.group in _OPEN_GROUPS or bool(row.flags & PUBSUB) and row.name != "PUBLISH" and row.handler is None


def _hash(secret: bytes) -> bytes:
    return sha256(secret).digest()
