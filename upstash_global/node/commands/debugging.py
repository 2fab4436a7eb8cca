"""DEBUG and the rest of MEMORY: what only an administrator or a test wants to know.

DEBUG is one row as in Redis, whose COMMAND INFO knows no subcommands of it. Unlike there, a sleep lets others go on, and what
would crash or stop the process, or change data outside of the log, is not there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.dump import dump, key_digest, load
from upstash_global.engine.encodings import encoding_name
from upstash_global.engine.memory import tables_bytes
from upstash_global.engine.numbers import parse_float, parse_integer
from upstash_global.engine.rdb.write import payload_of
from upstash_global.engine.table import ADMIN, LOADING, NOSCRIPT, STALE, TABLE, Family, Row, wrong_subcommand
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import CommandError, error, not_a_float, not_an_integer, shown
from upstash_global.node.dispatch import execute_unit
from upstash_global.node.info import human
from upstash_global.node.parametertexts import memory_size
from upstash_global.node.parking import Parked
from upstash_global.node.session import Session
from upstash_global.reply import OK, PENDING, Attributed, BigNumber, Push, Reply, Set, Simple, Verbatim

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command

MAX_SLEEP_S: Final = 1e9
MAX_MATCHED_BYTES: Final = 1 << 20
POPULATED_AT_ONCE: Final = 1000  # keys
POPULATED_BYTES: Final = 8 << 20
LARGEST_POPULATED: Final = 8 << 20  # bytes of a value
LARGEST_PACKED: Final = 4 << 30
NOT_LEADING: Final = CommandError("READONLY", "only the leader can be populated; ask there")
FOOTER_BYTES: Final = 11  # of a payload of DUMP: its type, version and checksum
NO_DIGEST: Final = "0" * 40
QUIET_BYTES: Final = 5 << 20  # of data, below which there is nothing to say

HELP: Final = """\
DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CHANGE-REPL-ID
    Accepted; positions in the log need no such id.
DIGEST
    40 hex digits of the whole state, equal on every node at the same position; zeros without keys.
DIGEST-VALUE <key> [<key> ...]
    40 hex digits of the value of each key.
ERROR <string>
    Reply with this error.
HTSTATS <0>
    How many keys there are, and how many with deadlines.
HTSTATS-KEY <key>
    How many items a value has that Redis would keep in a hash table.
LISTPACK <key>
    Whether Redis would keep a value as a listpack.
LOADAOF
    As RELOAD: what the log holds is what there is.
LOG <message>
    Write a message to the log of the process.
OBJECT <key>
    Tell how a value is kept.
PAUSE-CRON <0|1>
    Accepted.
POPULATE <count> [<prefix>] [<size>]
    Create string keys `prefix:0` and so on where there are none, in units that are logged; at the leader.
PROTOCOL <type>
    Reply with a value of this type: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim, true
    or false.
QUICKLIST-PACKED-THRESHOLD <size>
    Accepted; lists have one form here.
RELOAD [option ...]
    Check that every value can be dumped and loaded again.
REPLYBUFFER <PEAK-RESET-TIME|RESIZING> <value>
    Accepted.
SET-ACTIVE-EXPIRE <0|1>
    Stop the sweep of this node while it leads, or let it go on.
SLEEP <seconds>
    Hold this answer back.
STRINGMATCH-LEN <len> <pattern>
    Whether a string of that many letters `a` matches a pattern.
STRUCTSIZE
    Sizes of Redis's structures, in its form: there are none here.
HELP
    Print this help."""


@command("DEBUG", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def debug(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Look into this node, for tests and administrators; DEBUG HELP lists what there is."""
    name = argv[1].upper()
    known = _SUBCOMMANDS.get(name)
    if known is None or not known[0] <= len(argv) <= known[1]:
        raise wrong_subcommand(argv)
    return known[2](node, session, argv)


