"""Session: one client connection, as the node sees it.

A session runs its commands strictly in order. While answers are outstanding (`waiting` above 0) what is read next stays
in `input`. Replies and pushes leave through `reply` and `push`, which a shell overrides to encode them; the node collects
the sessions that have something to say and lets them out through its release gate.

A RemoteSession stands at the leader for a session of another node. It runs the commands of one Forward at a time and
keeps the answers of the last, so that a repeated Forward gets the same ones.
"""

from collections import deque
from typing import Any, Final

from upstash_global.engine.acl import User
from upstash_global.engine.table import Row
from upstash_global.engine.users import Caller
from upstash_global.errors import CommandError
from upstash_global.node.retries import Once
from upstash_global.protocol.consistency import BOUNDED, DEFAULT_CONSISTENCY, LEADER, SESSION, Consistency
from upstash_global.protocol.tokens import SyncToken
from upstash_global.replication.position import NEVER, START, Position
from upstash_global.reply import LEFT_OUT, MAX_REPLY_BYTES, NO_REPLY, Items, Push, Reply

REPLY_ON: Final = 0
REPLY_OFF: Final = 1
REPLY_SKIP_NEXT: Final = 2  # CLIENT REPLY SKIP was the last command
REPLY_SKIP: Final = 3  # the running command answers nothing


MAX_FORWARD_BYTES: Final = (
    4 << 20
)  # of the answers of one Forward; beyond it the rest of its commands is left to the next


def size_of_reply(reply: Reply) -> int:
    """About how many bytes a reply takes on a wire; nobody counts on behind MAX_REPLY_BYTES."""
    if type(reply) is bytes:
        return len(reply) + 8
    if isinstance(reply, (list, tuple)):
        n_bytes = 8
        for item in reply:
            n_bytes += size_of_reply(item)
            if n_bytes > MAX_REPLY_BYTES:
                break
        return n_bytes
    if isinstance(reply, dict):
        return size_of_reply(list(reply)) + size_of_reply(list(reply.values()))
    if isinstance(reply, Items):
        return size_of_reply(reply.items)
    return 16


class Several:
    """The answers of a command that answers more than once: SUBSCRIBE does for each channel."""

    __slots__ = ("answers",)

    def __init__(self, answers: list[Push]) -> None:
        self.answers = answers


class Watch:
    """What EXEC needs to know about a watched key."""

    __slots__ = ("key", "position", "visible")

    def __init__(self, key: bytes, position: Position, visible: bool | None) -> None:
        self.key = key
        self.position = position  # the node's position when WATCH ran
        self.visible = visible  # whether the key was there; None: nobody knows


class TrackingState:
    """How a session tracks keys: see tracking.py."""

    def __init__(self) -> None:
        self.broadcasts = False  # it hears of all keys with its prefixes, read or not
        self.is_opt_in = False  # only what follows CLIENT CACHING YES is tracked
        self.is_opt_out = False  # all but what follows CLIENT CACHING NO
        self.is_deaf_to_itself = False  # NOLOOP
        self.redirect = 0  # id of the session that hears in its place
        self.is_caching = False  # CLIENT CACHING was given: it holds for the next command, or all of the next EXEC
        self.is_broken = False  # the session it redirects to is gone
        self.prefixes: dict[bytes, None] = {}

    @property
    def wants_reads(self) -> bool:
        """Whether what the next command reads is to be remembered."""
        if self.broadcasts or (self.is_opt_out and self.is_caching):
            return False
        return not self.is_opt_in or self.is_caching


