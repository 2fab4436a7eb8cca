"""The two sides of the comparison, behind one small interface: `run` a pipeline, `scan` to the end, `reset`.

`Oracle` is a redis-server of its own. Ours is either `EngineSide`, an engine in this process whose replies go through
our RESP encoder, or `ServerSide`, a node that somebody else has started.
"""

import random
import shutil
import subprocess
import time
from pathlib import Path
from threading import Thread
from typing import IO, Final

from librt.strings import BytesWriter

import upstash_global.engine.commands  # noqa: F401  (fills the table)
from tests.differential.wire import Connection, Reply, Tagged, decode
from tests.node.stage import Stage
from tests.ports import free_port
from upstash_global.engine.dump import digest
from upstash_global.engine.encodings import Limits
from upstash_global.engine.engine import Engine
from upstash_global.engine.table import TABLE, find_row
from upstash_global.errors import Divergence
from upstash_global.protocol.resp import encode

Argv = list[bytes]
SCANS: Final = (b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN")


class Side:
    def run(self, lines: list[Argv]) -> list[Reply]:
        """The decoded replies to a pipeline."""
        raise NotImplementedError

    def reset(self) -> None:
        """Begin with an empty keyspace."""
        raise NotImplementedError

    def set_limit(self, name: str, value: int) -> None:
        """CONFIG SET of a threshold, named as in encodings.Limits."""
        reply = self.run([[b"CONFIG", b"SET", name.replace("_", "-").encode(), b"%d" % value]])[0]
        assert reply == Tagged("simple", b"OK"), reply

    def has(self, command: list[str]) -> bool:
        """Whether this side knows `["OBJECT", "ENCODING"]`."""
        return True

    def close(self) -> None:
        """Let go of what the side holds."""

    def scan(self, argv: Argv) -> Reply:
        """All items of a SCAN that is driven to its end, or its first reply if that is no cursor and items."""
        at = 1 if argv[0].upper() == b"SCAN" else 2
        items: list[Reply] = []
        line = list(argv)
        while True:
            reply = self.run([line])[0]
            if not isinstance(reply, list):
                return reply
            items.extend(reply[1])
            if reply[0] == b"0":
                return Tagged("scan", items)
            line[at] = reply[0]


class ServerSide(Side):
    def __init__(self, host: str, port: int, version: int, password: str = "") -> None:
        self.connection = Connection(host, port)
        auth = [b"AUTH", b"default", password.encode()] if password else []
        self.connection.pipeline([[b"HELLO", b"%d" % version, *auth]])

    def run(self, lines: list[Argv]) -> list[Reply]:
        return self.connection.pipeline(lines)

    def reset(self) -> None:
        self.run([[b"FLUSHALL"], [b"SCRIPT", b"FLUSH"], [b"FUNCTION", b"FLUSH"]])

    def close(self) -> None:
        self.connection.close()


def server_side(address: str, version: int) -> ServerSide:
    """A connection to `host:port` or `host:port:password`."""
    host, port, *password = address.split(":", 2)
    return ServerSide(host, int(port), version, *password)


class EngineSide(Side):
    """Our engine and its RESP encoder, without a node; a second engine replays every entry.

    Breaking a rule of the log is a reply too, one that equals nothing: an entry that its own replay does not give again,
    and, with `checks_every_line`, a state that the replay does not reach.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.checks_every_line = False
        self.limits: dict[str, int] = {}  # that were changed
        self.reset()

    def reset(self) -> None:
        self.engine = Engine(random.Random(1))
        self.replica = Engine(random.Random(2))
        for name, value in self.limits.items():
            self.set_limit(name, value)

    def set_limit(self, name: str, value: int) -> None:
        self.limits[name] = value
        for engine in (self.engine, self.replica):
            setattr(engine.context.limits, name, value)

    def has(self, command: list[str]) -> bool:
        row = TABLE.get(command[0].encode())
        if row is not None and len(command) > 1:
            row = row.subcommands.get(command[1].encode())
        return row is not None and row.handler is not None

    def run(self, lines: list[Argv]) -> list[Reply]:
        return [self._run(argv) for argv in lines]

    def _run(self, argv: Argv) -> Reply:
        now_ms = int(time.time() * 1000)
        reply, effects = self.engine.run(argv, now_ms)
        if effects is not None:
            try:
                again = self.replica.apply(effects.commands, now_ms)
            except Divergence as fault:
                return Tagged("fault", f"logged as {effects.commands}, whose replay failed: {fault}")
            if again.commands != effects.commands:
                return Tagged("fault", f"logged as {effects.commands}, replayed as {again.commands}")
        writer = BytesWriter()
        encode(writer, reply, self.version)
        out = writer.getvalue()
        decoded, end = decode(out, 0)
        assert end == len(out), f"{argv} was answered with more than one reply: {out!r}"
        if self.checks_every_line and not self.replica_agrees():
            return Tagged("fault", f"the replay of {effects.commands if effects else []} gives another state")
        return decoded

    def replica_agrees(self) -> bool:
        return digest(self.engine.keyspace) == digest(self.replica.keyspace)


class NodeSide(Side):
    """A node in this process and one client of it, without sockets; its replies go through our RESP encoder.

    At a replica, what changes something is forwarded to the leader beside it, and comes back in the log.
    """

    def __init__(self, version: int, at_replica: bool = False) -> None:
        self.version = version
        self.stage = Stage(replica=at_replica, now_ms=int(time.time() * 1000), failed_logins_per_minute=0)
        self.client = (self.stage.replica if at_replica else self.stage.leader).client()

    def run(self, lines: list[Argv]) -> list[Reply]:
        replies = self.client.say(*lines).take()
        assert len(replies) == len(lines)
        decoded = []
        for reply in replies:
            out = BytesWriter()
            encode(out, reply, self.version)
            decoded.append(decode(out.getvalue(), 0)[0])
        return decoded

    def reset(self) -> None:
        self.run([[b"FLUSHALL"]])

    def has(self, command: list[str]) -> bool:
        return find_row([word.encode() for word in command]) is not None


def _read_on(log: IO[str]) -> None:
    """What it warns of would fill the pipe in an hour, and then it would wait for ever to say more."""
    for _ in log:
        pass


class Oracle:
    """A redis-server on a free loopback port, for as long as the `with` block lasts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @staticmethod
    def binary() -> str | None:
        return shutil.which("redis-server")

    def __enter__(self) -> "Oracle":
        binary = self.binary()
        assert binary is not None
        for _ in range(3):
            self.port = free_port()
            self.process = subprocess.Popen(
                [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", str(self.directory), "--enable-debug-command", "yes", "--daemonize", "no", "--loglevel", "notice"],
                stdout=subprocess.PIPE, text=True, env={"LC_ALL": "C"},
            )  # fmt: skip
            assert self.process.stdout is not None
            for line in self.process.stdout:
                if "Ready to accept connections" in line:
                    self.reader = Thread(target=_read_on, args=[self.process.stdout])
                    self.reader.start()
                    return self
            self.process.wait()  # another process took the port first
        raise RuntimeError("redis-server does not start")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def connect(self, version: int) -> ServerSide:
        return ServerSide("127.0.0.1", self.port, version)


class SmallLimits:
    """Thresholds of the encodings low enough to be crossed all the time, on both sides; the defaults return at the end."""

    VALUES: Final = {
        "hash_max_listpack_entries": 6,
        "hash_max_listpack_value": 20,
        "set_max_intset_entries": 6,
        "zset_max_listpack_entries": 6,
        "zset_max_listpack_value": 20,
    }

    def __init__(self, *sides: Side) -> None:
        self.sides = sides

    def __enter__(self) -> None:
        self._set(self.VALUES)

    def __exit__(self, *_: object) -> None:
        defaults = Limits()
        self._set({name: getattr(defaults, name) for name in self.VALUES})

    def _set(self, values: dict[str, int]) -> None:
        for side in self.sides:
            for name, value in values.items():
                side.set_limit(name, value)