def _digest(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    return Simple(node.digest() if node.engine.keyspace.values else NO_DIGEST)


def _digest_value(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    context = node.engine.context
    context.now_ms = node.now_ms
    digests: list[Reply] = []
    for key in argv[2:]:
        value = context.peek(key)
        digest = NO_DIGEST if value is None else f"{key_digest(b'', value, context.deadline(key)):040x}"
        digests.append(Simple(digest))
    return digests


def _error(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    text = shown(argv[2]).replace("\r", " ").replace("\n", " ")  # the code is counted under this name: one line of INFO
    code, _, message = text.partition(" ")
    raise CommandError(code, message)


def _help(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    return [Simple(line) for line in HELP.splitlines()]


def _hash_table_stats(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if parse_integer(argv[2]) is None:
        raise not_an_integer()
    if argv[2] != b"0":
        raise error("Out of range database")
    keyspace = node.engine.keyspace
    tables = f"[Dictionary HT]\nkeys: {len(keyspace.values)}\n[Expires HT]\nkeys: {len(keyspace.deadlines)}\n"
    return Verbatim(tables.encode())


def _hash_table_stats_of_key(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if encoding_name(_value_of(node, argv[2]), node.engine.context.limits) != "hashtable":
        raise error("The value stored at the specified key is not represented using an hash table")
    return Verbatim(f"items: {len(_value_of(node, argv[2]))}\n".encode())


def _listpack(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if not encoding_name(_value_of(node, argv[2]), node.engine.context.limits).startswith("listpack"):
        raise error("Not a listpack encoded object.")
    return Simple("Listpacks are how Redis would keep this value; here it is an object of Python's")


def _value_of(node: "Node", key: bytes) -> Any:
    context = node.engine.context
    context.now_ms = node.now_ms
    value = context.peek(key)
    if value is None:
        raise error("no such key")
    return value


def _log(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    node.events.note(node.now_ms, "debug-log", shown(argv[2]))
    return OK


def _nothing(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    return OK


def _object(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    context = node.engine.context
    value = _value_of(node, argv[2])
    n_bytes = len(payload_of(value, node.now_ms, context.limits)) - FOOTER_BYTES
    accesses = context.keyspace.accesses
    idle_s = 0 if accesses is None else accesses.idle_ms(argv[2], node.now_ms) // 1000
    return Simple(
        f"Value at:0x{id(value):x} refcount:1 encoding:{encoding_name(value, context.limits)} serializedlength:{n_bytes} "
        f"lru:{node.now_ms // 1000 - idle_s & 0xFFFFFF} lru_seconds_idle:{idle_s}"
    )


def _packed_threshold(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    size = memory_size(shown(argv[2]))
    if size is None or size >= LARGEST_PACKED:
        raise error("argument must be a memory value bigger than 1 and smaller than 4gb")
    return OK


def _protocol(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    kind = argv[2].lower()
    if kind not in _REPLIES:
        raise error(
            "Wrong protocol type name. Please use one of the following: "
            "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
        )
    if kind == b"push":
        if session.protocol < 3:
            raise error("RESP2 is not supported by this command")
        if not session.is_remote:  # its answers are counted
            session.push(Push([b"server-cpu-usage", 42]))
    return _REPLIES[kind]


_REPLIES: Final[dict[bytes, Reply]] = {
    b"string": b"Hello World",
    b"integer": 12345,
    b"double": 3.141,
    b"bignum": BigNumber(b"1234567999999999999999999999999999999"),
    b"null": None,
    b"array": [0, 1, 2],
    b"set": Set([0, 1, 2]),
    b"map": {0: False, 1: True, 2: False},
    b"attrib": Attributed({b"key-popularity": [b"key:123", 90]}, b"Some real reply following the attribute"),
    b"push": b"Some real reply following the push reply",
    b"verbatim": Verbatim(b"This is a verbatim\nstring"),
    b"true": True,
    b"false": False,
}


def _reload(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if any([word.upper() not in (b"MERGE", b"NOFLUSH", b"NOSAVE") for word in argv[2:]]):
        raise error("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    for key, value in node.engine.keyspace.values.items():
        plain = dump(value)
        if dump(load(plain)) != plain:
            raise error(f"the value of {shown(key)} is another one after loading")
    return OK


def _reply_buffer(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    if argv[2].upper() not in (b"PEAK-RESET-TIME", b"RESIZING"):
        raise CommandError(
            "ERR",
            f"unknown subcommand or wrong number of arguments for '{shown(argv[1][:128])}'. Try DEBUG HELP.",
        )
    return OK


class Populating:
    """DEBUG POPULATE at work: keys that are not there yet, a unit of them in each tick, so that nobody waits long."""

    def __init__(self, node: "Node", session: Session, count: int, prefix: bytes, size: int) -> None:
        self.node = node
        self.session = session
        self.count = count
        self.prefix = prefix
        self.size = size  # of each value in bytes; -1: as it comes
        self.next = 0
        self.unit = max(1, min(POPULATED_AT_ONCE, POPULATED_BYTES // max(1, size + len(prefix))))

    def go_on(self, _: bytes = b"") -> Reply:
        """Another unit: OK with the last, PENDING before."""
        node = self.node
        if not node.is_leader:
            raise NOT_LEADING
        context = node.engine.context
        context.now_ms = node.now_ms
        end = min(self.count, self.next + self.unit)
        argv = [b"MSET"]
        for number in range(self.next, end):
            key = b"%b:%d" % (self.prefix, number)
            if context.peek(key) is None:
                value = b"value:%d" % number
                argv += [key, value if self.size < 0 else value[: self.size].ljust(self.size, b"\0")]
        self.next = end
        if len(argv) > 1:
            reply: Reply = execute_unit(node, self.session, TABLE[b"MSET"], argv)
            if reply is not OK:
                return reply
        return OK if end == self.count else PENDING


def _populate(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    count = parse_integer(argv[2])
    size = parse_integer(argv[4]) if len(argv) > 4 else -1
    if count is None or count < 0:
        raise error("value is out of range, must be positive")
    if size is None or size < -1 or (size == -1 and len(argv) > 4):
        raise error("value is out of range, must be positive")
    if size > LARGEST_POPULATED:
        raise error("string exceeds maximum allowed size (proto-max-bulk-len)")
    if not node.is_leader:
        raise NOT_LEADING
    work = Populating(node, session, count, argv[3] if len(argv) > 3 else b"key", size)
    if count > work.unit and not (session.may_block and node.engine.context.may_block):
        raise error(f"DEBUG POPULATE of more than {work.unit} keys has to wait, which is not possible here")
    reply = work.go_on()
    if reply is PENDING:
        node.parking.park(Parked(session, work.go_on, 0, _ok, [], "populate"))
    return reply


def _set_active_expire(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    node.sweeping.is_on = argv[2] != b"0"
    return OK


def _sleep(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    seconds = parse_float(argv[2])
    if seconds is None:
        raise not_a_float()
    if not seconds < MAX_SLEEP_S:
        raise error("value is out of range")
    if seconds <= 0 or not node.engine.context.may_block:
        return OK
    deadline_ms = node.local_ms + max(1, int(seconds * 1000))
    row, started_us = session.row, node.clock_us()
    node.parking.park(
        Parked(session, _still_waiting, deadline_ms, lambda: _awake(node, session, row, argv, started_us), [], "sleep")
    )
    return PENDING


def _awake(node: "Node", session: Session, row: Row | None, argv: list[bytes], started_us: int) -> Reply:
    """The sleep counts as a long run, so that an alarm on slow commands can be tried."""
    node.note_duration(session, row, [argv], started_us)
    return OK


def _string_match(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    length = parse_integer(argv[2])
    if length is None or not 0 <= length <= MAX_MATCHED_BYTES:
        raise not_an_integer()
    return int(Glob(argv[3]).matches(b"a" * length))


def _struct_sizes(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    return b"bits:64 robj:0 dictentry:0 sdshdr5:0 sdshdr8:0 sdshdr16:0 sdshdr32:0 sdshdr64:0 "  # Python's objects have none


def _still_waiting(_: bytes) -> Reply:
    return PENDING


def _ok() -> Reply:
    return OK


_ANY: Final = 1 << 30
_SUBCOMMANDS: Final[dict[bytes, tuple[int, int, Callable[["Node", Session, list[bytes]], Reply]]]] = {
    # name: fewest and most words, and what it does
    b"CHANGE-REPL-ID": (2, 2, _nothing),
    b"DIGEST": (2, 2, _digest),
    b"DIGEST-VALUE": (2, _ANY, _digest_value),
    b"ERROR": (3, 3, _error),
    b"HELP": (2, 2, _help),
    b"HTSTATS": (3, 4, _hash_table_stats),
    b"HTSTATS-KEY": (3, 4, _hash_table_stats_of_key),
    b"LISTPACK": (3, 3, _listpack),
    b"LOADAOF": (2, 2, _reload),
    b"LOG": (3, 3, _log),
    b"OBJECT": (3, 3, _object),
    b"PAUSE-CRON": (3, 3, _nothing),
    b"POPULATE": (3, 5, _populate),
    b"PROTOCOL": (3, 3, _protocol),
    b"QUICKLIST-PACKED-THRESHOLD": (3, 3, _packed_threshold),
    b"RELOAD": (2, _ANY, _reload),
    b"REPLYBUFFER": (4, 4, _reply_buffer),
    b"SET-ACTIVE-EXPIRE": (3, 3, _set_active_expire),
    b"SLEEP": (3, 3, _sleep),
    b"STRUCTSIZE": (2, 2, _struct_sizes),
    b"STRINGMATCH-LEN": (4, 4, _string_match),
}


# -- MEMORY ---------------------------------------------------------------------------------------------------------


@command("MEMORY DOCTOR", arity=2)
def memory_doctor(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """What is remarkable about the memory of this node, in words."""
    used, resident = node.eviction.used_bytes(), node.resident_bytes()
    limit = node.parameters.integer("maxmemory")
    found: list[str] = []
    if limit and used > limit:
        found.append(
            f"- The data takes {human(used)}, more than maxmemory allows ({human(limit)}): see maxmemory-policy."
        )
    if node.log.backlog_bytes > max(used, QUIET_BYTES):
        found.append(f"- The backlog of the log ({human(node.log.backlog_bytes)}) takes more than the data.")
    if used > QUIET_BYTES and resident > 3 * used:
        found.append(f"- The process holds {human(resident)} for {human(used)} of data: it had more, or many clients.")
    return Verbatim(("\n".join(found) or "Nothing is remarkable about the memory of this node.").encode() + b"\n")


@command("MEMORY MALLOC-STATS", arity=2)
def memory_malloc_stats(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Figures of the allocator: Python's tells none."""
    return Verbatim(b"Stats not supported for the current allocator")


@command("MEMORY PURGE", arity=2)
def memory_purge(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Give free memory back to the system: Python's allocator does so by itself."""
    return OK


@command("MEMORY STATS", arity=2)
def memory_stats(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Where the memory of this node is, by Redis's names."""
    keyspace = node.engine.keyspace
    used, resident = node.eviction.used_bytes(), node.resident_bytes()
    highest = node.metrics.highest_used_bytes = max(used, node.metrics.highest_used_bytes)
    tables = tables_bytes(keyspace)
    n_keys = len(keyspace.values)
    ratio = resident / used if used else 1.0
    stats: dict[bytes, Reply] = {
        b"peak.allocated": highest,
        b"total.allocated": used,
        b"startup.allocated": 0,
        b"replication.backlog": node.log.backlog_bytes,
        b"clients.slaves": 0,
        b"clients.normal": 0,
        b"cluster.links": 0,
        b"aof.buffer": 0,
        b"lua.caches": 0,
        b"functions.caches": 0,
    }
    if n_keys:
        stats[b"db.0"] = {
            b"overhead.hashtable.main": tables,
            b"overhead.hashtable.expires": 0,
            b"overhead.hashtable.slot-to-keys": 0,
        }
    return {
        **stats,
        b"overhead.total": tables,
        b"keys.count": n_keys,
        b"keys.bytes-per-key": used // n_keys if n_keys else 0,
        b"dataset.bytes": used - tables,
        b"dataset.percentage": 100 * (used - tables) / used if used else 0.0,
        b"peak.percentage": 100 * used / highest if highest else 0.0,
        b"allocator.allocated": used,
        b"allocator.active": resident,
        b"allocator.resident": resident,
        b"allocator-fragmentation.ratio": 1.0,
        b"allocator-fragmentation.bytes": 0,
        b"allocator-rss.ratio": ratio,
        b"allocator-rss.bytes": resident - used,
        b"rss-overhead.ratio": 1.0,
        b"rss-overhead.bytes": 0,
        b"fragmentation": ratio,
        b"fragmentation.bytes": resident - used,
    }
