"""Lua: how a script meets the engine.

One Lua 5.1 state per engine runs `sandbox/*.lua`, which gives every run a read-only world. Python offers it a few
functions, and only bytes, numbers and booleans cross the border: short flat lists as several of them, what else has a shape
packed with MessagePack. The commands of a script run through the table on the same Context, so each write logs itself and all of
them are one unit.

Bounded are the instructions (a command counts as 500) and the memory.
"""

import re
from importlib.resources import files
from operator import and_, or_, xor
from typing import Any, Final

import lupa.lua51 as lupa
import msgpack

from upstash_global.engine.context import Context
from upstash_global.engine.engine import execute
from upstash_global.engine.functions import Function, Library
from upstash_global.engine.scripts import sha_of
from upstash_global.engine.table import DENYOOM, NOSCRIPT, READONLY, WRITE, Row, find_row, lookup
from upstash_global.errors import CommandError, error
from upstash_global.floats import format_double
from upstash_global.reply import (
    BigNumber,
    ByProtocol,
    Double,
    Items,
    Named,
    Pairs,
    Reply,
    Set,
    Simple,
    Special,
    Verbatim,
)

VERSION: Final = b"7.2.0"  # what redis.REDIS_VERSION says
VERSION_NUMBER: Final = 0x070200
MEMORY_BYTES: Final = 64 << 20
MARGIN_BYTES: Final = 8 << 20  # free before anything is handed over, for a failure there cannot be caught
MAX_INSTRUCTIONS: Final = 100_000_000  # of a script that cannot give way to others: a second or two
MAX_PAUSING_INSTRUCTIONS: Final = 20_000_000_000  # of one that can: some minutes, unless it is killed before

PLAIN: Final = 0
PACKED: Final = 1
FAILED: Final = 2
FLAT: Final = 3
MOST_FLAT: Final = 200  # items of a list that crosses the border as several values
MAX_FLAT_BYTES: Final = 16 << 10  # of each, so that there is room for all
MAX_SCRIPTS: Final = 1_000  # that are kept compiled

TAIL_CALL: Final = re.compile(rb"\breturn\s+[\w.]+\s*\(")

OUT_OF_MEMORY: Final = b"ERR not enough memory"
BARE: Final = b"@"  # a place that is not told
KILLED: Final = b"ERR Script killed by user with SCRIPT KILL..."  # a function, too


class Run:
    """What one run of a script or a function may do."""

    def __init__(self, ctx: Context, source: bytes, keys: list[bytes], is_read_only: bool, locks_keys: bool) -> None:
        self.ctx = ctx
        self.source = source
        self.keys = keys
        self.is_read_only = is_read_only  # writes are refused
        self.locks_keys = locks_keys  # keys other than `keys` are refused
        self.function = b""  # the name of the function that runs; a script has none
        self.ignores_oom = False  # it may run what takes memory although there is none
        self.has_written = False
        self.failure = b""  # what the last command that failed was answered, and the statistics know


