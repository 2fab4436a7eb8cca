"""SUBSCRIBE and its relatives. PUBLISH is a data command: it travels in the log to every node."""

from typing import TYPE_CHECKING

from upstash_global.engine.table import LOADING, NOSCRIPT, PUBSUB, STALE, Family, wrong_subcommand
from upstash_global.engine.types.glob import Glob
from upstash_global.node.session import Session, Several
from upstash_global.reply import Push, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("pubsub").session_command


@command("PSUBSCRIBE", arity=-2, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def psubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Hear every channel whose name matches a pattern."""
    answers: list[Push] = []
    for pattern in argv[1:]:
        node.pubsub.psubscribe(session, pattern)
        answers.append(Push([b"psubscribe", pattern, _count(session)]))
    return Several(answers)


@command("PUBSUB CHANNELS", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_channels(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The channels that somebody on this node hears."""
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 2:
        return list(node.pubsub.channels)
    glob = Glob(argv[2])
    return [channel for channel in node.pubsub.channels if glob.matches(channel)]


@command("PUBSUB NUMPAT", arity=2, flags=PUBSUB | LOADING | STALE)
def pubsub_numpat(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How many different patterns are heard on this node."""
    return len(node.pubsub.patterns)


@command("PUBSUB NUMSUB", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_numsub(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Channels and how many sessions of this node hear each, alternating."""
    reply: list[Reply] = []
    for channel in argv[2:]:
        reply.append(channel)
        reply.append(len(node.pubsub.channels.get(channel, ())))
    return reply


@command("PUNSUBSCRIBE", arity=-1, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def punsubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop hearing patterns, or all of them."""
    patterns = argv[1:] or list(session.patterns)
    answers: list[Push] = []
    for pattern in patterns:
        node.pubsub.punsubscribe(session, pattern)
        answers.append(Push([b"punsubscribe", pattern, _count(session)]))
    return Several(answers or [Push([b"punsubscribe", None, _count(session)])])


@command("SUBSCRIBE", arity=-2, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def subscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Hear channels."""
    answers: list[Push] = []
    for channel in argv[1:]:
        node.pubsub.subscribe(session, channel)
        answers.append(Push([b"subscribe", channel, _count(session)]))
    return Several(answers)


@command("UNSUBSCRIBE", arity=-1, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def unsubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop hearing channels, or all of them."""
    channels = argv[1:] or list(session.channels)
    answers: list[Push] = []
    for channel in channels:
        node.pubsub.unsubscribe(session, channel)
        answers.append(Push([b"unsubscribe", channel, _count(session)]))
    return Several(answers or [Push([b"unsubscribe", None, _count(session)])])


def _count(session: Session) -> int:
    return len(session.channels) + len(session.patterns)
