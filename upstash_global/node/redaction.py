"""Command lines as others may read them, in the slow log and by MONITOR: without the passwords in them."""

from typing import Final

REDACTED: Final = b"(redacted)"
SECRETS: Final = frozenset(  # the parameters that Redis hides
    [b"REQUIREPASS", b"MASTERAUTH", b"MASTERUSER", b"TLS-KEY-FILE-PASS", b"TLS-CLIENT-KEY-FILE-PASS"]
)


def redacted(argv: list[bytes]) -> list[bytes]:
    """The line with REDACTED for each secret, and for the rules that may hold one."""
    words = [word.upper() for word in argv[:2]]
    if words[0] == b"AUTH":
        return _hidden_from(argv, 1)
    if words[0] == b"MIGRATE":
        return _hidden_in_migrate(argv)
    if words[0] == b"HELLO":
        shown = list(argv)
        for at, word in enumerate(argv):
            if word.upper() == b"AUTH":
                shown[at + 1 : at + 3] = [REDACTED] * len(argv[at + 1 : at + 3])
        return shown
    if words[0] == b"ACL" and words[-1] in (b"SETUSER", b"RESTTOKEN", b"GENTOKEN"):
        return _hidden_from(argv, 3)
    if words == [b"CONFIG", b"SET"]:
        before = [b"", *argv[:-1]]
        return [REDACTED if name.upper() in SECRETS else word for name, word in zip(before, argv, strict=True)]
    return argv


def _hidden_in_migrate(argv: list[bytes]) -> list[bytes]:
    shown = list(argv)
    at = 6
    while at < len(argv) and argv[at].upper() != b"KEYS":
        n_secrets = {b"AUTH": 1, b"AUTH2": 2}.get(argv[at].upper(), 0)
        shown[at + 1 : at + 1 + n_secrets] = [REDACTED] * len(argv[at + 1 : at + 1 + n_secrets])
        at += 1 + n_secrets
    return shown


def _hidden_from(argv: list[bytes], at: int) -> list[bytes]:
    return argv[:at] + [REDACTED] * (len(argv) - at)
