"""Remembered answers: what forwarded writes were answered, so that a repeated Forward is not run twice.

A system table: it changes only by applied entries, so it is the same on every node at the same position and survives a
failover. A session has at most one Forward under way, so the answers of its last one are enough.

Bound: the newest MAX_SESSIONS sessions of each origin node; a session older than that is no longer deduplicated.
"""

from typing import Any, Final

from upstash_global.replication.codec import Entry

MAX_SESSIONS: Final = 10_000  # per origin
MAX_ANSWER_BYTES: Final = 64 * 1024  # a longer answer is remembered as too long

TOO_LONG: Final = b""


class Answers:
    def __init__(self) -> None:
        self.origins: dict[str, dict[tuple[str, int], tuple[int, dict[int, bytes]]]] = {}

    def note(self, entry: Entry) -> None:
        """Remember the answer that an applied entry carries, if it carries one."""
        attributes = entry.attributes
        if "o" not in attributes:
            return
        sessions = self.origins.setdefault(attributes["o"], {})
        key = (attributes["b"], attributes["s"])
        known = sessions.pop(key, None)
        if known is None or known[0] != attributes["q"]:
            known = (attributes["q"], {})
        known[1][attributes["i"]] = attributes["a"]
        sessions[key] = known
        if len(sessions) > MAX_SESSIONS:
            del sessions[next(iter(sessions))]

    def find(self, origin: str, boot_id: str, session: int, sequence: int) -> dict[int, bytes] | None:
        """Command index → packed reply of a Forward that ran, wholly or in part; None if it never changed anything."""
        known = self.origins.get(origin, {}).get((boot_id, session))
        if known is None or known[0] != sequence:
            return None
        return known[1]

    def dump(self) -> Any:
        return [
            [
                origin,
                [
                    [boot, session, sequence, list(map(list, answers.items()))]
                    for (boot, session), (sequence, answers) in sessions.items()
                ],
            ]
            for origin, sessions in self.origins.items()
        ]

    def load(self, plain: Any) -> None:
        self.origins = {}
        for origin, sessions in plain or []:
            table: dict[tuple[str, int], tuple[int, dict[int, bytes]]] = {}
            for boot, session, sequence, answers in sessions:
                table[(boot, session)] = (sequence, {index: answer for index, answer in answers})
            self.origins[origin] = table
