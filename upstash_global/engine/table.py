"""The command table: one row per command, and what can be derived from a row.

A row says what Redis's COMMAND INFO says (name, arity, flags, key positions, ACL categories) and which function gives
it meaning. Routing, key extraction, the documentation and the ACL categories all read the same row.

Two kinds of functions: a data command gets a Context and changes nothing but the keyspace; a session command gets the
node and the session that speaks. Both are declared with the same decorator form:

    command = Family("list").command

    @command("LPUSH", arity=-3, flags=WRITE | DENYOOM | FAST, keys=FIRST)
    def lpush(ctx: Context, argv: list[bytes]) -> Reply: ...

Source of names and meanings: Redis 7.2, `COMMAND INFO`.
"""

from collections.abc import Callable
from typing import Any, Final

from upstash_global.engine.context import Context
from upstash_global.errors import CommandError, shown, wrong_arity
from upstash_global.reply import Reply

Argv = list[bytes]
Handler = Callable[[Context, list[bytes]], Reply]
SessionHandler = Callable[[Any, Any, list[bytes]], Reply]  # (node, session, argv)

WRITE: Final = 1 << 0
READONLY: Final = 1 << 1
DENYOOM: Final = 1 << 2
ADMIN: Final = 1 << 3
PUBSUB: Final = 1 << 4
NOSCRIPT: Final = 1 << 5
BLOCKING: Final = 1 << 6
LOADING: Final = 1 << 7
STALE: Final = 1 << 8
SKIP_MONITOR: Final = 1 << 9
SKIP_SLOWLOG: Final = 1 << 10
ASKING: Final = 1 << 11
FAST: Final = 1 << 12
NO_AUTH: Final = 1 << 13
MAY_REPLICATE: Final = 1 << 14
MOVABLEKEYS: Final = 1 << 15
NO_MULTI: Final = 1 << 16
NO_ASYNC_LOADING: Final = 1 << 17
ALLOW_BUSY: Final = 1 << 18
NO_MANDATORY_KEYS: Final = 1 << 19

# Ours, not shown by COMMAND INFO.
INTERNAL: Final = 1 << 32  # only in the log, never from a client
LEADER: Final = 1 << 33  # runs at the leader although it may change nothing (WAIT, scripts)
VOLATILE: Final = (
    1 << 34
)  # depends on more than its keys (chance, the time, keys found out while it runs): not to be cached
DANGEROUS: Final = 1 << 35  # in the category @dangerous beside what ADMIN implies (KEYS, FLUSHALL, SORT…)
LASTING: Final = 1 << 36  # may take longer than a Forward is given, as BLOCKING does (MIGRATE)

