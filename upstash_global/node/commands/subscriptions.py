"""SUBSCRIBE and its relatives. PUBLISH is a data command: it travels in the log to every node."""

from typing import TYPE_CHECKING

from upstash_global.engine.table import ALL, LOADING, NOSCRIPT, PUBSUB, STALE, Family, wrong_subcommand
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error
from upstash_global.node.pubsub import check_room
from upstash_global.node.session import Session, Several
from upstash_global.reply import Push, Reply

if TYPE_CHECKING:
    from upstash_global.node.node import Node

command = Family("pubsub").session_command


@command("PSUBSCRIBE", arity=-2, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def psubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Hear every channel whose name matches a pattern."""
    check_room(session, len(argv) - 1)
    answers: list[Push] = []
    for pattern in argv[1:]:
        node.pubsub.psubscribe(session, pattern)
        answers.append(Push([b"psubscribe", pattern, _count(session)]))
    return Several(answers)


@command("PUBSUB CHANNELS", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_channels(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The channels that somebody on this node hears."""
    return _matching(argv, node.pubsub.channels)


@command("PUBSUB NUMPAT", arity=2, flags=PUBSUB | LOADING | STALE)
def pubsub_numpat(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """How many different patterns are heard on this node."""
    return len(node.pubsub.patterns)


@command("PUBSUB NUMSUB", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_numsub(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Channels and how many sessions of this node hear each, alternating."""
    return _counted(argv, node.pubsub.channels)


@command("PUBSUB SHARDCHANNELS", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_shardchannels(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """The shard channels that somebody on this node hears."""
    return _matching(argv, node.pubsub.shard_channels)


@command("PUBSUB SHARDNUMSUB", arity=-2, flags=PUBSUB | LOADING | STALE)
def pubsub_shardnumsub(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Shard channels and how many sessions of this node hear each, alternating."""
    return _counted(argv, node.pubsub.shard_channels)


@command("PUNSUBSCRIBE", arity=-1, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def punsubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop hearing patterns, or all of them."""
    patterns = argv[1:] or list(session.patterns)
    answers: list[Push] = []
    for pattern in patterns:
        node.pubsub.punsubscribe(session, pattern)
        answers.append(Push([b"punsubscribe", pattern, _count(session)]))
    return Several(answers or [Push([b"punsubscribe", None, _count(session)])])


@command("SSUBSCRIBE", arity=-2, flags=PUBSUB | NOSCRIPT | LOADING | STALE, keys=ALL)
def ssubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Hear shard channels."""
    if not node.engine.context.may_block:
        raise error("SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
    check_room(session, len(argv) - 1)
    answers: list[Push] = []
    for channel in argv[1:]:
        node.pubsub.ssubscribe(session, channel)
        answers.append(Push([b"ssubscribe", channel, len(session.shard_channels)]))
    return Several(answers)


@command("SUBSCRIBE", arity=-2, flags=PUBSUB | NOSCRIPT | LOADING | STALE)
def subscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Hear channels."""
    check_room(session, len(argv) - 1)
    answers: list[Push] = []
    for channel in argv[1:]:
        node.pubsub.subscribe(session, channel)
        answers.append(Push([b"subscribe", channel, _count(session)]))
    return Several(answers)


@command("SUNSUBSCRIBE", arity=-1, flags=PUBSUB | NOSCRIPT | LOADING | STALE, keys=ALL)
def sunsubscribe(node: "Node", session: Session, argv: list[bytes]) -> Reply:
    """Stop hearing shard channels, or all of them."""
    channels = argv[1:] or list(session.shard_channels)
    answers: list[Push] = []
    for channel in channels:
        node.pubsub.sunsubscribe(session, channel)
        answers.append(Push([b"sunsubscribe", channel, len(session.shard_channels)]))
    return Several(answers or [Push([b"sunsubscribe", None, 0])])


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


def _matching(argv: list[bytes], channels: dict[bytes, dict[int, Session]]) -> Reply:
    if len(argv) > 3:
        raise wrong_subcommand(argv)
    if len(argv) == 2:
        return list(channels)
    glob = Glob(argv[2])
    return [channel for channel in channels if glob.matches(channel)]


def _counted(argv: list[bytes], channels: dict[bytes, dict[int, Session]]) -> Reply:
    reply: list[Reply] = []
    for channel in argv[2:]:
        reply.append(channel)
        reply.append(len(channels.get(channel, ())))
    return reply