class Interpreter:
    def __init__(self) -> None:
        self.max_instructions = MAX_INSTRUCTIONS
        self.running: Run | None = None
        self.is_closing = False  # whatever runs or begins to has to end at once
        self._is_killed = False  # the running script has to end
        self._bug: Exception | None = None  # of ours, kept while Lua unwinds
        self._lines: dict[
            bytes, dict[bytes, tuple[int, int]]
        ] = {}  # of functions, first and last, by the SHA-1 of loaded code
        self._compiled: set[bytes] = set()  # the scripts that Lua has, by their SHA-1
        self._start()

    def _start(self) -> None:
        self._lua = lupa.LuaRuntime(
            encoding=None,
            source_encoding="utf-8",
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            max_memory=MEMORY_BYTES,
        )
        library, codec = self._load("cmsgpack")
        host = self._lua.table_from(
            {
                b"call": self._call,
                b"call_long": self._call_long,
                b"pause": self._pause,
                b"may_call": self._may_call,
                b"chance": self._chance,
                b"sha1hex": sha_of,
                b"band": and_,
                b"bor": or_,
                b"bxor": xor,
                b"version": VERSION,
                b"version_number": VERSION_NUMBER,
            }
        )
        self._lines.clear()
        self._compiled.clear()
        (
            self._compile,
            self._execute,
            self._flush,
            self._load_library,
            self._call_function,
            self._forget_library,
        ) = self._load("sandbox", host, self._load("cjson", codec), library, codec, self._load("struct", codec))

    @property
    def used_bytes(self) -> int:
        """What Lua has taken of its share of memory."""
        return int(self._lua.get_memory_used())

    def _load(self, name: str, *arguments: Any) -> Any:
        source = files("upstash_global.engine").joinpath("sandbox", f"{name}.lua").read_bytes()
        chunk_name = b"@sandbox" if name == "sandbox" else b"@library"
        return self._lua.globals()[b"loadstring"](source, chunk_name)(*arguments)

    def check(self, sha: bytes, source: bytes) -> None:
        """Compile a script, without its shebang line, if Lua does not have it. Raises CommandError."""
        if sha in self._compiled:
            return
        self._make_room(len(source) * 8)
        if len(self._compiled) >= MAX_SCRIPTS:
            self.flush()
        problem = self._compile(sha, source)
        if problem is not None:
            text = problem.decode("utf-8", "surrogateescape")
            raise error(f"Error compiling script (new function): {text}")
        self._compiled.add(sha)

    def run(self, sha: bytes, run: Run, arguments: list[bytes]) -> Reply:
        """Run a script and convert what it returned; raises CommandError when it failed."""
        self.check(sha, run.source)
        outcome = self._run_lua(self._execute, run, sha, None, self._words(run.keys, arguments))
        return _result(outcome, sha, b"@user_script", run)

    def load_library(self, sha: bytes, source: bytes, ctx: Context) -> list[Function]:
        """Load a library of functions, without its shebang line, and say what it registered. Raises CommandError."""
        self._make_room(len(source) * 8)
        outcome = self._run_lua(self._load_library, Run(ctx, source, [], True, False), sha, None, [source])
        if outcome[0] is not True:
            raise error(_line(outcome[1]))
        registered = msgpack.unpackb(outcome[2], raw=True)
        self._lines[sha] = {each[0]: (int(each[3]), int(each[4])) for each in registered}
        return [Function(name, description or None, flags) for name, description, flags, _, _ in registered]

    def keep_libraries(self, shas: set[bytes]) -> None:
        """Forget the libraries that were loaded, all but these."""
        for sha in [sha for sha in self._lines if sha not in shas]:
            del self._lines[sha]
            self._forget_library(sha)

    def call(self, library: Library, function: Function, run: Run, arguments: list[bytes]) -> Reply:
        """Call a function of a library, loading that if need be; raises CommandError when it failed."""
        if library.sha not in self._lines:
            self.load_library(library.sha, run.source, run.ctx)
        run.function = function.name
        words = self._words(run.keys, arguments)
        outcome = self._run_lua(self._call_function, run, library.sha, function.name, words)
        first, last = self._lines.get(library.sha, {}).get(function.name, (1, 0))
        return _result(outcome, function.name, b"@user_function", run, first, last)

    def _words(self, keys: list[bytes], arguments: list[bytes]) -> list[Any]:
        """KEYS and ARGV as the sandbox takes them: how many there are and themselves, or all packed."""
        n_bytes = 0
        for word in keys:
            n_bytes += len(word)
        for word in arguments:
            n_bytes += len(word)
        n = len(keys) + len(arguments)
        self._make_room(2 * n_bytes + 64 * n)
        if n <= MOST_FLAT:
            return [len(keys), n, *keys, *arguments]
        return [msgpack.packb([keys, arguments], use_bin_type=False)]

    def _run_lua(self, entry: Any, run: Run, sha: bytes, function: bytes | None, words: list[Any]) -> tuple[Any, ...]:
        """Call into the sandbox: (True, RESP version, kind, result …) or (False, error, place)."""
        may_block = run.ctx.may_block
        run.ctx.may_block = False
        self.running = run
        run.ctx.read_in_script = []
        self._is_killed = False
        limit = self.max_instructions if run.ctx.pause is None else MAX_PAUSING_INSTRUCTIONS
        try:
            outcome: tuple[Any, ...]
            if function is None:
                outcome = entry(sha, limit, *words)
            else:
                outcome = entry(sha, function, limit, *words)
        except lupa.LuaMemoryError:
            self._start()
            outcome = (False, OUT_OF_MEMORY, None)
        finally:
            self.running = None
            run.ctx.may_block = may_block
            run.ctx.changed = False
        if self._bug is not None:
            bug, self._bug = self._bug, None
            raise bug
        return outcome

    def flush(self) -> None:
        """Forget the compiled scripts."""
        self._compiled.clear()
        self._flush()

    def kill(self) -> None:
        """End the running script, which has paused, when it goes on."""
        self._is_killed = True

    def _pause(self) -> bytes | None:
        """Called by the sandbox every 10,000 instructions, to let others have a turn: how the script has to end, or None."""
        run = self.running
        assert run is not None
        if not self.is_closing and not self._is_killed and run.ctx.pause is not None and not run.ctx.pause():
            self.is_closing = True  # the node is being thrown away
        if self.is_closing:
            return b"ERR Script killed because this node changes its role or stops."
        return KILLED if self._is_killed else None

    def _chance(self) -> int:
        """Where a script's random numbers begin. They stay here: the log carries what the script did with them."""
        assert self.running is not None
        return self.running.ctx.random.getrandbits(32)

    def _make_room(self, n_bytes: int) -> None:
        """See to it that so much can be handed to Lua. Raises CommandError."""
        if not self._has_room(n_bytes):
            raise _error_of(OUT_OF_MEMORY)

    def _has_room(self, n_bytes: int) -> bool:
        limit = MEMORY_BYTES - MARGIN_BYTES - n_bytes
        if self._lua.get_memory_used() <= limit:
            return True
        self._lua.globals()[b"collectgarbage"]()
        return bool(self._lua.get_memory_used() <= limit)

    def _call(self, resp: int, *argv: bytes) -> tuple[Any, ...]:
        """What redis.call and redis.pcall are: (kind, value)."""
        run = self.running
        assert run is not None
        try:
            try:
                reply = _run_command(run, list(argv))
            except CommandError as refusal:
                reply = refusal
            if type(reply) is CommandError:
                run.ctx.tell_failure(reply)
                run.failure = reply.text.encode("utf-8", "surrogateescape")
                return FAILED, run.failure
            if type(reply) is bytes and len(reply) < MARGIN_BYTES // 2 or type(reply) is int:
                return PLAIN, reply
            if reply is None:
                return PLAIN, None if resp == 3 else False
            if type(reply) is list and 0 < len(reply) <= MOST_FLAT and _is_flat(reply):
                return FLAT, *reply
            packed: bytes = msgpack.packb(_plain(reply, resp), use_bin_type=False)
            if not self._has_room(4 * len(packed)):
                return FAILED, OUT_OF_MEMORY
            return PACKED, packed
        except Exception as bug:
            self._bug = bug
            return FAILED, b"ERR internal error"

    def _call_long(self, resp: int, words: Any) -> tuple[Any, ...]:
        """The same for a command of very many arguments: they come as a table."""
        return self._call(resp, *[words[at] for at in range(1, len(words) + 1)])

    def _may_call(self, *argv: bytes) -> tuple[bool, bool]:
        """What redis.acl_check_cmd asks: (is a command, the caller may run it)."""
        assert self.running is not None
        row = find_row(list(argv))
        if row is None:
            return False, False
        caller = self.running.ctx.caller
        user = None if caller is None else caller.user
        return True, user is None or user.denial(row, list(argv)) is None


