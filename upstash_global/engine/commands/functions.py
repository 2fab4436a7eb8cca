"""Functions: FUNCTION and FCALL.

A library is logged as it came, and loaded on every node; a call is logged as what it did, like a script. A function that is
called by FCALL_RO may read whatever its flags say, but not write (Upstash; Redis refuses one without `no-writes`).
"""

from typing import Final

from upstash_global.engine.commands.scripting import (
    BEHIND_SCRIPT,
    EVAL_FLAGS,
    EVAL_RO_FLAGS,
    check_state,
    interpreter_of,
    unquoted,
)
from upstash_global.engine.context import Context
from upstash_global.engine.functions import Functions, Library
from upstash_global.engine.lua import Run
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.rdb import format as form
from upstash_global.engine.rdb.writer import write_string
from upstash_global.engine.scripts import sha_of
from upstash_global.engine.table import DENYOOM, LOADING, NOSCRIPT, STALE, WRITE, Family, wrong_subcommand
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import DumpError, error, shown
from upstash_global.reply import OK, Reply, Set, Simple

command = Family("scripting").command

MAX_PAYLOAD_BYTES: Final = 64 << 20  # of libraries, expanded
_PRE_GA: Final = 246  # how release candidates of Redis 7.0 wrote a library

_HELP: Final = """\
FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
LOAD [REPLACE] <FUNCTION CODE>
    Create a new library with the given library name and code.
DELETE <LIBRARY NAME>
    Delete the given library.
LIST [LIBRARYNAME PATTERN] [WITHCODE]
    Return general information on all the libraries:
    * Library name
    * The engine used to run the Library
    * Library description
    * Functions list
    * Library code (if WITHCODE is given)
    It also possible to get only function that matches a pattern using LIBRARYNAME argument.
STATS
    Return information about the current function running:
    * Function name
    * Command used to run the function
    * Duration in MS that the function is running
    If no function is running, return nil
    In addition, returns a list of available engines.
KILL
    Kill the current running function.
FLUSH [ASYNC|SYNC]
    Delete all the libraries.
    When called without the optional mode argument, the behavior is determined by the
    lazyfree-lazy-user-flush configuration directive. Valid modes are:
    * ASYNC: Asynchronously flush the libraries.
    * SYNC: Synchronously flush the libraries.
DUMP
    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command
RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]
    Restore the libraries represented by the given payload, it is possible to give a restore policy to
    control how to handle existing libraries (default APPEND):
    * FLUSH: delete all existing libraries.
    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.
    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old
      libraries with the new libraries (notice that even on this option there is a chance of failure
      in case of functions name collision with another library).
HELP
    Prints this help."""


# -- calls ----------------------------------------------------------------------------------------------------------


@command("FCALL", arity=-3, flags=EVAL_FLAGS, keys=BEHIND_SCRIPT)
def fcall(ctx: Context, argv: list[bytes]) -> Reply:
    """Call a function."""
    return _call(ctx, argv, False)


@command("FCALL_RO", arity=-3, flags=EVAL_RO_FLAGS, keys=BEHIND_SCRIPT)
def fcall_read_only(ctx: Context, argv: list[bytes]) -> Reply:
    """Call a function that may not write."""
    return _call(ctx, argv, True)


def _call(ctx: Context, argv: list[bytes], is_read_only: bool) -> Reply:
    found = ctx.functions.find(argv[1])
    if found is None:
        raise error("Function not found")
    n_keys = parse_integer(argv[2])
    if n_keys is None:
        raise error("Bad number of keys provided")
    if n_keys > len(argv) - 3:
        raise error("Number of keys can't be greater than number of args")
    if n_keys < 0:
        raise error("Number of keys can't be negative")
    library, function = found
    flags = function.flags
    run = Run(
        ctx,
        _body(library.code),
        argv[3 : 3 + n_keys],
        is_read_only or b"no-writes" in flags,
        b"allow-key-locking" in flags,
    )
    check_state(run, flags)
    return interpreter_of(ctx).call(library, function, run, argv[3 + n_keys :])


# -- libraries ------------------------------------------------------------------------------------------------------


