"""Sessions of real clients: what each gathers until the node's gate lets it out.

They stand here, not beside the sockets, because they are on the hot path and compiled with the node. `connection` is the
shell's: something with `send(output)` for RESP, `respond`, `stream` and `cut` for HTTP.
"""

from typing import TYPE_CHECKING, Any, Final

from librt.strings import BytesWriter

from upstash_global.errors import ReplyTooLong, error
from upstash_global.node.session import Session, size_of_reply
from upstash_global.protocol.resp import encode
from upstash_global.protocol.rest import EVENTS, MONITOR, Call, event, line_event
from upstash_global.replication.position import NEVER, START, Position
from upstash_global.reply import LEFT_OUT, MAX_REPLY_BYTES, Push, Reply, Simple

if TYPE_CHECKING:
    from upstash_global.node.node import Node

KEPT_OUT_BYTES: Final = 1 << 14  # a buffer for answers that has grown larger is not kept for the next ones
MAX_HELD_BYTES: Final = 1 << 20  # of answers that have not reached the connection; beyond it nothing is run

MAX_ANSWER_BYTES: Final = 64 << 20  # of one HTTP response; the commands of a pipeline beyond it are not run
ANSWER_TOO_LARGE: Final = error(f"max response size exceeded. Limit: {MAX_ANSWER_BYTES} bytes; not executed")


class OutputLimit:
    """What a client may leave unread: at no time more than `hard` bytes, more than `soft` for `seconds` at most; 0: no limit."""

    def __init__(self, hard: int, soft: int, seconds: int) -> None:
        self.hard = hard
        self.soft = soft
        self.seconds = seconds

    @property
    def is_set(self) -> bool:
        return self.hard > 0 or self.soft > 0


class RespSession(Session):
    """Encodes as it goes; its output is the bytes since the last turn."""

    def __init__(self, session_id: int, address: str, created_ms: int, connection: Any) -> None:
        super().__init__(session_id, None, address, created_ms)
        self.connection = connection
        self.out = BytesWriter()
        self.held_bytes = 0  # in the gate
        self.is_paused = False  # the connection does not read and wants to hear of every turn

    def write(self, reply: Reply) -> None:
        before = len(self.out)
        try:
            encode(self.out, reply, self.protocol)
        except ReplyTooLong:
            self.out.truncate(before)
            shorter = BytesWriter()  # the old one keeps its room
            shorter.write(self.out.getvalue())
            self.out = shorter
            if isinstance(reply, Push):
                self.killed = True  # so much else waits for this client that it may not hear of everything
            else:
                encode(shorter, LEFT_OUT, self.protocol)
        if len(self.out) + self.held_bytes > MAX_HELD_BYTES:
            self.is_full = True

    def unread_bytes(self) -> int:
        return len(self.out) + self.held_bytes + int(self.connection.unread_bytes())

    def read_bytes(self) -> int:
        return super().read_bytes() + int(self.connection.read_bytes())

    def bound_input(self) -> None:
        self.connection.bound_input()

    def take_output(self) -> Any:
        n = len(self.out)
        if n == 0 and not self.closing and not self.is_paused:
            return None
        out = self.out.getvalue()
        if n <= KEPT_OUT_BYTES:
            self.out.truncate(0)
        else:
            self.out = BytesWriter()
        self.held_bytes += n
        return out

    def send(self, output: Any) -> None:
        if output is not None:
            self.held_bytes -= len(output)
        self.connection.send(output)


NO_REGION: Final[list[str]] = []


class Receipt:
    """From what state a request was answered: the oldest position of its replies, where, and how old that state was."""

    def __init__(self) -> None:
        self.regions = NO_REGION  # whose nodes computed the replies, the nearest first; shared, so never changed
        self.position = START
        self.staleness_ms = 0

    def begin(self) -> None:
        """Nothing has been answered yet."""
        self.regions = NO_REGION
        self.position = START
        self.staleness_ms = 0

    def note(self, region: list[str], position: Position, staleness_ms: int) -> None:
        """One more reply; `region` holds a single one."""
        if not self.regions:
            self.regions = region
            self.position = position
        elif region[0] not in self.regions:
            self.regions = [*self.regions, region[0]]
        if staleness_ms > self.staleness_ms:
            self.staleness_ms = staleness_ms


