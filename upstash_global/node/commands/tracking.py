"""CLIENT TRACKING and its relatives: client-side caching. What they switch on is in node/tracking.py."""

from typing import TYPE_CHECKING

from upstash_global.engine.arguments import Arguments
from upstash_global.engine.numbers import parse_integer
from upstash_global.engine.table import LOADING, NOSCRIPT, STALE, Family
from upstash_global.errors import error, not_an_integer, shown, syntax_error
from upstash_global.node.session import Session, TrackingState
from upstash_global.reply import OK, Reply, Set

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("connection").session_command


@command("CLIENT CACHING", arity=3, flags=NOSCRIPT | LOADING | STALE)
def client_caching(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Whether what the next command reads is tracked: YES in OPTIN mode, NO in OPTOUT mode."""
    state = session.tracking
    if state is None:
        raise error(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
        )
    word = argv[2].upper()
    if word == b"YES":
        if not state.is_opt_in:
            raise error("CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    elif word == b"NO":
        if not state.is_opt_out:
            raise error("CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    else:
        raise syntax_error()
    state.is_caching = True
    return OK


@command("CLIENT GETREDIR", arity=2, flags=NOSCRIPT | LOADING | STALE)
def client_getredir(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The id of the connection that hears of changes in this one's place; 0 for none, -1 without tracking."""
    return redirection(session)


@command("CLIENT TRACKING", arity=-3, flags=NOSCRIPT | LOADING | STALE)
def client_tracking(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Tell this connection when keys change that it has read, or that begin with its prefixes."""
    state, prefixes = _options(node, argv)
    word = argv[2].upper()
    if word == b"ON":
        _check(session, state, prefixes)
        node.tracking.enable(session, state, prefixes)
    elif word == b"OFF":
        node.tracking.disable(session)
    else:
        raise syntax_error()
    node.audience.note_attention()
    return OK


@command("CLIENT TRACKINGINFO", arity=2, flags=NOSCRIPT | LOADING | STALE)
def client_trackinginfo(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How this connection tracks keys."""
    state = session.tracking or TrackingState()
    known = {
        b"on" if session.tracking is not None else b"off": True,
        b"bcast": state.broadcasts,
        b"optin": state.is_opt_in,
        b"caching-yes": state.is_opt_in and state.is_caching,
        b"optout": state.is_opt_out,
        b"caching-no": state.is_opt_out and state.is_caching,
        b"noloop": state.is_deaf_to_itself,
        b"broken_redirect": state.is_broken,
    }
    return {
        b"flags": Set([flag for flag, holds in known.items() if holds]),
        b"redirect": redirection(session),
        b"prefixes": sorted(state.prefixes),
    }


def redirection(session: Session) -> int:
    """What CLIENT GETREDIR and CLIENT LIST say of a session."""
    return -1 if session.tracking is None else session.tracking.redirect


def _options(node: "Node", argv: list[bytes]) -> tuple[TrackingState, list[bytes]]:
    state, prefixes = TrackingState(), []
    args = Arguments(argv, 3)
    while args.more():
        if args.left() > 1 and args.flag(b"REDIRECT"):
            if state.redirect:
                raise error("A client can only redirect to a single other client")
            number = parse_integer(args.next())
            if number is None:
                raise not_an_integer()
            if number not in node.sessions:
                raise error("The client ID you want redirect to does not exist")
            state.redirect = number
        elif args.flag(b"BCAST"):
            state.broadcasts = True
        elif args.flag(b"OPTIN"):
            state.is_opt_in = True
        elif args.flag(b"OPTOUT"):
            state.is_opt_out = True
        elif args.flag(b"NOLOOP"):
            state.is_deaf_to_itself = True
        elif args.left() > 1 and args.flag(b"PREFIX"):
            prefixes.append(args.next())
        else:
            raise syntax_error()
    return state, prefixes


def _check(session: Session, state: TrackingState, prefixes: list[bytes]) -> None:
    """Whether the options agree with each other and with what the session does already. Raises CommandError."""
    present = session.tracking
    if prefixes and not state.broadcasts:
        raise error("PREFIX option requires BCAST mode to be enabled")
    if present is not None and present.broadcasts != state.broadcasts:
        raise error(
            "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with "
            "a different mode."
        )
    if state.broadcasts and (state.is_opt_in or state.is_opt_out):
        raise error("OPTIN and OPTOUT are not compatible with BCAST")
    if state.is_opt_in and state.is_opt_out:
        raise error("You can't specify both OPTIN mode and OPTOUT mode")
    if present is not None and ((state.is_opt_in and present.is_opt_out) or (state.is_opt_out and present.is_opt_in)):
        raise error(
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with "
            "a different mode."
        )
    for i, prefix in enumerate(prefixes):
        for other in sorted(present.prefixes) if present is not None else []:
            if _overlap(prefix, other):
                raise _overlapping(prefix, "an existing", other)
        for other in prefixes[i + 1 :]:
            if _overlap(prefix, other):
                raise _overlapping(prefix, "another provided", other)


def _overlap(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def _overlapping(prefix: bytes, which: str, other: bytes) -> Exception:
    return error(
        f"Prefix '{shown(prefix)}' overlaps with {which} prefix '{shown(other)}'. "
        "Prefixes for a single client must not overlap."
    )
