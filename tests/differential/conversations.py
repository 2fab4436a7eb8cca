"""Conversations: several clients of one server, on ours and on the oracle; every reply and push of every client compared.

A story is a list of (client, argv). After each step both sides are asked what every client has received by then. A client
that was cut off is there anew at the next step. `<id 1>` in a line stands for what CLIENT ID answers client 1, `<addr 1>` for
its address.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from random import Random
from typing import Final

from tests.differential.families import CONVERSATIONS, PREFACES, lines_of
from tests.differential.grammar import Argv, Maker, parse
from tests.differential.normalise import is_error, name_of, same, with_float_texts
from tests.differential.sides import Oracle
from tests.differential.wire import Connection, Incomplete, Reply, Tagged, decode
from tests.node.stage import Stage
from upstash_global.engine.table import READONLY, lookup
from upstash_global.errors import CommandError
from upstash_global.node.clients import RespSession

CLIENTS: Final = 3
OBSERVER: Final = CLIENTS  # one more client of both sides; it only looks
ROUND: Final = 400
SHRINK_RUNS: Final = 300
PASSWORD: Final = "correct"
WRITTEN_AT_ONCE: Final = 1 << 16  # of a longer reply redis-server writes this much and sees to others before it goes on
AT_THE_LEADER_ONLY: Final = b"parameters of the cluster can be set in a transaction only at the leader"
CLOSED: Final = Tagged("closed", None)
UNAUTHENTICATED: Final = Tagged("error", "ERR Protocol error: unauthenticated multibulk length")
SUBSCRIPTIONS: Final = (b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe")
PUSHES: Final = [*((kind, 3) for kind in (*SUBSCRIPTIONS, b"message", b"smessage")), (b"pmessage", 4)]
# In Redis some writes raise `keymiss` as well, for what they look at on their way: in ours only reads do. And some raise
# their event although nothing has changed: ours does not log such a command, so no other node could hear of it.
EVENTS_OF_NOTHING: Final = (b"b'ltrim'", b":ltrim'", b"invalidate', None")  # the last when an empty database is flushed
PLACEHOLDER: Final = re.compile(rb"<(id|addr) (\d)>")

OF_THE_LEADER: Final = {  # what is left out at a replica
    "acl": (
        "ACL LOG",  # it lacks what the leader denied: in scripts, and at EXEC
        "MULTI",  # of a transaction that goes to the leader, AUTH and the like run behind the rest, CONFIG SET not at all
    )
}

Step = tuple[int, Argv]
Heard = list[list[Reply]]  # by client


class Party:
    """One side of a conversation."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.password = ""
        self.ids: list[int] = [0] * (CLIENTS + 1)
        self.addresses: list[bytes] = [b""] * (CLIENTS + 1)

    def begin(self, password: str) -> None:
        """An empty server with new clients."""
        raise NotImplementedError

    def open(self, client: int) -> None:
        raise NotImplementedError

    def say(self, client: int, argv: Argv) -> Heard:
        """Send a command; what every client has received then. CLOSED ends what a client hears."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up."""

    def welcome(self, client: int) -> None:
        """A new client: it logs in as far as the story wants it to, and its id and address are noted."""
        if self.password and client != 0:  # the first one has to log in by itself
            self.say(client, [b"AUTH", self.password.encode()])
        self.ids[client], self.addresses[client] = 0, b""
        if self.version == 3 and not (self.password and client == 0):
            self.say(client, [b"HELLO", b"3"])
        if not self.password or client:
            line = self.say(client, [b"CLIENT", b"INFO"])[client][0]
            text = line.content if isinstance(line, Tagged) else line
            fields = dict(field.split(b"=", 1) for field in text.strip().removeprefix(b"txt:").split())
            self.ids[client], self.addresses[client] = int(fields[b"id"]), fields[b"addr"]
        if client == OBSERVER:
            self.say(client, [b"PING"])

    def filled_in(self, argv: Argv) -> Argv:
        def value(found: re.Match[bytes]) -> bytes:
            client = int(found[2])
            return b"%d" % self.ids[client] if found[1] == b"id" else self.addresses[client]

        return [PLACEHOLDER.sub(value, word) for word in argv]


