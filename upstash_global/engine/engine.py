"""The engine: commands on a keyspace, and the effects they had.

    execute(row, argv)  runs one command inside a unit
    take_effects()      closes the unit and says what it changed
    apply(entry)        replays what another node executed

One unit (a command, an EXEC, a script) gives at most one entry. A command that changed nothing is not logged. What is
logged is the command itself, unless its handler said otherwise with `log_as`. Replaying an entry yields exactly that
entry again: a test proves it for every write command.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.context import Context, Effects
from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.table import READONLY, TABLE, Row, lookup
from upstash_global.engine.users import Caller, Users
from upstash_global.errors import INTERNAL_ERROR, CommandError, Divergence
from upstash_global.reply import Reply

if TYPE_CHECKING:
    from random import Random


_REFUSAL: Final = CommandError  # compiled code finds it here without a dictionary
_PRYING: Final = ("OBJECT", "MEMORY", "DEBUG")  # reads that look without being seen: they raise no `keymiss`


def execute(context: Context, row: Row, argv: list[bytes]) -> Reply:
    """Run one data command inside the unit; a refusal is the reply (a CommandError), not an exception."""
    context.changed = False
    context.logged = False
    handler = row.handler
    assert handler is not None
    try:
        reply = handler(context, argv)
    except CommandError as refusal:
        reply = refusal
        context.changed = False
    except Exception as bug:
        context.tell_bug(row.name, bug)
        reply = INTERNAL_ERROR
        context.changed = False
    if context.missed:
        context.tell_misses(bool(row.flags & READONLY) and not row.name.startswith(_PRYING))
    if context.changed and not context.logged:
        context.note_command(argv)
    context.changed = False
    return reply


class Engine:
    def __init__(self, random: "Random") -> None:
        self.keyspace = Keyspace()
        self.context = Context(self.keyspace, random, Users())

    def take_keyspace(self, keyspace: Keyspace) -> None:
        """Go on with another keyspace: one that was loaded, or an empty one."""
        self.keyspace = keyspace
        self.context.keyspace = keyspace

    def begin(self, now_ms: int, caller: Caller | None = None) -> None:
        """Start a unit at leader time `now_ms`, on somebody's behalf."""
        self.context.begin(now_ms, caller)

    def execute(self, row: Row, argv: list[bytes]) -> Reply:
        """Run one data command inside the unit; a refusal is the reply (a CommandError), not an exception."""
        return execute(self.context, row, argv)

    def take_effects(self) -> Effects | None:
        """Close the unit; None if it changed nothing and has nothing to say."""
        context = self.context
        if not context.commands:
            return None
        effects = Effects(context.commands, context.touched, context.flushed, context.said)
        effects.unwatched = context.unwatched
        return effects

    def apply(self, commands: list[list[bytes]], time_ms: int) -> Effects:
        """Replay the commands of one entry at its own time and return what they changed.

        Raises Divergence when one of them is unknown, fails, or had no effect: applying is total.
        """
        self.context.begin(time_ms)
        accesses = self.keyspace.accesses
        if accesses is None:
            return self._replay(commands)
        read, accesses.recent = accesses.recent, None  # what follows is no read of a client
        effects = self._replay(commands)
        accesses.recent = read
        return effects

    def _replay(self, commands: list[list[bytes]]) -> Effects:
        for argv in commands:
            row = TABLE.get(argv[0])
            if row is None:
                row = TABLE.get(argv[0].upper())
            if row is not None and row.subcommands and len(argv) > 1:
                row = row.subcommands.get(argv[1].upper())
            if row is None or row.handler is None:
                raise Divergence(f"unknown command {argv[0]!r}")
            reply = self.execute(row, argv)
            if type(reply) is _REFUSAL:
                raise Divergence(f"{argv[0]!r} failed: {reply.text}")
        effects = self.take_effects()
        if effects is None:
            raise Divergence(f"{commands[0][0]!r} had no effect")
        return effects

    def run(self, argv: list[bytes], now_ms: int) -> tuple[Reply, Effects | None]:
        """One command as a unit of its own; the reply may be a CommandError. For tests and tools."""
        self.begin(now_ms)
        try:
            row = lookup(argv)
        except CommandError as refusal:
            return refusal, None
        reply = self.execute(row, argv)
        return reply, self.take_effects()
