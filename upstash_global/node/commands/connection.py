"""Commands about the connection itself: AUTH, HELLO, CLIENT and the like."""

from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    Family,
)
from upstash_global.engine.users import DEFAULT
from upstash_global.errors import CommandError, error, not_an_integer, shown, syntax_error, wrong_arity
from upstash_global.node.clientmemory import held_bytes, queued_bytes
from upstash_global.node.commands.tracking import redirection
from upstash_global.node.dispatch import size_of
from upstash_global.node.info import REDIS_VERSION
from upstash_global.node.parking import Parked
from upstash_global.node.session import REPLY_OFF, REPLY_ON, REPLY_SKIP_NEXT, Session, size_of_request
from upstash_global.node.transactions import is_dirty
from upstash_global.protocol.consistency import BOUNDED, read_consistency
from upstash_global.reply import NO_REPLY, OK, PENDING, PONG, Reply, Simple, Verbatim

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("connection").session_command

WRONGPASS: Final = CommandError("WRONGPASS", "invalid username-password pair or user is disabled.")


@command("AUTH", arity=-2, flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
def auth(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Authenticate as `default` with a password, or as a user."""
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2:
        if node.users.default.needs_no_password:
            raise error(
                "AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?"
            )
        refused = _authenticate(node, session, b"default", argv[1], argv[0])
    else:
        refused = _authenticate(node, session, argv[1], argv[2], argv[0])
    return OK if refused is None else refused


@command("ECHO", arity=2, flags=LOADING | STALE | FAST)
def echo(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Reply with the argument."""
    return argv[1]


@command("HELLO", arity=-1, flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
def hello(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Choose the protocol version, authenticate and name the connection in one step."""
    version = session.protocol
    args = Arguments(argv, 1)
    if args.more():
        number = parse_integer(args.next())
        if number is None:
            raise error("Protocol version is not an integer or out of range")
        if number not in (2, 3):
            raise CommandError("NOPROTO", "unsupported protocol version")
        version = number
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    while args.more():
        if args.left() >= 3 and args.flag(b"AUTH"):
            credentials = (args.next(), args.next())
        elif args.left() >= 2 and args.flag(b"SETNAME"):
            name = args.next()
            _check_name(name)
        else:
            raise error(f"Syntax error in HELLO option '{shown(argv[args.at])}'")
    if credentials is not None:
        refused = _authenticate(node, session, credentials[0], credentials[1], argv[0])
        if refused is not None:
            return refused
    if session.user is None:
        raise CommandError(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time",
        )
    session.protocol = version
    if name is not None:
        session.name = name
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": version,
        b"id": session.id,
        b"mode": b"standalone",
        b"role": b"master" if node.is_leader else b"replica",
        b"modules": [],
    }


@command("PING", arity=-1, flags=FAST)
def ping(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """PONG, or the argument."""
    if len(argv) > 2:
        raise wrong_arity("ping")
    if session.is_subscribed and session.protocol == 2:
        return [b"pong", argv[1] if len(argv) == 2 else b""]
    return PONG if len(argv) == 1 else argv[1]


@command("QUIT", arity=-1, flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
def quit_(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Close the connection once everything is answered."""
    session.closing = True
    return OK


@command("RESET", arity=1, flags=NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
def reset(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Bring the connection back to where it began."""
    node.audience.leave(session)
    session.reset()
    session.ask(node.settings.consistency)
    session.user = node.users.default if node.users.default_is_open else None
    return Simple("RESET")


@command("SELECT", arity=2, flags=LOADING | STALE | FAST)
def select(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Choose database 0, the only one."""
    index = parse_integer(argv[1])
    if index is None or not -(1 << 31) <= index < 1 << 31:
        raise not_an_integer()
    if index != 0:
        raise error("DB index is out of range")
    return OK


# -- CLIENT -------------------------------------------------------------------------------------------------------


@command("CLIENT CONSISTENCY", arity=-2, flags=NOSCRIPT | LOADING | STALE)
def client_consistency(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How new the state of this connection's reads must be: EVENTUAL, SESSION [SCOPE KEY], LEADER or BOUNDED MILLISECONDS."""
    if len(argv) == 2:
        return str(session.consistency).encode()
    words = [word.decode("latin-1") for word in argv[2:]]
    text = " ".join(words)
    if len(words) == 2 and words[0].lower() == BOUNDED:
        text = f"{BOUNDED}; max-staleness-ms={words[1]}"
    elif len(words) == 3:
        text = f"{words[0]}; {words[1]}={words[2]}"
    consistency = read_consistency(text)
    if consistency is None:
        raise syntax_error()
    session.ask(consistency, session.own)
    return OK


@command("CLIENT GETNAME", arity=2, flags=NOSCRIPT | LOADING | STALE)
def client_getname(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The connection's name, or nil."""
    return session.name or None


@command("CLIENT ID", arity=2, flags=NOSCRIPT | LOADING | STALE)
def client_id(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The connection's number, unique on this node while it runs."""
    return session.id


@command("CLIENT INFO", arity=2, flags=NOSCRIPT | LOADING | STALE)
def client_info(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """One line about this connection."""
    return Verbatim((client_line(node, session, argv) + "\n").encode("utf-8", "surrogateescape"))


@command("CLIENT KILL", arity=-3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_kill(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Close connections by address (old form: OK or an error) or by filters (how many were closed)."""
    if len(argv) == 3:
        address = argv[2].decode("latin-1")
        for each in _living(node):
            if each.address == address:
                _kill(node, session, each)
                return OK
        raise error("No such client")
    skip_me = True
    wanted: dict[str, Any] = {}
    max_age_ms = 0
    for i in range(2, len(argv), 2):
        if i + 1 == len(argv):
            raise syntax_error()
        option, value = argv[i].upper(), argv[i + 1]
        if option == b"ID":
            number = parse_integer(value)
            if number is None or number <= 0:
                raise error("client-id should be greater than 0")
            wanted["id"] = number
        elif option == b"ADDR":
            wanted["address"] = value.decode("latin-1")
        elif option == b"LADDR":
            wanted["local_address"] = value.decode("latin-1")
        elif option == b"USER":
            if node.users.find(value) is None:
                raise error(f"No such user '{shown(value)}'")
            wanted["user"] = value
        elif option == b"TYPE":
            wanted["type"] = _client_type(value)
        elif option == b"MAXAGE":  # as Redis 7.4
            number = parse_integer(value)
            if number is None:
                raise error("maxage is not an integer or out of range")
            if number <= 0:
                raise error("maxage should be greater than 0")
            max_age_ms = 1000 * number
        elif option == b"SKIPME":
            if value.upper() not in (b"YES", b"NO"):
                raise syntax_error()
            skip_me = value.upper() == b"YES"
        else:
            raise syntax_error()
    n = 0
    for each in _living(node):
        if each is session and skip_me or node.local_ms - each.created_ms < max_age_ms:
            continue
        if all(_property(each, name) == value for name, value in wanted.items()):
            _kill(node, session, each)
            n += 1
    return n


@command("CLIENT LIST", arity=-2, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_list(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """One line per connection of this node."""
    chosen = _living(node)
    if len(argv) == 4 and argv[2].upper() == b"TYPE":
        kind = _client_type(argv[3])
        chosen = [each for each in chosen if _property(each, "type") == kind]
    elif len(argv) > 3 and argv[2].upper() == b"ID":
        ids: list[int] = []
        for text in argv[3:]:
            number = parse_integer(text)
            if number is None:
                raise error("Invalid client ID")
            ids.append(number)
        chosen = [node.sessions[each] for each in ids if each in node.sessions]
    elif len(argv) != 2:
        raise syntax_error()
    lines = [client_line(node, each, argv if each is session else None) + "\n" for each in chosen]
    return Verbatim("".join(lines).encode("utf-8", "surrogateescape"))


@command("CLIENT NO-EVICT", arity=3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_no_evict(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Whether this connection is spared when clients take more than `maxmemory-clients`."""
    session.no_evict = _on_off(argv[2])
    return OK


@command("CLIENT NO-TOUCH", arity=3, flags=NOSCRIPT | LOADING | STALE)
def client_no_touch(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Whether this connection's reads leave the keys' access times alone."""
    session.no_touch = _on_off(argv[2])
    return OK


@command("CLIENT REPLY", arity=3, flags=NOSCRIPT | LOADING | STALE)
def client_reply(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Whether commands are answered: ON, OFF, or SKIP for the next one."""
    word = argv[2].upper()
    if word == b"ON":
        session.reply_mode = REPLY_ON
        return OK
    if word == b"OFF":
        session.reply_mode = REPLY_OFF
    elif word == b"SKIP":
        if session.reply_mode != REPLY_OFF:
            session.reply_mode = REPLY_SKIP_NEXT
    else:
        raise syntax_error()
    return NO_REPLY


@command("CLIENT SETINFO", arity=4, flags=NOSCRIPT | LOADING | STALE)
def client_setinfo(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Name the client library and its version."""
    option = argv[2].upper()
    given = shown(argv[2])
    if option not in (b"LIB-NAME", b"LIB-VER"):
        raise error(f"Unrecognized option '{given}'")
    if any(not 33 <= byte <= 126 for byte in argv[3]):
        raise error(f"{given.lower()} cannot contain spaces, newlines or special characters.")
    if option == b"LIB-NAME":
        session.library_name = argv[3]
    else:
        session.library_version = argv[3]
    return OK


@command("CLIENT SETNAME", arity=3, flags=NOSCRIPT | LOADING | STALE)
def client_setname(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Name the connection; an empty name takes it away."""
    _check_name(argv[2])
    session.name = argv[2]
    return OK


@command("CLIENT UNBLOCK", arity=-3, flags=ADMIN | NOSCRIPT | LOADING | STALE)
def client_unblock(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """End the wait of a session of this node: as by time-out, or with an error. 1 if it waited."""
    if len(argv) > 4:
        raise wrong_arity("client|unblock")
    how = argv[3].lower() if len(argv) == 4 else b"timeout"
    if how not in (b"timeout", b"error"):
        raise error("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    number = parse_integer(argv[2])
    if number is None:
        raise not_an_integer()
    return int(node.forwarding.unblock(number, how.decode()))


# -- what they share ----------------------------------------------------------------------------------------------


def _authenticate(node: "Node", session: Session, name: bytes, password: bytes, command: bytes) -> Reply:
    """Log the session in: None, or what it is refused with; a wrong password is told late."""
    user = node.users.authenticate(name, password)
    host = session.address.rpartition(":")[0]
    if node.permissions.logins.wait_ms(host, node.local_ms) and (user is None or user is not session.user):
        raise error(node.permissions.logins.refusal())
    if user is not None:
        session.user = user
        return None
    node.permissions.note_failed_login(session, name, command)
    node.permissions.note_failure_of(host)
    delay_ms = node.settings.failed_login_delay_ms
    if not delay_ms or not node.engine.context.may_block:
        raise WRONGPASS
    node.parking.park(
        Parked(
            session, lambda _: PENDING, node.local_ms + delay_ms, lambda: _wrong_password(node, session), [], "login"
        )
    )
    return PENDING


def _wrong_password(node: "Node", session: Session) -> Reply:
    node.metrics.note_failure(session.row, WRONGPASS)
    return WRONGPASS


def _check_name(name: bytes) -> None:
    if any(not 33 <= byte <= 126 for byte in name):
        raise error("Client names cannot contain spaces, newlines or special characters.")


def _on_off(word: bytes) -> bool:
    if word.upper() not in (b"ON", b"OFF"):
        raise syntax_error()
    return word.upper() == b"ON"


def _client_type(word: bytes) -> str:
    kind = word.lower().decode("latin-1")
    if kind == "slave":
        kind = "replica"
    if kind not in ("normal", "master", "replica", "pubsub"):
        raise error(f"Unknown client type '{shown(word)}'")
    return kind


def _living(node: "Node") -> list[Session]:
    """The sessions that have not been cut off; those that have may take a moment to go."""
    return [session for session in node.sessions.values() if not session.killed]


def _property(session: Session, name: str) -> Any:
    if name == "type":
        return "pubsub" if session.is_subscribed else "normal"
    if name == "id":
        return session.id
    if name == "address":
        return session.address
    if name == "local_address":
        return session.local_address
    return _user_name(session)


def _kill(node: "Node", session: Session, victim: Session) -> None:
    if victim is session:
        session.closing = True  # after the answer
        return
    node.cut_off(victim)


def _flags(node: "Node", session: Session) -> str:
    """The letters of CLIENT LIST, in Redis's order."""
    tracking = session.tracking
    known = {
        "O": session.is_monitor,
        "P": session.is_subscribed,
        "x": session.queue is not None,
        "b": node.waits(session),
        "t": tracking is not None,
        "R": tracking is not None and tracking.is_broken,
        "B": tracking is not None and tracking.broadcasts,
        "d": bool(session.watches) and is_dirty(node, list(session.watches.values()), session.seen),
        "c": session.closing,
        "e": session.no_evict,
        "T": session.no_touch,
    }
    return "".join([letter for letter, holds in known.items() if holds]) or "N"


def _user_name(session: Session) -> bytes:
    return session.user.name if session.user is not None else DEFAULT  # who it will be unless it says otherwise


def client_line(node: "Node", session: Session, argv: list[bytes] | None = None) -> str:
    """What CLIENT LIST tells of a session; `argv` is the command that it runs."""
    queued = -1 if session.queue is None else len(session.queue)
    request_bytes = 0 if argv is None else size_of_request(argv)
    argument_bytes = 0 if argv is None else size_of(argv)
    unread_bytes = session.unread_bytes()
    fields = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.id + 8,
        "name": session.name.decode("latin-1"),
        "age": max(0, node.local_ms - session.created_ms) // 1000,
        "idle": max(0, node.local_ms - session.active_ms) // 1000,
        "flags": _flags(node, session),
        "db": 0,
        "sub": len(session.channels),
        "psub": len(session.patterns),
        "ssub": len(session.shard_channels),
        "multi": queued,
        "watch": len(session.watches),
        "qbuf": session.read_bytes() + request_bytes,
        "qbuf-free": 0,
        "argv-mem": argument_bytes,
        "multi-mem": queued_bytes(session),
        "rbs": 0,
        "rbp": 0,
        "obl": 0,
        "oll": 0,
        "omem": unread_bytes,
        "tot-mem": held_bytes(session) + request_bytes + argument_bytes,
        "events": "rw" if unread_bytes else "r",
        "cmd": session.row.display_name if session.row is not None else "NULL",
        "user": _user_name(session).decode("utf-8", "surrogateescape"),
        "redir": redirection(session),
        "resp": session.protocol,
        "lib-name": session.library_name.decode("latin-1"),
        "lib-ver": session.library_version.decode("latin-1"),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())