class Wire:
    """The shell around a session of a node in this process: the bytes that were let out."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_closed = False

    def send(self, output: bytearray | None) -> None:
        if output is None:
            self.is_closed = True
        else:
            self.data += output

    def unread_bytes(self) -> int:
        return 0

    def read_bytes(self) -> int:
        return 0


class NodeParty(Party):
    """A node in this process: the leader, or a replica that forwards to one beside it."""

    def __init__(self, version: int, at_replica: bool = False) -> None:
        super().__init__(version)
        self.at_replica = at_replica

    def begin(self, password: str) -> None:
        self.password = password
        self.stage = Stage(replica=self.at_replica, password=password or None, failed_logins_per_minute=0)
        self.node = (self.stage.replica if self.at_replica else self.stage.leader).node
        self.sessions = [self._session() for _ in range(CLIENTS + 1)]
        for client in range(CLIENTS + 1):
            self.welcome(client)

    def open(self, client: int) -> None:
        self.node.close(self.sessions[client])
        self.sessions[client] = self._session()
        self.welcome(client)

    def queue(self, client: int) -> list[Argv]:
        """What a client has queued for its EXEC; it may have turned its replies off."""
        return list(self.sessions[client].queue or [])

    def _session(self) -> RespSession:
        node = self.node
        number = node.next_session_id()
        session = RespSession(number, f"127.0.0.1:{20_000 + number}", node.local_ms, Wire())
        session.local_address = "127.0.0.1:6379"
        node.open(session)
        return session

    def say(self, client: int, argv: Argv) -> Heard:
        self._handle(client, self.filled_in(argv))
        heard = [self._heard(session) for session in self.sessions]
        if client != OBSERVER and CLOSED not in heard[OBSERVER]:
            self._handle(OBSERVER, [b"PING"])  # as on the other side, where it is needed
            self._heard(self.sessions[OBSERVER])
        return heard

    def _handle(self, client: int, argv: Argv) -> None:
        self.node.handle(self.sessions[client], [argv], self.stage.now_ms)
        self.stage.settle()

    def _heard(self, session: RespSession) -> list[Reply]:
        wire = session.connection
        replies, at = [], 0
        while at < len(wire.data):
            reply, at = decode(wire.data, at)
            replies.append(reply)
        wire.data.clear()
        if session.closing or wire.is_closed:  # as the shell does once everything is out
            self.node.close(session)
            replies.append(CLOSED)
        return replies


class OracleParty(Party):
    """A redis-server, seen through sockets.

    It serves one command at a time, and before it sleeps it writes out what it has. So when a PING of the observer, sent
    after a command, and then a second one are answered, all that the command led to has begun to arrive: of a long reply it
    writes 64 KiB, sees to others, and goes on.
    """

    def __init__(self, oracle: Oracle, version: int) -> None:
        super().__init__(version)
        self.oracle = oracle
        self.connections: list[Connection] = []

    def begin(self, password: str) -> None:
        self.close()
        self.password = ""
        self.connections = [self._connection() for _ in range(CLIENTS + 1)]
        for client in range(CLIENTS + 1):
            self.welcome(client)
        self.connections[OBSERVER].pipeline(
            [
                [b"CLIENT", b"UNPAUSE"],
                [b"FLUSHALL"],
                [b"CONFIG", b"RESETSTAT"],
                [b"SLOWLOG", b"RESET"],
                *_defaults(),
                [b"PING"],
            ]
        )
        (users,) = self.connections[OBSERVER].pipeline([[b"ACL", b"USERS"]])
        gone = [[b"ACL", b"DELUSER", user] for user in users if user != b"default"]
        self.connections[OBSERVER].pipeline([*gone, [b"ACL", b"LOG", b"RESET"], [b"PING"]])
        if password:
            self.connections[OBSERVER].pipeline([[b"CONFIG", b"SET", b"requirepass", password.encode()], [b"PING"]])
            self.password = password
            self.open(0)

    def close(self) -> None:
        if self.connections:
            observer = self.connections[OBSERVER]
            observer.pipeline([[b"CONFIG", b"SET", b"requirepass", b""], *_defaults()])
            for connection in self.connections[:-1]:
                connection.close()
            observer.pipeline([[b"PING"]])
            observer.close()
        self.connections = []

    def open(self, client: int) -> None:
        self.connections[client].close()
        self.connections[client] = self._connection()
        self.welcome(client)

    def _connection(self) -> Connection:
        return Connection("127.0.0.1", self.oracle.port)

    def say(self, client: int, argv: Argv) -> Heard:
        if client == OBSERVER:
            return [[], [], [], self.connections[OBSERVER].pipeline([self.filled_in(argv)])]
        self.connections[client].send(self.filled_in(argv))
        observer_is_gone = False
        try:
            for _ in range(2):
                self.connections[OBSERVER].pipeline([[b"PING"]])
        except (AssertionError, OSError):  # the client has killed it
            observer_is_gone = True
            self.open(OBSERVER)
        heard = [self._heard(connection) for connection in self.connections[:OBSERVER]]
        return [*heard, [CLOSED] if observer_is_gone else []]

    def _heard(self, connection: Connection) -> list[Reply]:
        is_open = connection.read_what_is_there()
        replies, at = [], 0
        while at < len(connection.buffer):
            try:
                reply, at = decode(connection.buffer, at)
            except Incomplete:
                if not is_open or len(connection.buffer) < WRITTEN_AT_ONCE:
                    break  # what is missing will not come: EXEC announces answers that CLIENT REPLY then leaves out
                is_open = connection.read_more()
                continue
            replies.append(reply)
        del connection.buffer[:at]
        return replies if is_open else [*replies, CLOSED]


DEFAULTS: Final = {  # of what stories set
    "acl-pubsub-default": "resetchannels",
    "acllog-max-len": "128",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "maxmemory-samples": "5",
    "slowlog-log-slower-than": "10000",
    "slowlog-max-len": "128",
    "lazyfree-lazy-user-del": "no",
    "hash-max-listpack-entries": "512",
    "hash-max-listpack-value": "64",
    "zset-max-listpack-entries": "128",
    "latency-monitor-threshold": "0",
    "timeout": "0",
    "notify-keyspace-events": "",
}


def _defaults() -> list[Argv]:
    return [[b"CONFIG", b"SET", name.encode(), value.encode()] for name, value in DEFAULTS.items()]


class Difference:
    def __init__(self, at: int, client: int, ours: list[Reply], theirs: list[Reply]) -> None:
        self.at = at
        self.client = client  # who heard something else
        self.ours = ours
        self.theirs = theirs


def steps(family: str, seed: int, version: int, at_replica: bool) -> Iterator[Step]:
    """Endless steps of a family."""
    random = Random(f"{family} {version} {seed}")
    maker = Maker(random)
    lines = lines_of(CONVERSATIONS[family])
    left_out = OF_THE_LEADER.get(family, ()) if at_replica else ()
    syntaxes = [parse(line) for line in lines if not line.startswith(left_out)]
    client = 0
    while True:
        if random.random() < 0.4:
            client = random.randrange(CLIENTS)
        line = maker.line(random.choice(syntaxes))
        if family == "pause" and client == CLIENTS - 1:  # never waits, and lets the others go on
            line = random.choice([[b"CLIENT", b"UNPAUSE"], [b"GET", b"k0"], [b"PING"]])
        if not pauses_all(line) and not is_read_in_part(line) and not waits_too_long(line):
            yield client, line


def converse(ours: NodeParty, theirs: Party, family: str, seed: int, version: int, commands: int) -> str | None:
    """Run that many steps; None if all was the same, else the story of the first difference."""
    source = steps(family, seed, version, ours.at_replica)
    for number in range(-(-commands // ROUND)):
        preface = [(client, line.encode().split()) for client, line in PREFACES.get(family, [])]
        story = preface + [next(source) for _ in range(ROUND)]
        password = PASSWORD if family == "connection" and number % 2 else ""
        difference = play(ours, theirs, story, password)
        if difference is not None:
            story = shrink(ours, theirs, story[: difference.at + 1], password)
            where = f"family {family}, seed {seed}, RESP{version}, round {number}, password {password!r}"
            return report(ours, theirs, story, password, where)
    return None


def play(ours: NodeParty, theirs: Party, story: list[Step], password: str) -> Difference | None:
    """Both sides through a story from its beginning; its first difference."""
    ours.begin(password)
    theirs.begin(password)
    for at, (client, argv) in enumerate(story):
        if ours.sessions[client].waiting:
            continue  # for the end of a pause; who goes on first then, and how far, is open
        queued = ours.queue(client) if is_exec(argv) else []
        heard, told = ours.say(client, argv), theirs.say(client, argv)
        if AT_THE_LEADER_ONLY in repr(heard[client]).encode():
            return None  # from here on the two are set differently
        # 7.0 puts what a client hears of its own EXEC among the replies, which nobody can then count.
        mixes = ours.version == 3 and is_exec(argv) and b"@0__:" in repr(told[client]).encode()
        # A transaction counts as tracked, or not, as a whole; and what hears in place of what is known when it is done.
        is_half_tracked = b"CLIENT TRACKING" in map(name_of, queued)
        if is_half_tracked:
            heard, told = without(b"invalidate", heard), without(b"invalidate", told)
        if any(not is_read(line) for line in queued or [argv]) or is_refused_range(queued or [argv], heard[client]):
            heard, told = without(b"keymiss", heard), without(b"keymiss", told)
        if b"CONFIG SET" in map(name_of, queued) and b"@0__:" in repr((heard, told)).encode():
            continue  # ours tells when the unit is done
        for event in EVENTS_OF_NOTHING:
            if event not in repr(heard).encode():
                told = without(event, told)
        for each in range(CLIENTS):
            if not ((mixes or is_half_tracked) and each == client) and not alike(
                [argv, *queued] if each == client else [], heard[each], told[each]
            ):
                return Difference(at, each, heard[each], told[each])
        breaks_off = b"CLIENT REPLY" in [name_of(line) for line in queued]
        # 7.0 turns tracking on although it has refused prefixes that overlap, and answers twice.
        breaks_off = breaks_off or is_half_tracked or b"another provided prefix" in repr(heard[client]).encode()
        for each in range(CLIENTS + 1):
            if each == OBSERVER:
                if CLOSED in heard[each]:
                    ours.open(each)  # the oracle's is back already
            elif CLOSED in heard[each] or CLOSED in told[each] or (breaks_off and each == client):
                ours.open(each)
                theirs.open(each)
    return None


def alike(lines: list[Argv], ours: list[Reply], theirs: list[Reply]) -> bool:
    """Whether a client heard the same; `lines` is what it said: its command, and behind EXEC what was queued."""
    if lines and is_exec(lines[0]) and not ours and all(_kind_of_push(reply) in SUBSCRIPTIONS for reply in theirs):
        return True  # behind CLIENT REPLY OFF: Redis leaves the announcement out and gives the answers
    ours, theirs = in_settled_order(ours), in_settled_order(theirs)
    if ours == theirs:
        return True
    if b"another provided prefix" in repr(ours).encode():
        return ours == theirs[:1]
    if lines and name_of(lines[0]) in (b"QUIT", b"CLIENT KILL") and (ours, theirs) == ([CLOSED], []):
        return True  # Redis closes a client when its answer is out, and behind CLIENT REPLY OFF never
    queued = lines[1:]
    names = [name_of(argv) for argv in queued]
    if b"CLIENT REPLY" in names:
        return True  # Redis announces answers that it then leaves out: nothing behind them can be read
    if lines and is_exec(lines[0]) and theirs == [CLOSED] == ours[-1:]:
        return True  # Redis says nothing any more to a client that has killed itself
    if theirs[:1] == [UNAUTHENTICATED]:
        return True  # Redis's parser refuses long commands of clients that have not logged in; here is none
    if any(name.endswith(b"SUBSCRIBE") for name in names) and (
        {b"PUBLISH", b"SPUBLISH"} & {*names} or b"@0__:" in repr(ours).encode()
    ):
        return True  # ours delivers when the unit is done, so a subscription made in it hears all of it
    if b"HELLO" in names:
        return True  # Redis writes each answer of EXEC in the protocol of its moment, ours all in the last one
    hears_itself = b"@0__:" in repr(ours).encode() or b"invalidate" in repr(ours).encode()
    if ours and theirs and lines and ({b"PUBLISH", b"SPUBLISH"} & {*map(name_of, lines)} or hears_itself):
        # Who publishes to itself, or hears what its own command did, does so behind the answer from 7.2 on, in 7.0
        # before or within it. And what EXEC at a replica of ours answers is counted at the leader.
        if _told(ours) in (_told(theirs), _told(with_float_texts(theirs))):
            return True
    subscribes = any(name.endswith(b"SUBSCRIBE") for name in names)
    if not lines or not ours or not theirs:
        return False
    if subscribes and isinstance(ours[0], list) and len(ours[0]) != len(names):
        # Redis announces one answer and gives one for each channel; ours announces them all
        return _pushes(ours[0] + ours[1:]) == _pushes([*theirs[0], *theirs[1:]])
    mine, other = ours[0], theirs[0]
    if queued and isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other) == len(queued):
        first = all(same(argv, a, [b]) for argv, a, b in zip(queued, mine, other, strict=True))
    else:
        first = same(lines[0], mine, [other])
    if PLACEHOLDER.search(b" ".join(lines[0])) and is_error(mine) and is_error(other):
        first = re.sub(r"\d+", "", mine.content) == re.sub(r"\d+", "", other.content)  # an id or a port is told
    return first and ours[1:] == theirs[1:]


def pauses_all(argv: Argv) -> bool:
    """A spoilt CLIENT PAUSE … WRITE that would hold the observer of the oracle as well."""
    words = [word.upper() for word in argv]
    return words[:2] == [b"CLIENT", b"PAUSE"] and any(word.isdigit() for word in words) and b"WRITE" not in words[3:4]


def waits_too_long(argv: Argv) -> bool:
    """A timeout that ends after the last time there is, which 7.2 refuses and 7.0 takes."""
    return argv[0].upper() in (b"WAIT", b"CLIENT", b"XREAD", b"XREADGROUP") and b"9223372036854775807" in argv


def is_read_in_part(argv: Argv) -> bool:
    """What 7.0 reads only a part of: a value up to its zero byte, a selector from its last opening parenthesis (7.2: its first)."""
    words = [word.upper() for word in argv[:2]]
    if words == [b"CONFIG", b"SET"]:
        return any(b"\0" in word for word in argv)
    is_open = False
    for word in argv[3:] if words == [b"ACL", b"SETUSER"] else []:
        opens = word.startswith(b"(") and not word.endswith(b")")
        if opens and is_open:
            return True
        is_open = (is_open or opens) and not word.endswith(b")")
    return False


def is_refused_range(lines: list[Argv], ours: list[Reply]) -> bool:
    """A range of bits with a mistake in it: since 7.4 it is read before the key is looked up."""
    return any(name_of(line) in (b"BITCOUNT", b"BITPOS") for line in lines) and "error(" in repr(ours)


def is_read(argv: Argv) -> bool:
    try:
        row = lookup(argv)
    except CommandError:
        return True
    return bool(row.flags & READONLY) and not row.needs_leader


def without(event: bytes, heard: Heard) -> Heard:
    """What is heard but for the messages about an event."""
    return [[reply for reply in replies if event not in repr(reply).encode()] for replies in heard]


def is_exec(argv: Argv) -> bool:
    return argv[0].upper() == b"EXEC"


def in_settled_order(replies: list[Reply]) -> list[Reply]:
    """Redis goes through patterns, and through what a client is to leave, in the order of a hash table."""
    settled: list[Reply] = []
    replies = [without_id(reply) for reply in replies]
    for kind, run in groupby(replies, _kind_of_push):
        pushes = list(run)
        if kind == b"pmessage":
            pushes.sort(key=repr)
        elif kind in (b"unsubscribe", b"punsubscribe", b"sunsubscribe"):
            pushes = [sorted(repr((push.content if isinstance(push, Tagged) else push)[:2]) for push in pushes)]
        settled.extend(pushes)
    return settled


def without_id(reply: Reply) -> Reply:
    """Which connection has gone is told by its id, another one on each side."""
    if isinstance(reply, Tagged) and reply.shape == "push" and reply.content[0] == b"tracking-redir-broken":
        return Tagged("push", [b"tracking-redir-broken", 0])
    return reply


def _told(replies: list[Reply]) -> list[str]:
    """What replies hold, messages and other leaves, in no order and without counts and lines of clients."""
    found: list[str] = []
    for reply in replies:
        if _kind_of_push(reply) is None and isinstance(reply, list):
            found.extend(_told(reply))
        elif type(reply) is not int and "id=" not in repr(reply)[:20]:
            found.append(repr(reply))
    return sorted(found)


def _pushes(replies: list[Reply]) -> list[Reply]:
    return [reply for reply in in_settled_order(replies) if not isinstance(reply, bytes) and _kind_of_push(reply)]


def _kind_of_push(reply: Reply) -> Reply:
    """`message`, `subscribe` and the like; None for another reply."""
    items = reply.content if isinstance(reply, Tagged) and reply.shape == "push" else reply
    return items[0] if isinstance(items, list) and items and (items[0], len(items)) in PUSHES else None


def shrink(ours: NodeParty, theirs: Party, story: list[Step], password: str) -> list[Step]:
    """A shorter story whose last step still differs; the same story if chance had a part in it."""
    runs = 0

    def differs(candidate: list[Step]) -> bool:
        nonlocal runs
        runs += 1
        difference = play(ours, theirs, candidate, password)
        return difference is not None and difference.at == len(candidate) - 1

    if not differs(story):
        return story
    step = max(1, len(story) // 2)
    while runs < SHRINK_RUNS:
        at = 0
        while at < len(story) - 1 and runs < SHRINK_RUNS:
            candidate = story[:at] + story[min(at + step, len(story) - 1) :]
            if differs(candidate):
                story = candidate
            else:
                at += step
        if step == 1:
            break
        step //= 2
    return story


def report(ours: NodeParty, theirs: Party, story: list[Step], password: str, where: str) -> str:
    difference = play(ours, theirs, story, password)
    text = [where, *(f"    {client}> {b' '.join(argv)!r}" for client, argv in story[-40:])]
    if difference is None:
        return "\n".join([*text, "    (differed once, not in a second run)"])
    text.append(f"  client {difference.client} hears")
    return "\n".join([*text, f"  ours:  {difference.ours!r}", f"  redis: {difference.theirs!r}"])
