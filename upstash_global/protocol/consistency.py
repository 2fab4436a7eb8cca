"""How new the state must be that a client's reads are served from, as clients and the configuration write it.

    eventual                            what the nearest node has
    session                             nothing older than what this client has seen or written (the default)
    bounded; max-staleness-ms=N         as session, and no state that is more than N milliseconds old
    leader                              what the leader has

What the nearest node cannot give is asked of the leader; if that cannot be had, the read fails with STALE.
"""

from typing import Final, NamedTuple

EVENTUAL: Final = "eventual"
SESSION: Final = "session"
BOUNDED: Final = "bounded"
LEADER: Final = "leader"

KINDS: Final = (EVENTUAL, SESSION, BOUNDED, LEADER)
MAX_BOUND_MS: Final = 10**10 - 1
FORMS: Final = "eventual, session, leader, or bounded; max-staleness-ms=N"


class Consistency(NamedTuple):
    kind: str = SESSION
    bound_ms: int = -1  # of BOUNDED; -1 for the others

    def __str__(self) -> str:
        return self.kind if self.bound_ms < 0 else f"{self.kind}; max-staleness-ms={self.bound_ms}"


DEFAULT_CONSISTENCY: Final = Consistency()


def read_consistency(text: str) -> Consistency | None:
    """What `text` says, in one of the FORMS above; None if it says nothing of the kind."""
    kind, semicolon, parameter = text.strip().lower().partition(";")
    kind = kind.strip()
    if kind not in KINDS or bool(semicolon) != (kind == BOUNDED):
        return None
    if kind != BOUNDED:
        return Consistency(kind)
    name, _, value = parameter.partition("=")
    value = value.strip()
    if name.strip() != "max-staleness-ms" or not (value.isascii() and value.isdigit() and len(value) <= 10):
        return None
    return Consistency(kind, int(value))