@command("FUNCTION DELETE", arity=3, flags=WRITE | NOSCRIPT)
def delete(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove a library in every region."""
    if not ctx.functions.remove(argv[2]):
        raise error("Library not found")
    _forget_others(ctx)
    ctx.changed = True
    return OK


@command("FUNCTION DUMP", arity=2, flags=NOSCRIPT)
def dump(ctx: Context, argv: list[bytes]) -> Reply:
    """Get all libraries as a payload for FUNCTION RESTORE, here or in Redis."""
    out = bytearray()
    for library in ctx.functions.libraries.values():
        out.append(form.FUNCTION)
        write_string(out, library.code)
    return form.seal(out, form.VERSION)


@command("FUNCTION FLUSH", arity=-2, flags=WRITE | NOSCRIPT)
def flush(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove all libraries in every region."""
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 3 and argv[2].upper() not in (b"SYNC", b"ASYNC"):
        raise error("FUNCTION FLUSH only supports SYNC|ASYNC option")
    ctx.changed = ctx.functions.flush()
    _forget_others(ctx)
    return OK


@command("FUNCTION HELP", arity=2, flags=LOADING | STALE)
def help_(ctx: Context, argv: list[bytes]) -> Reply:
    """The subcommands."""
    return [Simple(line) for line in _HELP.splitlines()]


@command("FUNCTION LIST", arity=-2, flags=NOSCRIPT)
def list_(ctx: Context, argv: list[bytes]) -> Reply:
    """Show the libraries and their functions, with WITHCODE also their code."""
    pattern: Glob | None = None
    with_code = False
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"WITHCODE" and not with_code:
            with_code = True
        elif word == b"LIBRARYNAME" and pattern is None:
            at += 1
            if at == len(argv):
                raise error("library name argument was not given")
            pattern = Glob(argv[at].lower())
        else:
            raise error(f"Unknown argument {shown(argv[at])}")
        at += 1
    found = [each for each in ctx.functions.libraries.values() if pattern is None or pattern.matches(each.name.lower())]
    return [_shown_library(library, with_code) for library in found]


def _shown_library(library: Library, with_code: bool) -> Reply:
    functions = []
    for function in library.functions:
        flags = Set([Simple(flag.decode()) for flag in function.flags])
        functions.append({"name": function.name, "description": function.description, "flags": flags})
    told: dict[str, Reply] = {"library_name": library.name, "engine": "LUA", "functions": functions}
    if with_code:
        told["library_code"] = library.code
    return told


@command("FUNCTION LOAD", arity=-3, flags=WRITE | DENYOOM | NOSCRIPT)
def load(ctx: Context, argv: list[bytes]) -> Reply:
    """Create a library in every region, with REPLACE over the one of its name; its name."""
    replaces = False
    for word in argv[2:-1]:
        if word.upper() != b"REPLACE":
            raise error(f"Unknown option given: {shown(word)}")
        replaces = True
    code = argv[-1]
    name = _name_of(code)
    if name in ctx.functions.libraries and not replaces:
        raise error(f"Library '{shown(name)}' already exists")
    try:
        ctx.functions.join([_loaded(ctx, name, code)], replaces)
    finally:
        _forget_others(ctx)
    ctx.changed = True
    return name


@command("FUNCTION RESTORE", arity=-3, flags=WRITE | DENYOOM | NOSCRIPT)
def restore(ctx: Context, argv: list[bytes]) -> Reply:
    """Create the libraries of a payload of FUNCTION DUMP, beside those that there are (APPEND), over or instead of them."""
    if len(argv) > 4:
        raise wrong_subcommand(argv)
    policy = argv[3].upper() if len(argv) == 4 else b"APPEND"
    if policy not in (b"APPEND", b"REPLACE", b"FLUSH"):
        raise error("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    changed = False
    try:
        brought = _libraries_in(ctx, argv[2])
        if policy == b"FLUSH":
            changed = ctx.functions.flush()
        ctx.functions.join(brought, policy == b"REPLACE")
    finally:
        _forget_others(ctx)
    ctx.changed = changed or bool(brought)
    return OK


def _libraries_in(ctx: Context, payload: bytes) -> list[Library]:
    """The libraries of a payload, loaded; they collide neither in their names nor in those of their functions."""
    reader = form.unseal(payload, MAX_PAYLOAD_BYTES)
    if reader is None:
        raise error("DUMP payload version or checksum are wrong")
    brought = Functions()
    while reader.at < reader.end:
        kind = reader.byte()
        if kind == _PRE_GA:
            raise error("Failed loading library name")
        if kind != form.FUNCTION:
            raise error("given type is not a function")
        try:
            code = reader.string()
        except DumpError:
            raise error("Failed loading library payload") from None
        name = _name_of(code)
        if name in brought.libraries:
            raise error(f"Library '{shown(name)}' already exists")
        brought.join([_loaded(ctx, name, code)], False)
    return list(brought.libraries.values())


def _loaded(ctx: Context, name: bytes, code: bytes) -> Library:
    functions = interpreter_of(ctx).load_library(sha_of(code), _body(code), ctx)
    if not functions:
        raise error("No functions registered")
    return Library(name, code, functions)


def _forget_others(ctx: Context) -> None:
    """The interpreter needs no library but those of the table."""
    if ctx.interpreter is not None:
        ctx.interpreter.keep_libraries({library.sha for library in ctx.functions.libraries.values()})


def _name_of(code: bytes) -> bytes:
    """The name in the first line, `#!lua name=…`. Raises CommandError."""
    line, newline, _ = code.partition(b"\n")
    if not line.startswith(b"#!"):
        raise error("Missing library metadata")
    words = line.split()
    if not newline or line.count(b"'") % 2 or line.count(b'"') % 2:
        raise error("Invalid library metadata")
    name: bytes | None = None
    for word in [unquoted(word) for word in words[1:]]:
        if word[:5].lower() != b"name=":
            raise error(f"Invalid metadata value given: {shown(word)}")
        if name is not None:
            raise error("Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise error("Library name was not given")
    if not name or not name.replace(b"_", b"a").isalnum():
        raise error(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
        )
    if words[0].lower() != b"#!lua":
        raise error(f"Engine '{shown(words[0][2:])}' not found")
    return name


def _body(code: bytes) -> bytes:
    """A library without its first line, whose place an empty line takes."""
    return code[code.index(b"\n") :]