def _run_command(run: Run, argv: list[bytes]) -> Reply:
    try:
        row = lookup(argv)
    except CommandError as refusal:
        known = find_row(argv)
        if known is not None:
            known.rejected_calls += 1
        if refusal.message.startswith("wrong number"):
            raise error("Wrong number of args calling Redis command from script") from None
        raise error("Unknown Redis command called from script") from None
    refused = _refusal(run, row, argv)
    if refused is not None:
        row.rejected_calls += 1
        return refused
    row.calls += 1
    if row.needs_leader:
        run.has_written = True
    if row.flags & READONLY and run.ctx.caller is not None and run.ctx.caller.is_tracking:
        run.ctx.note_script_read(row.keys.find(argv))
    if run.ctx.overhear is not None:
        run.ctx.overhear(argv)
    note_duration = run.ctx.note_duration
    started_us = 0 if note_duration is None else note_duration(None, argv, 0)
    if row.handler is not None:
        reply = execute(run.ctx, row, argv)
    else:
        assert run.ctx.serve is not None
        try:
            reply = run.ctx.serve(row, argv)
        except CommandError as failure:
            reply = failure
    if note_duration is not None:
        note_duration(row, argv, started_us)
    if type(reply) is CommandError:
        row.failed_calls += 1
    return reply


