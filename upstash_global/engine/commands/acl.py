"""ACL: commands that read and change the table of users. What concerns a session or a node stands in node/commands/acl.py.

The leader works out what ACL SETUSER comes to, and logs the user's whole rules as `_USER`: neither a password nor what
another version makes of a modifier travels in the log. The log is the store: ACL SAVE and LOAD have nothing left to do.
"""

from typing import Any, Final

from upstash_global.engine.acl import User, has_space
from upstash_global.engine.context import Context
from upstash_global.engine.table import (
    ADMIN,
    CATEGORIES,
    INTERNAL,
    LEADER,
    LOADING,
    NOSCRIPT,
    STALE,
    WRITE,
    Family,
    all_rows,
    find_row,
    wrong_subcommand,
)
from upstash_global.errors import CommandError, error, shown, wrong_arity
from upstash_global.reply import OK, Reply, Set

command = Family("server").command
internal = Family("internal").command

ADMINS: Final = ADMIN | NOSCRIPT | LOADING | STALE
ANYBODY: Final = NOSCRIPT | LOADING | STALE


@command("ACL CAT", arity=-2, flags=ANYBODY)
def cat(ctx: Context, argv: list[bytes]) -> Reply:
    """The categories, or the commands of one."""
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 2:
        return [category.encode() for category in CATEGORIES]
    category = argv[2].decode("latin-1").lower()
    if category not in CATEGORIES:
        raise error(f"Unknown category '{shown(argv[2])}'")
    rows = [row for row in all_rows() if not row.flags & INTERNAL and category in row.categories()]
    return [row.display_name.encode() for row in rows if row.handler is not None or row.session_handler is not None]


@command("ACL DELUSER", arity=-3, flags=ADMINS | LEADER)
def deluser(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove users and close their connections; how many there were."""
    for name in argv[2:]:
        if ctx.users.is_built_in(name):
            raise error(f"The '{shown(name)}' user cannot be removed")
    found = [name for name in dict.fromkeys(argv[2:]) if ctx.users.find(name) is not None]
    for name in found:
        ctx.users.remove(name)
    if found:
        ctx.changed = True
        ctx.log_as(b"_DELUSER", *found)
    return len(found)


@command("ACL DRYRUN", arity=-4, flags=ADMINS)
def dryrun(ctx: Context, argv: list[bytes]) -> Reply:
    """Whether a user might run a command line: OK, or why not."""
    user = ctx.users.find(argv[2])
    if user is None:
        raise error(f"User '{shown(argv[2])}' not found")
    line = argv[3:]
    row = find_row(line)
    if row is None:
        raise error(f"Command '{shown(line[0])}' not found")
    if not row.arity_fits(len(line)):
        raise wrong_arity(row.display_name)
    denial = user.denial(row, line)
    return OK if denial is None else denial.full_text(user.name)


@command("ACL GETUSER", arity=3, flags=ADMINS)
def getuser(ctx: Context, argv: list[bytes]) -> Reply:
    """The rules of a user; nil for one that does not exist."""
    user = ctx.users.find(argv[2])
    if user is None:
        return None
    own, *others = [
        {
            b"commands": b" ".join(selector.allowed_commands()),
            b"keys": b" ".join(selector.key_rules()),
            b"channels": b" ".join(selector.channel_rules()),
        }
        for selector in user.selectors
    ]
    told: dict[bytes, Any] = {b"flags": Set(user.flags()), b"passwords": list(user.passwords)}
    return {**told, **own, b"selectors": others}


@command("ACL LIST", arity=2, flags=ADMINS)
def list_(ctx: Context, argv: list[bytes]) -> Reply:
    """One line per user, as ACL SETUSER would take it."""
    users = [ctx.users.named[name] for name in ctx.users.names()]
    return [b"user " + user.name + b" " + user.describe() for user in users]


@command("ACL LOAD", arity=2, flags=ADMINS)
def load(ctx: Context, argv: list[bytes]) -> Reply:
    """Nothing to do: every node has the users as the log has them."""
    return OK


@command("ACL SAVE", arity=2, flags=ADMINS)
def save(ctx: Context, argv: list[bytes]) -> Reply:
    """Nothing to do: the users are in the log."""
    return OK


@command("ACL SETUSER", arity=-3, flags=ADMINS | LEADER)
def setuser(ctx: Context, argv: list[bytes]) -> Reply:
    """Make or change a user, by all of the rules or none."""
    name = argv[2]
    if has_space(name):
        raise error("Usernames can't contain spaces or null characters")
    known = ctx.users.find(name)
    draft = User(name)
    draft.take_rules([b"allchannels"] if ctx.users.channels_are_open else [])
    if known is not None:
        draft.take_rules(known.rules())
    for rule in _merged(argv[3:]):
        try:
            draft.modify(rule, ctx.users.channels_are_open)
        except CommandError as reason:
            raise error(f"Error in ACL SETUSER modifier '{shown(rule)}': {reason.message}") from None
    rules = draft.rules()
    if known is None or known.rules() != rules:
        ctx.users.put(name, rules)
        ctx.changed = True
        ctx.log_as(b"_USER", name, *rules)
    return OK


@command("ACL USERS", arity=2, flags=ADMINS)
def users(ctx: Context, argv: list[bytes]) -> Reply:
    """The names of all users."""
    return list(ctx.users.names())


@internal("_DELUSER", arity=-2, flags=WRITE | INTERNAL)
def remove_users(ctx: Context, argv: list[bytes]) -> Reply:
    """Remove users."""
    for name in argv[1:]:
        if ctx.users.find(name) is None:
            raise error("no such user")
    for name in argv[1:]:
        ctx.users.remove(name)
    ctx.changed = True
    return OK


@internal("_USER", arity=-3, flags=WRITE | INTERNAL)
def put_user(ctx: Context, argv: list[bytes]) -> Reply:
    """Make a user, or give one other rules."""
    ctx.users.put(argv[1], argv[2:])
    ctx.changed = True
    return OK


def _merged(words: list[bytes]) -> list[bytes]:
    """The rules, each selector as one of them: `(`, words and `)` may come as several arguments."""
    merged: list[bytes] = []
    begun: list[bytes] = []  # the words of a selector that is not closed yet
    for word in words:
        if begun:
            begun.append(word)
        elif word[:1] == b"(" and word[-1:] != b")":
            begun = [word]
            continue
        else:
            merged.append(word)
        if begun and word[-1:] == b")":
            merged.append(b" ".join(begun))
            begun = []
    if begun:
        raise error(f"Unmatched parenthesis in acl selector starting at '{shown(begun[0])}'.")
    return merged
