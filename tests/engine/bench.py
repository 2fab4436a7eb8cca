"""Bench: an engine on a workbench. Commands as text, time as a field, entries as a list."""

import random
import shlex
from typing import Any

import upstash_global.engine.commands  # noqa: F401  (fills the table)
from upstash_global.engine.context import Effects
from upstash_global.engine.dump import digest
from upstash_global.engine.engine import Engine
from upstash_global.reply import Reply

Words = str | list[Any]


class Logged:
    """What one unit would put into the log."""

    def __init__(self, commands: list[list[bytes]], time_ms: int) -> None:
        self.commands = commands
        self.time_ms = time_ms


class Bench:
    def __init__(self, seed: int = 0, now_ms: int = 1_700_000_000_000) -> None:
        self.engine = Engine(random.Random(seed))
        self.now_ms = now_ms
        self.entries: list[Logged] = []
        self.effects: Effects | None = None  # of the last unit

    def run(self, *words: Any) -> Reply:
        """`run("SET k v")` splits as a shell does; `run("SET", b"k", 1.5)` takes words as they are. Refusals are replies."""
        argv = argv_of(*words)
        reply, self.effects = self.engine.run(argv, self.now_ms)
        if self.effects is not None:
            self.entries.append(Logged(self.effects.commands, self.now_ms))
        return reply

    def apply(self, entries: list[Logged]) -> None:
        """Replay entries of another bench; each must give exactly itself again."""
        for entry in entries:
            effects = self.engine.apply(entry.commands, entry.time_ms)
            assert effects.commands == entry.commands, f"{entry.commands} was replayed as {effects.commands}"
            self.entries.append(entry)

    def later(self, ms: int) -> None:
        self.now_ms += ms

    def digest(self) -> str:
        return digest(self.engine.keyspace)


def argv_of(*words: Any) -> list[bytes]:
    if len(words) == 1 and isinstance(words[0], str):
        return [word.encode() for word in shlex.split(words[0])]
    return [word if isinstance(word, bytes) else str(word).encode() for word in words]