class Session(Caller):
    def __init__(self, session_id: int, user: User | None, address: str = "", created_ms: int = 0) -> None:
        super().__init__(user)
        self.id = session_id
        self.address = address
        self.local_address = ""
        self.created_ms = created_ms
        self.active_ms = created_ms
        self.protocol = 2
        self.name = b""
        self.library_name = b""
        self.library_version = b""
        self.row: Row | None = None  # of the last command
        self.ran = True  # that and those measured with it were run: none was refused or queued
        self.no_evict = False
        self.reply_mode = REPLY_ON
        self.input: deque[list[bytes]] = deque()  # read, not yet run
        self.waiting = 0  # answers outstanding; nothing runs meanwhile
        self.is_full = False  # so much is to be read by the client that nothing runs until it has; set by a shell
        self.queue: list[list[bytes]] | None = None  # MULTI: the commands so far
        self.queue_bytes = 0  # about what they take
        self.queue_failed = False  # a queued command was refused: EXEC aborts
        self.watches: dict[bytes, Watch] = {}
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.held: list[Push] = []  # what the running command made this session hear: it follows the reply
        self.may_block = (
            True  # a blocking command that finds nothing waits; if not, it answers as when its time is over
        )
        self.tracking: TrackingState | None = None
        self.consistency = DEFAULT_CONSISTENCY  # see `ask`
        self.position = START  # reads must not be older than this; NEVER: what `consistency` says
        self.own = START  # what the client has seen or written: asked for unless `consistency` is EVENTUAL
        self.scope: SyncToken | None = None  # the same, key by key: then not all of `position` counts (scope.py)
        self.owes = False  # a write was answered before this node had applied it
        self.served = START  # the position at which the newest reply was computed
        self.is_served_here = True  # by this node, not by the leader for it
        self.sequence = 0  # number of the last Forward
        self.fresh_until_leader = False  # `position` could not be reached here in time: reads go to the leader
        self.closing = False  # to be closed once its replies are out
        self.killed = False  # to be closed at once
        self.once: Once | None = None  # the transaction that is to run must not run twice
        self.is_dirty = False  # listed in the node's dirty sessions
        self.counted_bytes = 0  # in the node's sum, while there is one: see clientmemory.py
        self.is_monitor = False
        self.is_remote = False
        self.n_commands = 0

    def ask(self, consistency: Consistency, seen: Position = START, scope: SyncToken | None = None) -> None:
        """From now on, how new the state of reads must be; `seen` is what the client knows of already.

        `scope` says it key by key, for a `consistency` that is scoped; `seen` includes all of it.
        """
        kind = consistency.kind
        self.consistency = consistency
        self.position = NEVER if kind in (BOUNDED, LEADER) else START
        self.own = seen
        self.scope = (scope or SyncToken(seen.epoch, seen.lsn)) if consistency.is_scoped else None
        self.fresh_until_leader = kind in (BOUNDED, LEADER)
        if kind == SESSION:
            self.position = seen

    def owe(self, head: Position, is_write: bool) -> None:
        """The leader's answer was passed on before this node had applied what it rests on."""
        self.own = head
        if is_write:
            self.owes = True
        if self.consistency.kind == SESSION:
            self.position = head
            self.fresh_until_leader = True

    @property
    def seen(self) -> Position:
        """What the client has seen for certain."""
        return self.own if self.position == NEVER else self.position

    @property
    def row_run(self) -> Row | None:
        """The row of the commands that are measured together, if all were run."""
        return self.row if self.ran else None

    @property
    def is_subscribed(self) -> bool:
        return bool(self.channels) or bool(self.patterns) or bool(self.shard_channels)

    def reply(self, reply: Reply) -> None:
        """Take the answer of the oldest unanswered command."""
        mode = self.reply_mode
        if mode == REPLY_SKIP_NEXT:
            self.reply_mode = REPLY_SKIP
        elif mode == REPLY_SKIP:
            self.reply_mode = REPLY_ON
        if type(reply) is Several:
            for answer in reply.answers:
                self.push(answer)
        elif reply is not NO_REPLY and mode != REPLY_OFF and mode != REPLY_SKIP:
            self.write(reply)
        if self.held:
            for push in self.held:
                self.push(push)
            self.held = []

    def push(self, push: Push) -> None:
        """Take something that nobody asked for just now; CLIENT REPLY OFF does not stop it, as in Redis."""
        self.write(push)

    def write(self, reply: Reply) -> None:
        """Encode a reply for the client; what a shell overrides."""
        raise NotImplementedError

    def take_output(self) -> Any:
        """What `write` has gathered since the last call, in whatever form `send` of the shell wants; None for nothing."""
        return None

    def unread_bytes(self) -> int:
        """Bytes of answers that have not left this process."""
        return 0

    def read_bytes(self) -> int:
        """Bytes that have come from the client and wait to be run."""
        n_bytes = 0
        for argv in self.input:
            n_bytes += size_of_request(argv)
        return n_bytes

    def bound_input(self) -> None:
        """client-query-buffer-limit has changed."""

    def send(self, output: Any) -> None:
        """Hand released output to the client; None cuts it off."""
        raise NotImplementedError

    def end_after_replies(self) -> None:
        """Close the connection once everything is answered."""
        self.closing = True

    def refuse_protocol(self, text: str) -> None:
        """The bytes of the client were no command: tell it, behind all answers so far."""
        self.write(CommandError("ERR", text))

    def end_transaction(self) -> None:
        """Forget the queued commands and the watched keys."""
        self.queue = None
        self.queue_bytes = 0
        self.queue_failed = False
        self.watches = {}

    def reset(self) -> None:
        """RESET: everything as after connecting, except id and address."""
        self.end_transaction()
        self.protocol = 2
        self.name = b""
        self.no_evict = False
        self.no_touch = False
        if self.reply_mode != REPLY_SKIP:  # that one is about RESET itself
            self.reply_mode = REPLY_ON


class RemoteSession(Session):
    """A session of another node that runs commands here, at the leader."""

    def __init__(self, session_id: int, peer: str, origin: str, boot_id: str, remote_id: int) -> None:
        super().__init__(session_id, None)
        self.is_remote = True
        self.peer = peer  # the stream to answer on; changes when the node reconnects
        self.origin = origin
        self.boot_id = boot_id
        self.remote_id = remote_id
        self.expected = 0  # commands of the running Forward
        self.answers: list[Any] = []  # its replies so far
        self.answer_bytes = 0  # about what they take
        self.remembered: dict[int, bytes] = {}  # command index → packed reply, of an earlier run of the same Forward
        self.lost_ms = 0  # since when its node's stream is gone; 0 while it is there

    def write(self, reply: Reply) -> None:
        n_bytes = size_of_reply(reply)
        if n_bytes > MAX_REPLY_BYTES:
            reply, n_bytes = LEFT_OUT, 0
        self.answers.append(reply)
        self.answer_bytes += n_bytes
        if self.answer_bytes > MAX_FORWARD_BYTES:
            self.is_full = True


def size_of_request(argv: list[bytes]) -> int:
    """Bytes of a command as RESP writes it."""
    n_bytes = 3 + len(str(len(argv)))
    for argument in argv:
        n_bytes += 5 + len(str(len(argument))) + len(argument)
    return n_bytes
