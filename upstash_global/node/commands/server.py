"""Commands about the node: CONFIG, INFO, SLOWLOG, DEBUG, WAIT and the like."""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.acl import hash_of
from upstash_global.engine.arguments import timeout_argument
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.parameters import PASSWORD
from upstash_global.engine.table import (
    ADMIN,
    BLOCKING,
    DANGEROUS,
    FAST,
    LEADER,
    LOADING,
    NOSCRIPT,
    STALE,
    TABLE,
    Family,
    all_rows,
    wrong_subcommand,
)
from upstash_global.errors import CommandError, error, not_an_integer, syntax_error
from upstash_global.node.dispatch import execute_unit
from upstash_global.node.info import info_text
from upstash_global.node.parameters import Pairs
from upstash_global.node.parking import Parked
from upstash_global.node.session import Session
from upstash_global.reply import OK, PENDING, Reply, Verbatim

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command
generic = Family("generic").session_command

LATEST_MS: Final = 1 << 62  # a deadline that is never reached


@command("CONFIG GET", arity=-3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def config_get(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The parameters that match any of the patterns."""
    found: dict[str, tuple[bytes, bytes]] = {}  # a parameter is told once, as it was spelled first
    for pattern in argv[2:]:
        for name, value in node.parameters.find(pattern.decode("latin-1")):
            found.setdefault(name.lower(), (name.encode("latin-1"), value.encode("utf-8", "surrogateescape")))
    return dict(found.values())


@command("CONFIG RESETSTAT", arity=2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def config_resetstat(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Start the counters of INFO afresh."""
    node.metrics.reset()
    node.roles.host.resyncs.reset()
    for row in all_rows():
        row.calls = row.failed_calls = row.rejected_calls = row.microseconds = 0
        row.histogram = []
    node.engine.context.n_misses = 0
    node.eviction.n_evicted = 0
    node.client_memory.n_evicted = 0
    return OK


@command("CONFIG REWRITE", arity=2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def config_rewrite(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Nothing is left to do: what CONFIG SET has set is in the log or on this node's disk already."""
    return OK


@command("CONFIG SET", arity=-4, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def config_set(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Set parameters of the cluster, by an entry that the leader logs, and of this node, all or none."""
    if len(argv) % 2:
        raise syntax_error()
    words = [word.decode("utf-8", "surrogateescape") for word in argv[2:]]
    checked = node.parameters.check(list(zip(words[::2], words[1::2], strict=True)))
    if not checked.shared:
        node.parameters.take_own(checked.own)
        return OK
    shared = [word.encode("utf-8", "surrogateescape") for pair in checked.shared for word in pair]
    if not node.is_leader:
        return _set_at_leader(node, session, shared, checked.own)
    if node.write_refusal is not None:
        raise node.write_refusal
    shared = _without_secrets(shared)
    if not node.engine.context.may_block:  # a part of a transaction, which is logged as a whole
        reply = node.engine.execute(TABLE[b"_CONFIG"], [b"_CONFIG", *shared])
    elif node.is_sealed:
        return node.park_until_unsealed(session, lambda: node.retry(session, argv))
    else:
        reply = execute_unit(node, session, TABLE[b"_CONFIG"], [b"_CONFIG", *shared])
    node.parameters.take_own(checked.own)
    return reply


def _without_secrets(shared: list[bytes]) -> list[bytes]:
    """What the log may carry: of a password only its hash."""
    hidden = list(shared)
    for at in range(0, len(shared), 2):
        if shared[at] == PASSWORD and shared[at + 1]:
            hidden[at + 1] = hash_of(shared[at + 1])
    return hidden


def _set_at_leader(node: "Node", session: Session, shared: list[bytes], own: Pairs) -> Reply:
    """What is the cluster's goes to the leader; what is this node's is set once that was taken."""
    if not node.engine.context.may_block:
        raise error("parameters of the cluster can be set in a transaction only at the leader")
    if not node.can_forward:
        return node.forwarding.no_leader()
    node.forwarding.start_one(session, [b"CONFIG", b"SET", *shared], lambda reply: _set_own(node, own, reply))
    return PENDING


def _set_own(node: "Node", own: Pairs, reply: Reply) -> Reply:
    if type(reply) is not CommandError:
        node.parameters.take_own(own)
    return reply


@command("INFO", arity=-1, flags=LOADING | STALE | DANGEROUS)
def info(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Sections of `name:value` lines about this node."""
    return Verbatim(info_text(node, [word.decode("latin-1").lower() for word in argv[1:]]).encode())


@command("ROLE", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST | DANGEROUS)
def role(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The role as Redis words it; the number is the LSN, and a replica's state is ours translated."""
    lsn = node.log.head.lsn
    if node.is_leader:
        replicas = [
            [_host(node, node.roles.names[stream]), _port(node, node.roles.names[stream]), str(feed.acked.lsn).encode()]
            for stream, feed in node.roles.feeds.items()
            if feed.is_replica
        ]
        return [b"master", lsn, replicas]
    states = {"streaming": b"connected", "syncing": b"sync", "disconnected": b"connect"}
    leader = node.leader_name
    port = _port(node, leader)
    return [b"slave", _host(node, leader), parse_integer(port) or 0, states[node.state_name], lsn]


@command("SLOWLOG GET", arity=-2, flags=ADMIN | LOADING | STALE)
def slowlog_get(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The newest slow commands of this node, 10 unless a count is given (-1: all)."""
    count = 10
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 3:
        number = parse_integer(argv[2])
        if number is None or number < -1:
            raise error("count should be greater than or equal to -1")
        count = len(node.slowlog.entries) if number == -1 else number
    return [
        [entry.id, entry.time_s, entry.microseconds, entry.argv, entry.address.encode(), entry.name]
        for entry in list(node.slowlog.entries)[:count]
    ]


@command("SLOWLOG LEN", arity=2, flags=ADMIN | LOADING | STALE)
def slowlog_len(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How many slow commands are remembered."""
    return len(node.slowlog.entries)


@command("SLOWLOG RESET", arity=2, flags=ADMIN | LOADING | STALE)
def slowlog_reset(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Forget the slow commands."""
    node.slowlog.entries.clear()
    return OK


@command("TIME", arity=1, flags=LOADING | STALE | FAST)
def time(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Leader time as seconds and microseconds."""
    return [str(node.now_ms // 1000).encode(), str(node.now_ms % 1000 * 1000).encode()]


@generic("WAIT", arity=3, flags=BLOCKING | LEADER)
def wait(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Wait until so many replicas have applied everything up to now; how many have."""
    n_wanted = parse_integer(argv[1])
    if n_wanted is None:
        raise not_an_integer()
    timeout_ms = timeout_argument(argv[2], node.local_ms)
    lsn = node.log.head.lsn
    if node.roles.n_replicas_at(lsn) >= n_wanted or not node.engine.context.may_block:
        return node.roles.n_replicas_at(lsn)
    parked = Parked(
        session,
        lambda _: node.roles.n_replicas_at(lsn) if node.roles.n_replicas_at(lsn) >= n_wanted else PENDING,
        _deadline_ms(node, session, timeout_ms),
        lambda: node.roles.n_replicas_at(lsn),
        [],
        "acks",
    )
    node.parking.park(parked)
    return PENDING


@generic("WAITAOF", arity=4, flags=BLOCKING | LEADER)
def waitaof(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Wait until everything up to now is on the leader's disk (1, or 0) and on those of so many replicas; how many have it."""
    n_local = parse_integer(argv[1])
    if n_local is None:
        raise not_an_integer()
    if n_local not in (0, 1):
        raise error("value is out of range, value must between 0 and 1")
    n_replicas = parse_integer(argv[2])
    if n_replicas is None or n_replicas < 0:
        raise error("value is out of range, must be positive")
    timeout_ms = timeout_argument(argv[3], node.local_ms)
    lsn = node.log.head.lsn
    reply = _copies(node, lsn)
    if (reply[0] >= n_local and reply[1] >= n_replicas) or not node.engine.context.may_block:
        return reply
    node.parking.park(
        Parked(
            session,
            lambda _: _enough_copies(node, lsn, n_local, n_replicas),
            _deadline_ms(node, session, timeout_ms),
            lambda: _copies(node, lsn),
            [],
            "acks",
        )
    )
    return PENDING


def _deadline_ms(node: "Node", session: Session, timeout_ms: int) -> int:
    """When the wait is over: with 0 never, but that of a request, whose client may be gone unseen, as one that is forwarded."""
    if not timeout_ms and not session.may_block:
        timeout_ms = node.settings.forward_timeout_ms
    return node.local_ms + timeout_ms if timeout_ms else LATEST_MS


def _copies(node: "Node", lsn: int) -> list[int]:
    """[1 if the leader has everything up to `lsn` on its disk, how many replicas do]"""
    return [int(node.durable_lsn >= lsn), node.roles.n_replicas_at(lsn, durably=True)]


def _enough_copies(node: "Node", lsn: int, n_local: int, n_replicas: int) -> Reply:
    copies = _copies(node, lsn)
    return copies if copies[0] >= n_local and copies[1] >= n_replicas else PENDING


def _host(node: "Node", name: str) -> bytes:
    peer = node.settings.peers.get(name)
    return b"" if peer is None else peer.resp.rpartition(":")[0].encode()


def _port(node: "Node", name: str) -> bytes:
    peer = node.settings.peers.get(name)
    return b"0" if peer is None else peer.resp.rpartition(":")[2].encode()