def _refusal(run: Run, row: Row, argv: list[bytes]) -> CommandError | None:
    """Why a script may not call this command now, or None."""
    ctx = run.ctx
    if row.flags & NOSCRIPT or (row.handler is None and ctx.serve is None):
        return error("This Redis command is not allowed from script")
    caller = ctx.caller
    if caller is not None and caller.user is not None and caller.user.is_restricted:
        denial = caller.user.denial(row, argv)
        if denial is not None:
            ctx.denied(caller, denial)
            return error(f"ACL failure in script: {denial.text(caller.user.name)}")
    if run.is_read_only and row.needs_leader:
        return error("Write commands are not allowed from read-only scripts.")
    if ctx.oom is not None and row.flags & DENYOOM and not run.ignores_oom:
        return ctx.oom
    if ctx.lacks_replicas is not None and row.flags & WRITE and not run.has_written:
        return ctx.lacks_replicas
    if run.locks_keys:
        for key in row.keys.find(argv):
            if key not in run.keys:
                shown = key.decode("utf-8", "surrogateescape")
                return error(
                    "Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set. "
                    f"Key was: {shown}"
                )
    return None


def _result(
    outcome: tuple[Any, ...], name: bytes, chunk: bytes, run: Run, first: int = 1, last: int = 1 << 30
) -> Reply:
    """The reply of a script, or of a function that stands in lines `first` to `last`; raises CommandError if it failed."""
    if outcome[0] is True:
        resp, kind = outcome[1], outcome[2]
        if kind == FLAT:
            return [_plain_reply(item, resp) for item in outcome[3:]]
        if kind == PLAIN:
            return _plain_reply(outcome[3], resp)
        reply = _reply_of(msgpack.unpackb(outcome[3], raw=True, strict_map_key=False), resp)
        if type(reply) is CommandError:
            reply.is_counted = reply.text.encode("utf-8", "surrogateescape") == run.failure
        return reply
    _, text, place = outcome
    if place == BARE:
        raise _error_of(text)
    if place is None:
        line = _tail_call(run.source, first, last)
        place = b"%s:%d" % (chunk, line) if line else chunk
        text = text.replace(b"\1", b"%s: " % place[1:] if line else b"", 1)  # see `fail` of the libraries
    failure = _error_of(text.replace(b"\r", b" ").replace(b"\n", b" ") + b" script: %s, on %s." % (name, place))
    failure.is_counted = text == run.failure
    raise failure


def _tail_call(source: bytes, first: int, last: int) -> int:
    """Where something failed whose frame a tail call has taken: its line if only one has such a call, else 0."""
    lines = source.split(b"\n")[first - 1 : last]
    found = [number for number, line in enumerate(lines, first) if TAIL_CALL.search(line)]
    return found[0] if len(found) == 1 else 0


def _no_attributes(target: object, name: object, is_setting: bool) -> object:
    raise AttributeError("scripts see no Python")