FLAG_NAMES: Final[list[tuple[int, str]]] = [
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (MAY_REPLICATE, "may_replicate"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (MOVABLEKEYS, "movablekeys"),
    (NO_MULTI, "no_multi"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (ALLOW_BUSY, "allow_busy"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
]


class Keys:
    """Where a command's keys stand in its argv.

    `first`, `last`, `step` are COMMAND INFO's (0 = no key; a negative last counts from the end). `counted` is the
    position of a `numkeys` argument whose keys follow it. `finder` answers for what neither can say (SORT … STORE).
    """

    def __init__(
        self,
        first: int = 0,
        last: int = 0,
        step: int = 0,
        counted: int = 0,
        finder: Callable[[list[bytes]], list[bytes]] | None = None,
    ) -> None:
        self.first = first
        self.last = last
        self.step = step
        self.counted = counted
        self.finder = finder

    def find(self, argv: list[bytes]) -> list[bytes]:
        """The keys of `argv`, in its order; [] when there are none or the argv is malformed."""
        if self.finder is not None:
            return self.finder(argv)
        keys: list[bytes] = []
        n = len(argv)
        if self.first and self.first < n:
            if self.first == self.last:
                keys.append(argv[self.first])
            else:
                last = self.last if self.last >= 0 else n + self.last
                keys.extend(argv[self.first : min(last, n - 1) + 1 : self.step])
        if self.counted and self.counted < n and argv[self.counted].isdigit():
            count = int(argv[self.counted])
            if count < n - self.counted:
                keys.extend(argv[self.counted + 1 : self.counted + 1 + count])
        return keys


NO_KEYS: Final = Keys()
FIRST: Final = Keys(1, 1, 1)
FIRST_TWO: Final = Keys(1, 2, 1)
ALL: Final = Keys(1, -1, 1)
PAIRS: Final = Keys(1, -1, 2)


def COUNTED(at: int) -> Keys:
    """`numkeys` at position `at`, the keys behind it."""
    return Keys(0, 0, 0, counted=at)


class Row:
    """One command. `handler` is set for data commands, `session_handler` for those about a session or the cluster."""

    def __init__(self, name: str, arity: int, flags: int, keys: Keys, group: str, summary: str) -> None:
        self.name = name  # upper case; a subcommand as "CLIENT KILL"
        self.arity = arity
        self.flags = flags
        self.keys = keys
        self.group = group
        self.summary = summary  # "" if it is the first line of the handler's docstring: see `facts.summary_of`
        self.handler: Handler | None = None
        self.session_handler: SessionHandler | None = None
        self.subcommands: dict[bytes, Row] = {}
        self.is_write = bool(flags & WRITE)
        self.needs_leader = bool(flags & (WRITE | LEADER | MAY_REPLICATE))
        self.calls = 0
        self.failed_calls = 0
        self.rejected_calls = 0
        self.microseconds = 0
        self.histogram: list[int] = []  # of calls by duration, see node/latency.py; [] before the first

    def arity_fits(self, n: int) -> bool:
        return n == self.arity if self.arity > 0 else n >= -self.arity

    @property
    def display_name(self) -> str:
        """As Redis's errors and COMMAND INFO write it: lower case, `client|kill`."""
        return self.name.lower().replace(" ", "|")

    def categories(self) -> list[str]:
        """ACL categories without the @, as Redis derives them from flags and group; a mere container has none."""
        if self.subcommands and self.handler is None and self.session_handler is None:
            return ["slow"]
        named: list[str] = []
        if self.flags & WRITE:
            named.append("write")
        if self.flags & READONLY and self.group != "scripting":
            named.append("read")
        command = self.name.partition(" ")[0]
        named.extend(_CATEGORIES_OF_COMMAND.get(command, _CATEGORIES_OF_GROUP.get(self.group, [])))
        if self.flags & ADMIN:
            named.append("admin")
        if self.flags & (ADMIN | DANGEROUS):
            named.append("dangerous")
        if self.flags & PUBSUB:
            named.append("pubsub")
        named.append("fast" if self.flags & FAST else "slow")
        if self.flags & BLOCKING:
            named.append("blocking")
        return sorted(named, key=CATEGORIES.index)


CATEGORIES: Final = [  # in the order in which Redis lists them
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "json",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
]
_CATEGORIES_OF_GROUP: Final[dict[str, list[str]]] = {
    "generic": ["keyspace"],
    "string": ["string"],
    "bitmap": ["bitmap"],
    "hash": ["hash"],
    "list": ["list"],
    "set": ["set"],
    "sorted-set": ["sortedset"],
    "stream": ["stream"],
    "geo": ["geo"],
    "hyperloglog": ["hyperloglog"],
    "json": ["json"],
    "connection": ["connection"],
    "transactions": ["transaction"],
    "scripting": ["scripting"],
}

_CATEGORIES_OF_COMMAND: Final[dict[str, list[str]]] = {  # where Redis does not follow the group
    "ASKING": ["connection"],
    "COMMAND": ["connection"],
    "DBSIZE": ["keyspace"],
    "FLUSHALL": ["keyspace"],
    "FLUSHDB": ["keyspace"],
    "LASTSAVE": ["admin"],
    "READONLY": ["connection"],
    "READWRITE": ["connection"],
    "RESTORE-ASKING": ["keyspace"],
    "ROLE": ["admin"],
    "SORT": ["set", "sortedset", "list"],
    "SORT_RO": ["set", "sortedset", "list"],
    "SWAPDB": ["keyspace"],
    "WAIT": ["connection"],
    "WAITAOF": ["connection"],
}


class _Last:
    """What was looked up last."""

    def __init__(self) -> None:
        self.name = b""
        self.row: Row | None = None


_last: Final = _Last()
TABLE: Final[dict[bytes, Row]] = {}  # every top-level command, by its upper-case name; the engine adds spellings it met


class Family:
    """A group of commands as Redis's documentation has it; its `command` declares one row."""

    def __init__(self, group: str) -> None:
        self.group = group

    def command(self, name: str, *, arity: int, flags: int = 0, keys: Keys = NO_KEYS) -> Callable[[Any], Any]:
        """Declare a data command: the decorated function is (Context, argv) → Reply."""
        return _Declaration(self.group, name, arity, flags, keys, False, "")

    def session_command(
        self, name: str, *, arity: int, flags: int = 0, keys: Keys = NO_KEYS, summary: str = ""
    ) -> Callable[[Any], Any]:
        """Declare a command about a session, the node or the cluster: (node, session, argv) → Reply.

        `summary` is for what is declared in a loop; of a decorated function it is the first line of its docstring.
        """
        return _Declaration(self.group, name, arity, flags, keys, True, summary)


class _Declaration:
    def __init__(
        self, group: str, name: str, arity: int, flags: int, keys: Keys, of_session: bool, summary: str
    ) -> None:
        self.group = group
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
        self.of_session = of_session
        self.summary = summary

    def __call__(self, function: Any) -> Any:
        row = Row(self.name, self.arity, self.flags, self.keys, self.group, self.summary)
        if self.of_session:
            row.session_handler = function
        else:
            row.handler = function
        _add(row)
        return function


def _add(row: Row) -> None:
    parent, _, child = row.name.partition(" ")
    if not child:
        known = TABLE.get(parent.encode())
        if known is not None:
            row.subcommands = known.subcommands
        TABLE[parent.encode()] = row
        return
    container = TABLE.get(parent.encode())
    if container is None:
        container = Row(parent, -2, 0, NO_KEYS, row.group, f"Container of {parent} commands")
        TABLE[parent.encode()] = container
    container.subcommands[child.encode()] = row


def find_row(argv: list[bytes]) -> Row | None:
    """The row of a command and its subcommand, whatever the number of arguments; None for an unknown one."""
    row = TABLE.get(argv[0].upper())
    if row is None or row.flags & INTERNAL:
        return None
    if row.subcommands and len(argv) > 1:
        return row.subcommands.get(argv[1].upper())
    return row


def lookup(argv: list[bytes]) -> Row:
    """The row of a command and its subcommand; arity is checked too.

    Raises CommandError with Redis's text for an unknown command or subcommand and for a wrong number of arguments.
    """
    name = argv[0]
    last = _last
    row = last.row
    if row is None or name is not last.name:  # the very object: a connection repeats the name of its last command
        found = TABLE.get(name)
        if found is None:
            found = TABLE.get(name.upper())
        if found is None or found.flags & INTERNAL:
            raise unknown_command(argv)
        row = last.row = found
        last.name = name
    if row.subcommands:
        row = _subcommand(row, argv)
    n = len(argv)
    if n != row.arity if row.arity > 0 else n < -row.arity:
        raise wrong_arity(row.display_name)
    return row


def _subcommand(container: Row, argv: list[bytes]) -> Row:
    if len(argv) < 2:
        if container.handler is not None or container.session_handler is not None:
            return container
        raise wrong_arity(container.display_name)
    row = container.subcommands.get(argv[1].upper())
    if row is not None:
        return row
    raise CommandError("ERR", f"unknown subcommand '{shown(argv[1][:128])}'. Try {container.name} HELP.")


def unknown_command(argv: list[bytes]) -> CommandError:
    arguments = b""
    for argument in argv[1:]:
        if len(arguments) >= 128:
            break
        arguments += b"'" + argument[: 128 - len(arguments)].partition(b"\0")[0] + b"' "
    told = arguments.decode("utf-8", "surrogateescape")
    return CommandError("ERR", f"unknown command '{shown(argv[0][:128])}', with args beginning with: {told}")


def wrong_subcommand(argv: list[bytes]) -> CommandError:
    """What the handler of a subcommand answers to a number of arguments that the table lets through."""
    container = argv[0].decode("latin-1").upper()
    return CommandError(
        "ERR", f"unknown subcommand or wrong number of arguments for '{shown(argv[1][:128])}'. Try {container} HELP."
    )


def all_rows() -> list[Row]:
    """Every row, containers before their subcommands, by name; internal rows too."""
    rows: list[Row] = []
    for name in sorted(name for name in TABLE if name == name.upper()):
        row = TABLE[name]
        rows.append(row)
        rows.extend(row.subcommands[child] for child in sorted(row.subcommands))
    return rows
