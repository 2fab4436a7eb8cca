"""ACL commands about a session, or with this node's own knowledge: WHOAMI, LOG, secrets and the tokens of REST."""

from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.acl import has_space
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import ADMIN, LOADING, NOSCRIPT, STALE, Family, wrong_subcommand
from upstash_global.engine.users import DEFAULT
from upstash_global.errors import error, not_an_integer, shown
from upstash_global.node.acllog import Denied
from upstash_global.node.session import Session
from upstash_global.protocol.tokens import encode_credentials
from upstash_global.reply import OK, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("server").session_command

DEFAULT_BITS: Final = 256
MAX_BITS: Final = 4096
DEFAULT_COUNT: Final = 10
SHORTEST_SECRET: Final = 16  # bytes of a password that is to become a token
FEWEST_DIFFERENT: Final = 8  # of them
MAX_NAME_BYTES: Final = (1 << 16) - 1  # that fit into a token


@command("ACL GENPASS", arity=-2, flags=NOSCRIPT | LOADING | STALE)
def genpass(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """A random secret of 256 bits, or as many as asked for, in hex digits."""
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    bits = DEFAULT_BITS
    if len(argv) == 3:
        number = parse_integer(argv[2])
        if number is None:
            raise not_an_integer()
        if not 0 < number <= MAX_BITS:
            raise error(
                "ACL GENPASS argument must be the number of bits for the output password, "
                f"a positive number up to {MAX_BITS}"
            )
        bits = number
    return node.secret_bytes((bits + 7) // 8).hex()[: (bits + 3) // 4].encode()


@command("ACL GENTOKEN", arity=-3, flags=NOSCRIPT | LOADING | STALE)
def gentoken(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """A token for a user, stored nowhere: `ACL SETUSER user >token` makes it their password, and so a REST token."""
    if len(argv) > 4:
        raise wrong_subcommand(argv)
    _check_name(argv[2])
    secret = argv[3] if len(argv) == 4 else node.secret_bytes(DEFAULT_BITS // 8)
    if len(secret) < SHORTEST_SECRET or len(set(secret)) < FEWEST_DIFFERENT:
        raise error(
            f"password is too weak: at least {SHORTEST_SECRET} characters are needed, {FEWEST_DIFFERENT} of them different"
        )
    return encode_credentials(argv[2], secret).encode()


@command("ACL LOG", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def log(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The newest of what this node denied, 10 unless a count is given; RESET forgets all of it."""
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    count = DEFAULT_COUNT
    if len(argv) == 3:
        if argv[2].upper() == b"RESET":
            node.permissions.log.entries.clear()
            return OK
        number = parse_integer(argv[2])
        if number is None:
            raise not_an_integer()
        count = max(0, number)
    return [_told(node, entry) for entry in list(node.permissions.log.entries)[:count]]


@command("ACL RESTTOKEN", arity=4, flags=NOSCRIPT | LOADING | STALE)
def resttoken(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """A bearer token for REST with the rights of a user, who has this password."""
    name, password = argv[2], argv[3]
    logins, host = node.permissions.logins, session.address.rpartition(":")[0]
    if logins.wait_ms(host, node.local_ms):
        raise error(logins.refusal())
    if len(name) > MAX_NAME_BYTES or node.users.authenticate(name, password) is None:
        node.permissions.note_failed_login(session, name, argv[0])
        node.permissions.note_failure_of(host)
        raise error(f'Wrong password or user "{shown(name)}" does not exist')
    return encode_credentials(name, password).encode()


@command("ACL WHOAMI", arity=2, flags=NOSCRIPT | LOADING | STALE)
def whoami(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The name of the connection's user."""
    return DEFAULT if session.user is None else session.user.name


def _check_name(name: bytes) -> None:
    if has_space(name) or len(name) > MAX_NAME_BYTES:
        raise error("Usernames can't contain spaces or null characters")


def _told(node: "Node", entry: Denied) -> dict[bytes, Any]:
    return {
        b"count": entry.count,
        b"reason": entry.reason.encode(),
        b"context": entry.context.encode(),
        b"object": entry.object,
        b"username": entry.user,
        b"age-seconds": max(0, node.local_ms - entry.updated_ms) / 1000,
        b"client-info": entry.client.encode("utf-8", "surrogateescape"),
        b"entry-id": entry.id,
        b"timestamp-created": entry.created_ms,
        b"timestamp-last-updated": entry.updated_ms,
    }