class ReceiptLines:
    """Receipts as lines of an answer's head, with the token of what its client has seen then.

    Most are of this node alone, in the epoch of the one before, and as new as can be: of these only token and LSN differ, and between
    two writes not even they.
    """

    def __init__(self, region: str) -> None:
        self.here: Final = [region]
        self.token = b""  # of the last receipt that was of this node alone
        self.position = NEVER  # likewise
        self.lines = b""
        self.before_lsn = b""

    def of(self, receipt: Receipt, token: bytes) -> bytes:
        position = receipt.position
        if receipt.staleness_ms or len(receipt.regions) != 1 or receipt.regions[0] != self.here[0]:
            return self._in_full(receipt, token)
        if position is self.position and token is self.token:
            return self.lines
        if position.epoch != self.position.epoch or not self.before_lsn:
            region = self.here[0].encode()
            self.before_lsn = b"\r\nupstash-region: %b\r\nupstash-position: %d-" % (region, position.epoch)
        lsn = position.lsn
        self.lines = b"upstash-sync-token: %b%b%d\r\nupstash-staleness-ms: 0\r\n" % (token, self.before_lsn, lsn)
        self.token = token
        self.position = position
        return self.lines

    def _in_full(self, receipt: Receipt, token: bytes) -> bytes:
        position = receipt.position
        return (
            b"upstash-sync-token: %b\r\nupstash-region: %b\r\nupstash-position: %d-%d\r\nupstash-staleness-ms: %d\r\n"
            % (token, ", ".join(receipt.regions).encode(), position.epoch, position.lsn, receipt.staleness_ms)
        )


class RestSession(Session):
    """Runs one request at a time for an HTTP connection, or is subscribed for as long as it lasts."""

    def __init__(
        self, session_id: int, address: str, created_ms: int, connection: Any, listener: Any, node: "Node"
    ) -> None:
        super().__init__(session_id, None, address, created_ms)
        self.connection = connection
        self.listener = listener  # renders the answer
        self.node = node
        self.may_block = False  # nobody waits at the other end of a request
        self.is_known = False  # it has shown a token
        self.token: str | None = None  # of the request
        self.vouching: dict[bytes, bytes] | None = None  # the headers whose token is that of `user`,
        self.users_version = 0  # when the users were these
        self.call: Call | None = None  # under way
        self.expected = 0  # replies until it is done
        self.replies: list[Reply] = []
        self.reply_bytes = 0  # about what they take
        self.events = bytearray()  # server-sent, not yet taken
        self.receipt: Final = Receipt()
        self.here: Final = [node.settings.me.region]
        self.is_lost_epoch = False  # the client's sync token is of a history that was given up
        self.told_caches: list[tuple[bytes, bytes]] = []  # headers of the answer, for caches outside (node/edges.py)

    def begin(self, call: Call, n_replies: int) -> None:
        self.call = call
        self.expected = n_replies
        self.replies = []
        self.reply_bytes = 0
        self.receipt.begin()
        if self.told_caches:
            self.told_caches = []

    def write(self, reply: Reply) -> None:
        if isinstance(reply, Push):
            self.events += event(reply.items)
        elif type(reply) is Simple and self.call is not None and self.call.mode is MONITOR:
            self.events += line_event(reply.text)
        else:
            n_bytes = size_of_reply(reply)
            if n_bytes > MAX_REPLY_BYTES:
                reply, n_bytes = LEFT_OUT, 0
            self.replies.append(reply)
            if len(self.replies) == 1 or len(self.replies) == self.expected or not self.is_served_here:
                self._note()
            self.reply_bytes += n_bytes
            if self.reply_bytes > MAX_ANSWER_BYTES:
                self.is_full = True

    def _note(self) -> None:
        """Put down where the newest reply comes from; of a transaction that is its last one, the answer to EXEC."""
        node, call = self.node, self.call
        if call is not None and call.is_unit and len(self.replies) < self.expected:
            return
        if self.is_served_here:
            self.receipt.note(self.here, node.log.head, node.staleness_ms)
        else:
            leader = node.settings.peers.get(node.leader_name)  # None: it is not known any more
            self.receipt.note([leader.region if leader is not None else "unknown"], self.served, 0)

    def take_output(self) -> Any:
        """(response, headers) of a finished request, or the bytes of events."""
        if self.events:
            events, self.events = self.events, bytearray()
            return bytes(events)
        call = self.call
        if self.is_full and not self.waiting:  # what is left was not run
            self.replies.extend([ANSWER_TOO_LARGE] * len(self.input))
            self.input.clear()
            self.is_full = False
        if call is None or len(self.replies) < self.expected:
            return None
        self.call = None
        return self.listener.answer(self, call, self.replies)

    def end_after_replies(self) -> None:
        """An HTTP connection may go on: each request says anew whose it is."""

    def send(self, output: Any) -> None:
        if output is None:
            self.connection.cut()
        elif type(output) is bytes:
            if not self.connection.is_streaming:
                self.connection.begin_stream(EVENTS)
            self.connection.stream(output)
        else:
            self.connection.respond(output[0], output[1])
