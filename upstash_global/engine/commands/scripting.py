"""Scripts: EVAL and its family.

A script is logged as what it did: each of its commands logs itself, and all of them are one entry, also when it fails
half-way (as Redis: what was written stays). A script that the table of scripts does not have goes before them as `_SCRIPT`,
so that EVALSHA finds it in every region.

A first line `#!lua flags=…` says what a script wants: `no-writes`; `allow-key-locking`, Upstash's own, with which it may
touch no key but those in KEYS; `allow-oom`, without which a script with such a line does not run while memory is short, unless
it is `no-writes` (without which it does not run while replicas are wanting either); and Redis's `allow-stale`, `no-cluster`, `allow-cross-slot-keys`, which change nothing here.
"""

from typing import Final

from upstash_global.engine.context import Context
from upstash_global.engine.lua import Interpreter, Run
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.scripts import sha_of
from upstash_global.engine.table import (
    INTERNAL,
    LEADER,
    LOADING,
    MOVABLEKEYS,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    READONLY,
    SKIP_MONITOR,
    STALE,
    VOLATILE,
    WRITE,
    Family,
    Keys,
)
from upstash_global.errors import CommandError, error, not_an_integer
from upstash_global.reply import OK, Reply, Simple

command = Family("scripting").command
internal = Family("internal").command

