"""MIGRATE: an administrator moves keys to another server, which may be a redis-server."""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.arguments import Arguments, integer_argument
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import DANGEROUS, LASTING, MOVABLEKEYS, WRITE, Family, Keys
from upstash_global.errors import error
from upstash_global.node.dispatch import remembered
from upstash_global.node.migrating import CONNECTING, NO_KEY, Migration, not_reached
from upstash_global.node.session import Session
from upstash_global.reply import PENDING, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("generic").session_command

DEFAULT_TIMEOUT_MS: Final = 1000
LAST_PORT: Final = 65535

NOT_ENABLED: Final = error("MIGRATE is not enabled, see security.migrate")
CANNOT_WAIT: Final = error(
    "MIGRATE has to wait for another server, which is not possible inside a transaction or script"
)
KEY_AND_KEYS: Final = error("When using MIGRATE KEYS option, the key argument must be set to the empty string")


def migrated_keys(argv: list[bytes]) -> list[bytes]:
    """The one key, or those behind KEYS; [] if both are there. A KEYS that ends the line is not seen, as in Redis."""
    at = 6
    while at + 1 < len(argv):
        word = argv[at].upper()
        if word == b"KEYS":
            return [] if argv[3] else argv[at + 1 :]
        at += 3 if word == b"AUTH2" else 2 if word == b"AUTH" else 1
    return argv[3:4]


class _Options:
    def __init__(self, argv: list[bytes]) -> None:
        self.is_copy = False
        self.replaces = False
        self.keys = argv[3:4]
        self.auth: list[list[bytes]] = []
        args = Arguments(argv, 6)
        while args.more():
            if args.flag(b"COPY"):
                self.is_copy = True
            elif args.flag(b"REPLACE"):
                self.replaces = True
            elif args.left() > 1 and args.flag(b"AUTH"):
                self.auth = [[b"AUTH", args.next()]]
            elif args.left() > 2 and args.flag(b"AUTH2"):
                self.auth = [[b"AUTH", args.next(), args.next()]]
            elif args.flag(b"KEYS"):
                if argv[3]:
                    args.fail(KEY_AND_KEYS)
                self.keys = argv[args.at :]
                break
            else:
                args.unknown()
        if args.mistake is not None:
            raise args.mistake


@command("MIGRATE", arity=-6, flags=WRITE | MOVABLEKEYS | DANGEROUS | LASTING, keys=Keys(3, 3, 1, finder=migrated_keys))
def migrate(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Move keys to another server, or copy them; off unless the configuration allows it."""
    if not node.settings.migrate:
        raise NOT_ENABLED
    if not node.engine.context.may_block:
        raise CANNOT_WAIT
    if session.is_remote:
        answered = remembered(session)
        if answered is not PENDING:
            return answered
    options = _Options(argv)
    timeout_ms = integer_argument(argv[5])
    database = integer_argument(argv[4])
    if node.write_refusal is not None:
        raise node.write_refusal
    if node.is_sealed:
        return node.park_until_unsealed(session, lambda: node.retry(session, argv))
    if node.redundancy is not None and session.row is not None:
        lack = node.redundancy.refusal(session.row)
        if lack is not None:
            raise lack
    port = parse_integer(argv[2]) or 0
    host = argv[1].decode("utf-8", "replace")
    migration = Migration(host, port, timeout_ms if timeout_ms > 0 else DEFAULT_TIMEOUT_MS, options.is_copy)
    node.migrations.dump(migration, options.keys, options.replaces)
    if not migration.restores:
        return NO_KEY
    if not host or not 0 < port <= LAST_PORT:
        raise not_reached(CONNECTING)
    migration.introduction = [*options.auth, [b"SELECT", b"%d" % database]]
    return node.migrations.begin(session, migration)