def _plain(reply: Reply, resp: int) -> Any:
    """A reply as the sandbox reads it: bytes, numbers, booleans, lists, and maps of one marked key."""
    if isinstance(reply, (bytes, str)) or type(reply) is int:
        return reply
    if reply is None or isinstance(reply, Special):
        return None if resp == 3 else False
    if isinstance(reply, bool):
        return reply if resp == 3 else int(reply)
    if isinstance(reply, float):
        return {"double": reply} if resp == 3 else format_double(reply)
    if isinstance(reply, Double):
        return {"double": float(reply.text)} if resp == 3 else reply.text
    if isinstance(reply, Simple):
        return {"ok": reply.text.encode("utf-8", "surrogateescape")}
    if isinstance(reply, CommandError):
        return {"err": reply.text.encode("utf-8", "surrogateescape")}
    if isinstance(reply, (list, tuple)):
        return [_plain(item, resp) for item in reply]
    if isinstance(reply, Pairs):
        if resp == 3:
            return [[_plain(name, resp), _plain(value, resp)] for name, value in reply.items]
        return [_plain(item, resp) for pair in reply.items for item in pair]
    if isinstance(reply, ByProtocol):
        return _plain(reply.resp3 if resp == 3 else reply.resp2, resp)
    if isinstance(reply, Set) and resp == 3:
        return {"set": {_member(_plain(item, resp)): True for item in reply.items}}
    if isinstance(reply, Named) and resp == 3:
        return {"map": {name: _plain(value, resp) for name, value in reply.items}}
    if isinstance(reply, Items):
        return [_plain(item, resp) for item in reply.items]
    if isinstance(reply, dict):
        if resp == 3:
            return {"map": {_member(_plain(name, resp)): _plain(value, resp) for name, value in reply.items()}}
        return [_plain(item, resp) for pair in reply.items() for item in pair]
    if isinstance(reply, Verbatim):
        if resp == 3:
            return {"verbatim_string": {"format": reply.format, "string": reply.text}}
        return reply.text
    return bytes(reply)


class _Member(dict[str, Any]):
    """A marked value as the key of a map: like a table in Lua, it equals only itself."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _member(plain: Any) -> Any:
    """What `_plain` gave, as the key of a map."""
    if isinstance(plain, list):
        return tuple([_member(item) for item in plain])
    return _Member(plain) if isinstance(plain, dict) else plain


def _is_flat(items: list[Any]) -> bool:
    """Whether a list has nothing but texts that are not long, and integers."""
    for item in items:
        if type(item) is bytes:
            if len(item) > MAX_FLAT_BYTES:
                return False
        elif type(item) is not int:
            return False
    return True


def _plain_reply(value: Any, resp: int) -> Reply:
    """A text, number or boolean that a script returned, or nil, as a reply."""
    if isinstance(value, float):
        return _integer(value)
    if isinstance(value, bool):
        return value if resp == 3 else 1 if value else None
    reply: Reply = value
    return reply


def _reply_of(value: Any, resp: int) -> Reply:
    """What a script returned, as a reply."""
    if isinstance(value, list):
        return [_reply_of(item, resp) for item in value]
    if not isinstance(value, dict):
        return _plain_reply(value, resp)
    ((mark, content),) = value.items()
    if mark == b"err":
        return _error_of(content.rstrip(b"\r\n"))
    if mark == b"ok":
        return Simple(_line(content))
    if mark == b"set":
        return Set([_reply_of(item, resp) for item in content])
    if mark == b"map":
        items = [_reply_of(item, resp) for item in content]
        return {_hashable(items[i]): items[i + 1] for i in range(0, len(items), 2)}
    if mark == b"verbatim_string":
        form, text = content
        return Verbatim(text, form.decode("latin-1")[:3])
    if mark == b"big_number":
        return BigNumber(content)
    return content  # double


def _integer(value: float) -> int:
    """Cut toward zero, as C does on x86: what does not fit is the lowest integer."""
    if -(2.0**63) <= value < 2.0**63:
        return int(value)
    return -(2**63)


def _hashable(name: Reply) -> Any:
    return tuple(name) if isinstance(name, list) else name


def _line(text: bytes) -> str:
    return text.replace(b"\r", b" ").replace(b"\n", b" ").decode("utf-8", "surrogateescape")


def _error_of(text: bytes) -> CommandError:
    code, _, message = _line(text).partition(" ")
    return CommandError(code, message)