FLAGS: Final = frozenset(
    [b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys", b"allow-key-locking"]
)
HELP: Final = [
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache of every region.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
    "HELP",
    "    Prints this help.",
]
BEHIND_SCRIPT: Final = Keys(0, 0, 0, counted=2)
EVAL_FLAGS: Final = NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS | LEADER
EVAL_RO_FLAGS: Final = NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS | MOVABLEKEYS | READONLY | VOLATILE
WANTS_MEMORY: Final = CommandError(
    "OOM", "allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
)
NO_SCRIPT: Final = CommandError("NOSCRIPT", "No matching script. Please use EVAL.")


@command("EVAL", arity=-3, flags=EVAL_FLAGS, keys=BEHIND_SCRIPT)
def evaluate(ctx: Context, argv: list[bytes]) -> Reply:
    """Run a Lua script."""
    return _evaluate(ctx, argv, False)


@command("EVALSHA", arity=-3, flags=EVAL_FLAGS, keys=BEHIND_SCRIPT)
def evaluate_sha(ctx: Context, argv: list[bytes]) -> Reply:
    """Run a cached Lua script, named by its SHA-1."""
    return _evaluate_sha(ctx, argv, False)


@command("EVALSHA_RO", arity=-3, flags=EVAL_RO_FLAGS, keys=BEHIND_SCRIPT)
def evaluate_sha_read_only(ctx: Context, argv: list[bytes]) -> Reply:
    """Run a cached Lua script that may not write."""
    return _evaluate_sha(ctx, argv, True)


@command("EVAL_RO", arity=-3, flags=EVAL_RO_FLAGS, keys=BEHIND_SCRIPT)
def evaluate_read_only(ctx: Context, argv: list[bytes]) -> Reply:
    """Run a Lua script that may not write."""
    return _evaluate(ctx, argv, True)


@command("SCRIPT DEBUG", arity=3, flags=NOSCRIPT)
def debug(ctx: Context, argv: list[bytes]) -> Reply:
    """Refused but for NO: there is no debugger of scripts."""
    how = argv[2].upper()
    if how in (b"YES", b"SYNC"):
        raise error("there is no debugger of scripts here; SCRIPT DEBUG takes NO")
    if how != b"NO":
        raise error("Use SCRIPT DEBUG YES/SYNC/NO")
    return OK


@command("SCRIPT EXISTS", arity=-3, flags=NOSCRIPT)
def exists(ctx: Context, argv: list[bytes]) -> Reply:
    """Whether scripts are cached, as 1 or 0 each."""
    return [int(ctx.scripts.find(sha.lower()) is not None) for sha in argv[2:]]


@command("SCRIPT FLUSH", arity=-2, flags=NOSCRIPT | LEADER)
def flush(ctx: Context, argv: list[bytes]) -> Reply:
    """Forget all cached scripts, in every region."""
    if len(argv) > 3 or len(argv) == 3 and argv[2].upper() not in (b"SYNC", b"ASYNC"):
        raise error("SCRIPT FLUSH only support SYNC|ASYNC option")
    ctx.changed = ctx.scripts.flush()
    if ctx.interpreter is not None:
        ctx.interpreter.flush()
    return OK


@command("SCRIPT HELP", arity=2, flags=LOADING | STALE)
def help_(ctx: Context, argv: list[bytes]) -> Reply:
    """The subcommands."""
    return [Simple(line) for line in HELP]


@command("SCRIPT LOAD", arity=3, flags=NOSCRIPT | STALE | LEADER)
def load(ctx: Context, argv: list[bytes]) -> Reply:
    """Cache a script in every region; its SHA-1."""
    source = argv[2]
    sha = sha_of(source)
    if sha not in ctx.scripts.loaded:
        interpreter_of(ctx).check(sha, _parse(source)[0])
        ctx.changed = ctx.scripts.load(sha, source)
    return sha


@internal("_SCRIPT", arity=2, flags=WRITE | INTERNAL)
def cache(ctx: Context, argv: list[bytes]) -> Reply:
    """Cache a script that EVAL brought."""
    ctx.changed = ctx.scripts.evaluate(sha_of(argv[1]), argv[1])
    return OK


def _evaluate(ctx: Context, argv: list[bytes], is_read_only: bool) -> Reply:
    n_keys = _key_count(argv)
    source = argv[1]
    sha = sha_of(source)
    if ctx.scripts.find(sha) is None:
        interpreter_of(ctx).check(sha, _parse(source)[0])
    if is_read_only:
        ctx.scripts.note(sha, source)
    elif ctx.scripts.evaluate(sha, source):
        ctx.log_as(b"_SCRIPT", source)
    return _run(ctx, sha, source, argv, n_keys, is_read_only)


def _evaluate_sha(ctx: Context, argv: list[bytes], is_read_only: bool) -> Reply:
    n_keys = _key_count(argv)
    sha = argv[1].lower()
    source = ctx.scripts.find(sha)
    if source is None:
        raise NO_SCRIPT
    return _run(ctx, sha, source, argv, n_keys, is_read_only)


def _run(ctx: Context, sha: bytes, source: bytes, argv: list[bytes], n_keys: int, is_read_only: bool) -> Reply:
    body, flags = _parse(source)
    run = Run(ctx, body, argv[3 : 3 + n_keys], is_read_only or b"no-writes" in flags, b"allow-key-locking" in flags)
    if source.startswith(b"#!"):
        check_state(run, flags)
    return interpreter_of(ctx).run(sha, run, argv[3 + n_keys :])


def check_state(run: Run, flags: list[bytes]) -> None:
    """Whether a script that declares what it wants may run now. Raises CommandError."""
    run.ignores_oom = b"allow-oom" in flags
    if run.is_read_only:
        return
    if run.ctx.lacks_replicas is not None:
        raise run.ctx.lacks_replicas
    if run.ctx.oom is not None and not run.ignores_oom:
        raise WANTS_MEMORY


def unquoted(word: bytes) -> bytes:
    """`name="value"` of a shebang line without the quotes."""
    for quote in (b'"', b"'"):
        if word.count(quote) == 2 and word.endswith(quote):
            return word.replace(quote, b"")
    return word


def promises_no_writes(ctx: Context, argv: list[bytes]) -> bool:
    """Whether what a command of the scripting family is to run says by its flags that it does not write; what is refused does not."""
    name = argv[0].upper()
    if name == b"FCALL":
        found = ctx.functions.find(argv[1])
        return found is None or b"no-writes" in found[1].flags
    source = argv[1] if name == b"EVAL" else ctx.scripts.find(argv[1].lower())
    try:
        return source is None or b"no-writes" in _parse(source)[1]
    except CommandError:
        return True


def _key_count(argv: list[bytes]) -> int:
    n_keys = parse_integer(argv[2])
    if n_keys is None:
        raise not_an_integer()
    if n_keys > len(argv) - 3:
        raise error("Number of keys can't be greater than number of args")
    if n_keys < 0:
        raise error("Number of keys can't be negative")
    return n_keys


def _parse(source: bytes) -> tuple[bytes, list[bytes]]:
    """The script without its shebang line, whose place an empty line takes, and the flags of that line."""
    if not source.startswith(b"#!"):
        return source, []
    line, newline, rest = source.partition(b"\n")
    if not newline:
        raise error("Invalid script shebang")
    engine, *options = line.split(b" ")
    if engine != b"#!lua":
        raise error(f"Unexpected engine in script shebang: {engine.decode('utf-8', 'surrogateescape')}")
    flags: list[bytes] = []
    for option in [unquoted(option) for option in options if option]:
        name, _, value = option.partition(b"=")
        if name != b"flags":
            raise error(f"Unknown lua shebang option: {option.decode('utf-8', 'surrogateescape')}")
        for flag in value.split(b",") if value else []:
            if flag not in FLAGS:
                raise error(f"Unexpected flag in script shebang: {flag.decode('utf-8', 'surrogateescape')}")
            flags.append(flag)
    return newline + rest, flags


def interpreter_of(ctx: Context) -> Interpreter:
    if ctx.interpreter is None:
        ctx.interpreter = Interpreter()
    interpreter: Interpreter = ctx.interpreter
    return interpreter
