"""What nodes say to each other: plain values, packed as msgpack [type, format version, fields…].

A field that is added later goes to the end with a default: an older node ignores it, a newer one fills it in. A change
that an older node must not ignore raises MESSAGE_VERSION. A Position is msgpack extension 1: two unsigned 64-bit
big-endian numbers, epoch and LSN. Times are milliseconds since 1970, `sent_ms` and `echo_ms` by the sender's own clock.
"""

from dataclasses import MISSING, dataclass, field, fields
from struct import Struct
from typing import Any, Final

import msgpack

from upstash_global.errors import ClusterError
from upstash_global.replication.position import START, Position

MESSAGE_VERSION: Final = 1
PROTOCOL_VERSION: Final = 1  # of the follow stream as a whole; Subscribe carries it

# Purposes of a subscription.
REPLICA: Final = "replica"  # wants the whole state: a snapshot if the log does not reach back
EDGE: Final = "edge"  # wants what happens from now on, without a gap while it is connected
CHANGES: Final = "changes"  # a change feed: like an edge

# Codes of Refused.
WRONG_CLUSTER: Final = "cluster"
WRONG_VERSION: Final = "version"
OLD_EPOCH: Final = "epoch"  # one of the two has seen a higher epoch, which `epoch` names
DIVERGED: Final = "diverged"  # the position lies above the fork point `lsn`: rewind to it
AHEAD: Final = "ahead"  # the position lies above the head: ask again later
NOT_LEADER: Final = "not-leader"  # `leader` leads, as far as the node knows
BUSY: Final = "busy"  # no full resync can be given now: ask again later


class Message:
    """Any of the messages below."""


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """A follower asks for what comes after `position`."""

    cluster: str
    node: str
    region: str
    boot_id: str
    version: int
    stream: int
    position: Position  # applied
    crc: int  # of the record at `position`
    purpose: str = REPLICA
    epoch: int = 0  # the highest one the follower has seen
    full: bool = False  # its state is broken: nothing but a snapshot helps
    snapshot: str = ""  # the transfer that was interrupted,
    offset: int = 0  # and how much of it has arrived
    reason: str = ""  # why its state is broken
    software: str = ""  # version of the follower's; one that is not ours understands no Check


@dataclass(frozen=True, slots=True)
class Resume(Message):
    """Entries after `position` follow; with `reset` a follower without data takes this as its new start."""

    epoch: int
    position: Position
    history: list[Any]
    crc: int = 0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Refused(Message):
    reason: str
    code: str
    lsn: int = -1  # DIVERGED: the fork point
    epoch: int = 0  # the highest one the refusing node has seen
    history: list[Any] = field(default_factory=list)
    leader: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotBegin(Message):
    """A snapshot follows in chunks from `offset` on; afterwards entries after `position`."""

    epoch: int
    position: Position
    crc: int
    history: list[Any]  # the sender's, up to its head: shows where the follower's may have forked off
    size: int
    name: str
    offset: int = 0
    reason: str = ""  # why it comes


@dataclass(frozen=True, slots=True)
class SnapshotChunk(Message):
    epoch: int
    offset: int
    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Entries(Message):
    """Records of consecutive entries, as the log has them."""

    epoch: int  # the sender's, which fences; each record names its own
    records: bytes
    count: int
    first_lsn: int
    last_lsn: int


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The state of the node that is followed."""

    epoch: int
    leader: str
    head: Position  # the last entry that it may send
    head_bytes: int
    time_ms: int  # leader time
    complete_ms: int  # leader time up to which `head` is known to be everything; the leader's is `time_ms`
    echo_ms: int  # the follower's last `sent_ms` plus the time it was held here; 0 for none
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """What a follower has; answers each heartbeat and each frame."""

    epoch: int
    received_lsn: int
    applied: Position
    durable_lsn: int
    echo_ms: int  # the node's last `sent_ms` plus the time it was held here; 0 for none
    sent_ms: int
    applied_bytes: int = 0  # History.head_bytes at `applied`
    lag_ms: int = 0
    staleness_ms: int = 0
    snapshot_offset: int = 0  # how much of a running transfer has arrived
    read_keys: list[bytes] = field(default_factory=list)  # a sample, which counts as touches for eviction


@dataclass(frozen=True, slots=True)
class Forward(Message):
    """A unit for the leader: `run` is a list of commands in order, `exec` one transaction.

    (origin, boot id, session, sequence) is its dedupe id: sent again after a reconnect it is answered, not repeated.
    """

    origin: str
    boot_id: str
    session: int
    sequence: int
    user: str
    kind: str
    commands: list[list[bytes]]
    watches: list[Any] = field(default_factory=list)  # (key, Position, whether it was visible)
    epoch: int = 0  # the highest one the origin has seen
    head_needed: Position = START  # the session has seen this: the leader must have it
    protocol: int = 2
    attributes: dict[str, Any] = field(default_factory=dict)  # for what comes later: client name, idempotency key


@dataclass(frozen=True, slots=True)
class Forwarded(Message):
    session: int
    sequence: int
    replies: list[bytes]  # reply.pack of each
    head: Position  # the leader's head after the unit, also when nothing was logged
    status: str = "ok"
    epoch: int = 0
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """The client of a parked forward has gone, or CLIENT UNBLOCK ends its wait: `unblock` is `timeout` or `error` then."""

    session: int
    sequence: int = 0
    unblock: str = ""


@dataclass(frozen=True, slots=True)
class StatusRequest(Message):
    sections: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StatusReply(Message):
    status: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Announce(Message):
    """Who leads, as far as the sender knows."""

    epoch: int
    leader: str
    head: Position
    history: list[Any]
    node: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class FetchRequest(Message):
    """Entries for a leader that restarts behind its peers, or for a tool."""

    from_lsn: int
    to_lsn: int
    max_bytes: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class FetchReply(Message):
    records: bytes
    count: int
    head: Position = START
    problem: str = ""  # why there are fewer than asked, if it is not the end of the log


@dataclass(frozen=True, slots=True)
class Handover(Message):
    """The leader's last word in a switchover: whoever holds `head` durably takes the lead, before `expires_ms`."""

    epoch: int  # the reign that ends
    head: Position
    expires_ms: int  # leader time; afterwards the old leader goes on


