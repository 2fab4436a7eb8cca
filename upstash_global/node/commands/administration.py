"""Commands by which an administrator of one Redis saves, stops or rearranges it: done here, or refused in plain words."""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import (
    ADMIN,
    ALLOW_BUSY,
    DANGEROUS,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    READONLY,
    STALE,
    Family,
)
from upstash_global.errors import error, not_an_integer, syntax_error
from upstash_global.node.info import REDIS_VERSION
from upstash_global.node.parking import Parked
from upstash_global.node.session import Session
from upstash_global.reply import NO_REPLY, OK, PENDING, Reply, Simple, Verbatim

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command
cluster_command = Family("cluster").session_command

LATEST_MS: Final = 1 << 62  # a deadline that is never reached

NO_CLUSTER: Final = error("This instance has cluster support disabled")
NO_MODULES: Final = error("modules of Redis cannot be loaded here; JSON is built in")
NO_REPLICAS_OF_REDIS: Final = error(
    "the log of this node is for nodes of its cluster; a replica of Redis cannot follow it"
)
ROLES_ARE_SWITCHED: Final = error(
    "who leads is changed by `upstash-global switchover` or `promote`, not by this command"
)


# -- saving ---------------------------------------------------------------------------------------------------------


@command("BGREWRITEAOF", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
def bgrewriteaof(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Begin a snapshot, behind which older log is dropped."""
    node.snapshots.is_wanted = True
    is_alone = node.engine.context.may_block
    return Simple(f"Background append only file rewriting {'started' if is_alone else 'scheduled'}")


@command("BGSAVE", arity=-1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
def bgsave(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Begin a snapshot."""
    if len(argv) > 2 or len(argv) == 2 and argv[1].upper() != b"SCHEDULE":
        raise syntax_error()
    if node.snapshots.is_under_way:
        raise error("Background save already in progress")
    node.snapshots.is_wanted = True
    return Simple("Background saving started")


@command("LASTSAVE", arity=1, flags=LOADING | STALE | FAST | DANGEROUS)
def lastsave(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """When this node last finished a snapshot, or else started, in seconds since 1970."""
    return (node.snapshots.last_ms or node.started_ms) // 1000


@command("SAVE", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
def save(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Write a snapshot and answer when it is there; others go on meanwhile."""
    snapshots = node.snapshots
    if snapshots.is_under_way:
        raise error("Background save already in progress")
    n_written, n_failed = snapshots.n_written, snapshots.n_failed

    def outcome(_: bytes) -> Reply:
        if snapshots.n_failed > n_failed:
            return error("the snapshot could not be written")
        return OK if snapshots.n_written > n_written else PENDING

    snapshots.is_wanted = True
    node.parking.park(
        Parked(
            session,
            outcome,
            LATEST_MS,
            lambda: OK,
            [],
            "snapshot",
        )
    )
    return PENDING


# -- stopping, leading ----------------------------------------------------------------------------------------------


@command("FAILOVER", arity=-1, flags=ADMIN | NOSCRIPT | STALE)
def failover(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: a switchover hands the lead over."""
    words = [word.upper() for word in argv[1:]]
    if words == [b"ABORT"]:
        raise error("No failover in progress.")
    if words and words[0] not in (b"TO", b"TIMEOUT", b"FORCE"):
        raise syntax_error()
    raise ROLES_ARE_SWITCHED


@command("REPLICAOF", arity=3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | STALE)
def replicaof(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """NO ONE at the leader changes nothing; anything else is refused: a switchover or promotion changes who leads."""
    if node.is_leader and argv[1].upper() == b"NO" and argv[2].upper() == b"ONE":
        return OK
    raise ROLES_ARE_SWITCHED


@command("SLAVEOF", arity=3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | STALE)
def slaveof(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """REPLICAOF by its old name."""
    return replicaof(node, session, argv)


@command("SHUTDOWN", arity=-1, flags=ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
def shutdown(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop this node as SIGTERM does: replicas catch up, the log is synced; NOW does not wait for replicas."""
    words = [word.upper() for word in argv[1:]]
    if any([word not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT") for word in words]):
        raise syntax_error()
    if b"ABORT" in words:
        if len(words) > 1:
            raise syntax_error()
        raise error("No shutdown in progress.")
    if b"SAVE" in words and b"NOSAVE" in words:
        raise syntax_error()
    session.closing = True
    node.stop(b"NOW" in words)
    return NO_REPLY


# -- what a cluster of Redis, its modules and its replicas would ask ------------------------------------------------


@cluster_command("ASKING", arity=1, flags=FAST)
def asking(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: this is no Redis Cluster, every node has all keys."""
    raise NO_CLUSTER


@cluster_command("READONLY", arity=1, flags=FAST | LOADING | STALE)
def readonly(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: this is no Redis Cluster, every node serves reads."""
    raise NO_CLUSTER


@cluster_command("READWRITE", arity=1, flags=FAST | LOADING | STALE)
def readwrite(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: this is no Redis Cluster, every node takes writes."""
    raise NO_CLUSTER


def _cluster(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    raise NO_CLUSTER


_REFUSED: Final = "Refused: this is no Redis Cluster, every node has all keys."
_ARRANGES: Final = ADMIN | STALE | NO_ASYNC_LOADING
_CLUSTER_SUBCOMMANDS: Final = [  # name, arity, flags
    ("ADDSLOTS", -3, _ARRANGES),
    ("ADDSLOTSRANGE", -4, _ARRANGES),
    ("BUMPEPOCH", 2, _ARRANGES),
    ("COUNT-FAILURE-REPORTS", 3, ADMIN | STALE),
    ("COUNTKEYSINSLOT", 3, STALE),
    ("DELSLOTS", -3, _ARRANGES),
    ("DELSLOTSRANGE", -4, _ARRANGES),
    ("FAILOVER", -2, _ARRANGES),
    ("FLUSHSLOTS", 2, _ARRANGES),
    ("FORGET", 3, _ARRANGES),
    ("GETKEYSINSLOT", 4, STALE),
    ("INFO", 2, STALE),
    ("KEYSLOT", 3, STALE),
    ("LINKS", 2, STALE),
    ("MEET", -4, _ARRANGES),
    ("MYID", 2, STALE),
    ("MYSHARDID", 2, STALE),
    ("NODES", 2, STALE),
    ("REPLICAS", 3, ADMIN | STALE),
    ("REPLICATE", 3, _ARRANGES),
    ("RESET", -2, ADMIN | STALE | NOSCRIPT),
    ("SAVECONFIG", 2, _ARRANGES),
    ("SET-CONFIG-EPOCH", 3, _ARRANGES),
    ("SETSLOT", -4, _ARRANGES),
    ("SHARDS", 2, STALE),
    ("SLAVES", 3, ADMIN | STALE),
    ("SLOTS", 2, STALE),
]
for _name, _arity, _flags in _CLUSTER_SUBCOMMANDS:
    cluster_command(f"CLUSTER {_name}", arity=_arity, flags=_flags, summary=_REFUSED)(_cluster)


@command("MODULE LIST", arity=2, flags=ADMIN | NOSCRIPT)
def module_list(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The modules: none, what they would do is built in."""
    return []


@command("MODULE LOAD", arity=-3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
def module_load(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused."""
    raise NO_MODULES


@command("MODULE LOADEX", arity=-3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
def module_loadex(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused."""
    raise NO_MODULES


@command("MODULE UNLOAD", arity=3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
def module_unload(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused."""
    raise NO_MODULES


@command("PSYNC", arity=-3, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
def psync(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: the log is served to nodes of the cluster, over gRPC."""
    raise NO_REPLICAS_OF_REDIS


@command("REPLCONF", arity=-1, flags=ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY)
def replconf(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: what a replica of Redis says before it follows."""
    raise NO_REPLICAS_OF_REDIS


@command("SYNC", arity=1, flags=ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
def sync(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Refused: the log is served to nodes of the cluster, over gRPC."""
    raise NO_REPLICAS_OF_REDIS


# -- and ------------------------------------------------------------------------------------------------------------


@command("LOLWUT", arity=-1, flags=READONLY | FAST)
def lolwut(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """A globe, and the version."""
    if len(argv) >= 3 and argv[1].upper() == b"VERSION":
        drawing = parse_integer(argv[2])
        if drawing is None or (drawing in (5, 6) and any([parse_integer(size) is None for size in argv[3:]])):
            raise not_an_integer()
    return Verbatim(f"{_globe()}\nRedis ver. {REDIS_VERSION}\n".encode())


def _globe(radius: int = 6) -> str:
    """A ball of letters, twice as wide as high, with its meridians."""
    lines = []
    for y in range(-radius, radius + 1):
        half = round(2 * (radius * radius - y * y) ** 0.5)
        row = ["*" if half and abs(x) * 3 % half in (0, 1) else "." for x in range(-half, half + 1)]
        lines.append(" " * (2 * radius - half) + "".join(row))
    return "\n".join(lines) + "\n"
