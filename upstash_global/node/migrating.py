"""Migrations: keys on their way to another server (MIGRATE), from the dump to the DEL.

The node dumps the values and puts what is to be said to the target into the outbox; a shell says it and gives back what
was answered. Redis stands still meanwhile; this node does not, so a key is deleted here only if nothing has changed it
since it was dumped. The deletion is one entry of the log. It comes even when the client has gone: the target has the keys.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.rdb.write import payload_of
from upstash_global.engine.table import TABLE
from upstash_global.errors import CommandError, error, shown
from upstash_global.node.parking import Parked
from upstash_global.node.session import Session
from upstash_global.reply import OK, PENDING, Reply, Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

NO_KEY: Final = Simple("NOKEY")
CONNECTING: Final = "connecting to the client"  # in Redis's words, though it is the target that is meant
WRITING: Final = "writing to target instance"
READING: Final = "reading to target instance"
NOT_LEADING: Final = CommandError(
    "READONLY", "this node leads no more; what the target has accepted was not deleted here"
)


class Migration:
    """What is to be said to a target, and what is known of the keys in it."""

    def __init__(self, host: str, port: int, timeout_ms: int, is_copy: bool) -> None:
        self.host = host
        self.port = port
        self.timeout_ms = timeout_ms  # of every step of the conversation
        self.is_copy = is_copy
        self.introduction: list[list[bytes]] = []  # AUTH, SELECT: if one is refused, nothing else is said
        self.restores: list[list[bytes]] = []
        self.deadlines: list[int] = []  # of each key restored, in milliseconds since 1970; -1: none
        self.token = 0
        self.session: Session | None = None
        self.parked: Parked | None = None
        self.epoch = 0  # where the values were dumped
        self.lsn = 0
        self.lines: list[bytes] = []  # what the target answered, as far as it did
        self.failure = ""  # why it did not answer everything; "" if it did


class Migrations:
    """`begin` for a client, `ended` by the shell; what has ended waits for a moment at which a write may run."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.wanted: list[Migration] = []  # for the next outbox
        self.under_way: dict[int, Migration] = {}  # by token
        self.answered: list[Migration] = []  # the target has spoken, and nothing was deleted yet
        self.n_begun = 0

    def take(self) -> list[Migration]:
        wanted, self.wanted = self.wanted, []
        return wanted

    def dump(self, migration: Migration, keys: list[bytes], replaces: bool) -> None:
        """Put the values of the keys that are there into a migration."""
        node = self.node
        context = node.engine.context
        context.now_ms = node.now_ms
        for key in keys:
            value = context.peek(key)
            if value is None:
                continue
            deadline_ms = context.deadline(key)
            left_ms = 0 if deadline_ms < 0 else max(1, deadline_ms - node.now_ms)
            payload = payload_of(value, node.now_ms, context.limits)
            options = [b"REPLACE"] if replaces else []
            migration.restores.append([b"RESTORE", key, b"%d" % left_ms, payload, *options])
            migration.deadlines.append(deadline_ms)

    def begin(self, session: Session, migration: Migration) -> Reply:
        """Send a migration off; the session waits."""
        node = self.node
        self.n_begun += 1
        migration.token = self.n_begun
        migration.session = session
        migration.epoch = node.log.head.epoch
        migration.lsn = node.log.head.lsn
        migration.parked = Parked(session, _still_waiting, 0, _never, [], "migrate")
        node.parking.park(migration.parked)
        self.under_way[migration.token] = migration
        self.wanted.append(migration)
        return PENDING

    def ended(self, token: int, lines: list[bytes], failure: str, now_ms: int) -> None:
        """The conversation is over: the lines that came back, and what went wrong if not all of them did."""
        migration = self.under_way.pop(token)
        migration.lines = lines
        migration.failure = failure
        self.answered.append(migration)
        self.node.set_clock(now_ms)
        self.settle()

    def settle(self) -> None:
        """Delete what has moved, and answer; not during a script, a switchover or a pause."""
        node = self.node
        while self.answered and not (node.is_busy or node.is_sealed or node.pause.until_ms):
            migration = self.answered.pop(0)
            session = migration.session
            assert session is not None
            if node.parking.by_session.get(session.id) is migration.parked:
                node.parking.release(session)
                node.answer(session, [self._settle(migration, session)])
            else:
                self._settle(migration, None)
            if node.woken:
                node.wake()

    def _settle(self, migration: Migration, session: Session | None) -> Reply:
        """Delete the keys that were accepted and have not changed since; the answer. The session is None if it has gone."""
        accepted: list[int] = []
        refusal = b""
        n_introduced = len(migration.introduction)
        for index, line in enumerate(migration.lines):
            if line.startswith(b"-"):
                refusal = refusal or line[1:]
            elif index >= n_introduced:
                accepted.append(index - n_introduced)
        reply: Reply = OK
        if refusal:
            reply = error(f"Target instance replied with error: {shown(refusal)}")
        elif migration.failure:
            reply = not_reached(migration.failure)
        if migration.is_copy or not accepted:
            return reply
        node = self.node
        if not node.is_leader or node.log.head.epoch != migration.epoch:
            return NOT_LEADING if reply is OK else reply
        if node.write_refusal is not None:
            return node.write_refusal if reply is OK else reply
        unchanged = [migration.restores[i][1] for i in accepted if not self._has_changed(migration, i)]
        n_changed = len(accepted) - len(unchanged) - self._count_expired(migration, accepted)
        if n_changed and reply is OK:
            reply = error(f"{n_changed} of the keys changed while they were sent; the target has them as they were")
        if unchanged:
            self._delete(unchanged, session, reply)
        return reply

    def _has_changed(self, migration: Migration, i: int) -> bool:
        return self.node.changes.changed_after(migration.restores[i][1], migration.lsn)

    def _count_expired(self, migration: Migration, accepted: list[int]) -> int:
        """How many keys are gone because their time was over, as it is at the target."""
        node = self.node
        context = node.engine.context
        context.now_ms = node.now_ms
        n_expired = 0
        for i in accepted:
            is_over = 0 <= migration.deadlines[i] <= node.now_ms
            if is_over and self._has_changed(migration, i) and context.glance(migration.restores[i][1]) is None:
                n_expired += 1
        return n_expired

    def _delete(self, keys: list[bytes], session: Session | None, reply: Reply) -> None:
        """One DEL; its entry carries what a session of another node is answered, in case that has to be told again."""
        engine = self.node.engine
        engine.begin(self.node.now_ms, session)
        engine.execute(TABLE[b"DEL"], [b"DEL", *keys])
        effects = engine.take_effects()
        if effects is not None:
            self.node.commit(session, effects, reply)


def not_reached(step: str) -> CommandError:
    return CommandError("IOERR", f"error or timeout {step}")


def _still_waiting(_: bytes) -> Reply:
    return PENDING


def _never() -> Reply:
    return PENDING
