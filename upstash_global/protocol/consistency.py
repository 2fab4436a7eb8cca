"""How new the state must be that a client's reads are served from, as clients and the configuration write it.

    eventual                            what the nearest node has
    session                             nothing older than what this client has seen or written (the default)
    session; scope=key                  likewise, but of the keys that the read names only
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
FORMS: Final = "eventual, session, session; scope=key, leader, or bounded; max-staleness-ms=N"


class Consistency(NamedTuple):
    kind: str = SESSION
    bound_ms: int = -1  # of BOUNDED; -1 for the others
    is_scoped: bool = False  # SESSION key by key

    def __str__(self) -> str:
        if self.is_scoped:
            return f"{self.kind}; scope=key"
        return self.kind if self.bound_ms < 0 else f"{self.kind}; max-staleness-ms={self.bound_ms}"


DEFAULT_CONSISTENCY: Final = Consistency()


def read_consistency(text: str) -> Consistency | None:
    """What `text` says, in one of the FORMS above; None if it says nothing of the kind."""
    kind, semicolon, parameter = text.strip().lower().partition(";")
    kind = kind.strip()
    if kind not in KINDS:
        return None
    if not semicolon:
        return None if kind == BOUNDED else Consistency(kind)
    name, _, value = parameter.partition("=")
    name, value = name.strip(), value.strip()
    if kind == SESSION and name == "scope" and value == "key":
        return Consistency(kind, is_scoped=True)
    if kind != BOUNDED or name != "max-staleness-ms":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        return None
    return Consistency(kind, int(value))