@dataclass(frozen=True, slots=True)
class Check(Message):
    """What the leader holds at `position`: a follower compares it with its own when it is exactly there.

    Either some keys are meant, or with `table` one system table. Only followers of the leader's own software get it, since
    another one may make other sums of the same state.
    """

    epoch: int
    position: Position
    n_keys: int  # present, hidden ones included
    turn: int  # which part of a large value is meant
    keys: list[bytes]
    sums: list[int]  # of each key; of the table if there is one
    table: str = ""


# Numbers of the wire: append, never renumber.
_TYPES: Final[list[type[Message]]] = [
    Subscribe,
    Resume,
    Refused,
    SnapshotBegin,
    SnapshotChunk,
    Entries,
    Heartbeat,
    Ack,
    Forward,
    Forwarded,
    Cancel,
    StatusRequest,
    StatusReply,
    Announce,
    FetchRequest,
    FetchReply,
    Handover,
    Check,
]

_POSITION: Final = 1
_PAIR: Final = Struct(">QQ")


class _Shape:
    """What `encode` and `decode` need to know of a message type."""

    def __init__(self, number: int, message_type: type[Message]) -> None:
        self.number = number
        self.type = message_type
        described = fields(message_type)  # type: ignore[arg-type]
        self.names = tuple(each.name for each in described)
        # list[bytes] and dict[str, Any] are checked as list and dict
        self.types: tuple[Any, ...] = tuple(getattr(each.type, "__origin__", each.type) for each in described)
        self.required = sum(each.default is MISSING and each.default_factory is MISSING for each in described)


_SHAPES: Final[dict[type[Message], _Shape]] = {each: _Shape(number, each) for number, each in enumerate(_TYPES)}
_SHAPE_OF_NUMBER: Final[dict[int, _Shape]] = {shape.number: shape for shape in _SHAPES.values()}


def encode(message: Message) -> bytes:
    shape = _SHAPES[type(message)]
    plain = [shape.number, MESSAGE_VERSION]
    for name in shape.names:
        plain.append(getattr(message, name))
    data: bytes = msgpack.packb(plain, default=_pack_position)
    return data


def decode(data: bytes) -> Message:
    """The message that `encode` was given. Raises ClusterError for anything that is none, or of an unknown version."""
    try:
        plain = msgpack.unpackb(data, ext_hook=_unpack_position, raw=False, strict_map_key=False)
    except Exception as problem:  # msgpack raises several unrelated classes
        raise ClusterError(f"a message is no msgpack: {problem}") from None
    if type(plain) is not list or len(plain) < 2 or type(plain[0]) is not int:
        raise ClusterError("a message is [type, version, fields…]")
    if plain[1] != MESSAGE_VERSION:
        raise ClusterError(f"message version {plain[1]!r} is not known here, only {MESSAGE_VERSION}")
    shape = _SHAPE_OF_NUMBER.get(plain[0])
    if shape is None:
        raise ClusterError(f"message type {plain[0]} is not known here")
    values = plain[2 : 2 + len(shape.names)]
    if len(values) < shape.required:
        raise ClusterError(f"{shape.type.__name__} has {len(values)} fields instead of {shape.required}")
    for name, expected, value in zip(shape.names, shape.types, values, strict=False):
        if type(value) is not expected:
            raise ClusterError(f"{shape.type.__name__}.{name} is a {type(value).__name__}")
    return shape.type(*values)


def _pack_position(value: object) -> object:
    if isinstance(value, Position):
        return msgpack.ExtType(_POSITION, _PAIR.pack(value.epoch, value.lsn))
    raise TypeError(f"{type(value).__name__} is not for messages")


def _unpack_position(code: int, data: bytes) -> Any:
    if code != _POSITION or len(data) != _PAIR.size:
        raise ValueError(f"unknown extension {code}")
    epoch, lsn = _PAIR.unpack(data)
    return Position(epoch, lsn)
