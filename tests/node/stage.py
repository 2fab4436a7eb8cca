"""A stage for nodes without sockets: a leader, perhaps a replica, links that lose nothing, a clock that stands still.

    stage = Stage(replica=True)
    client = stage.leader.client()
    assert client.run("SET k v") == OK

Time passes only by `stage.pass_ms`; disks sync at once unless `stage.leader.holds_syncs`.
"""

import shlex
from random import Random
from typing import Any, Final

from upstash_global.node.migrating import Migration
from upstash_global.node.node import Node
from upstash_global.node.session import Session
from upstash_global.node.settings import Peer, Settings
from upstash_global.replication.messages import Cancel, Forward, Message
from upstash_global.replication.storage import MemoryStorage
from upstash_global.reply import Reply

START_MS: Final = 1_700_000_000_000
Argv = list[bytes]


def argv_of(command: str | Argv) -> Argv:
    return [word.encode() for word in shlex.split(command)] if isinstance(command, str) else command


class Client(Session):
    """A connection whose replies, and pushes among them, are kept as values."""

    def __init__(self, machine: "Machine") -> None:
        node = machine.node
        super().__init__(node.next_session_id(), None, f"10.0.0.1:{40_000 + node.last_session_id}", node.local_ms)
        self.machine = machine
        self.written: list[Reply] = []
        self.replies: list[Reply] = []  # all that were released and not taken
        self.is_cut = False
        node.open(self)

    def write(self, reply: Reply) -> None:
        self.written.append(reply)

    def take_output(self) -> Any:
        written, self.written = self.written, []
        return written or None

    def send(self, output: Any) -> None:
        if output is None:
            self.is_cut = True
        else:
            self.replies.extend(output)

    def say(self, *commands: str | Argv) -> "Client":
        """Send commands in one turn."""
        self.machine.node.handle(self, [argv_of(command) for command in commands], self.machine.stage.now_ms)
        self.machine.stage.settle()
        return self

    def take(self) -> list[Reply]:
        """The replies since the last call."""
        replies, self.replies = self.replies, []
        return replies

    def run(self, *commands: str | Argv) -> Reply:
        """Send commands in one turn; the last reply."""
        replies = self.say(*commands).take()
        assert replies, f"{commands[-1]!r} was not answered"
        return replies[-1]


class Machine:
    def __init__(self, stage: "Stage", settings: Settings) -> None:
        self.stage = stage
        self.storage = MemoryStorage()
        self.holds_syncs = False
        self.holds_snapshots = False  # one that is written is not finished
        self.node = Node(settings, self.storage, Random(1), f"{settings.name}.1", lambda: 0)
        self.node.set_clock(stage.now_ms)
        self.node.restore(self.storage.recover())
        self.log: list[Argv] = []  # the commands of every entry that was persisted
        self.migrations: list[Migration] = []  # that wait for a test to play their targets

    def client(self) -> Client:
        return Client(self)

    def sync(self) -> None:
        """Everything written so far is on disk."""
        self.node.persisted(self.storage.sync())
        self.stage.settle()

    def turn(self) -> list[tuple[str, Message]]:
        """Carry out what the node wants; its messages."""
        outbox = self.node.take_outbox()
        self.storage.append(outbox.records)
        for session, output in outbox.released:
            session.send(output)
        self.migrations.extend(outbox.migrations)
        if outbox.finish_snapshot and not self.holds_snapshots:
            self.node.snapshots.finished(self.storage.finish_snapshot())
        if outbox.must_sync and not self.holds_syncs:
            self.node.persisted(self.storage.sync())
            return outbox.messages + self.turn()
        return outbox.messages


class Stage:
    def __init__(self, replica: bool = False, now_ms: int = START_MS, **settings: Any) -> None:
        self.now_ms = now_ms
        self.is_linked = True
        self.is_following = True  # the replica hears of entries
        names = ["leader", "replica"] if replica else ["leader"]
        peers = [Peer(name, "us-east-1", i, resp=f"127.0.0.1:{7000 + i}") for i, name in enumerate(names)]
        self.machines: dict[str, Machine] = {}
        for name in names:
            each = Settings(name, peers, "test", "leader")
            each.failed_login_delay_ms = 0
            for field, value in settings.items():
                assert hasattr(each, field), f"there is no setting {field}"
                setattr(each, field, value)
            machine = self.machines[name] = Machine(self, each)
            machine.node.roles.start([other.node.status() for other in self.machines.values() if other is not machine])
            self.settle()
        if replica:
            self.replica = self.machines["replica"]
            self.link()
        self.leader = self.machines["leader"]
        self.pass_ms(20)

    def link(self) -> None:
        self.is_linked = True
        self.replica.node.follow_connected("leader", self.now_ms)
        self.replica.node.forward_connected("leader", self.now_ms)
        self.settle()

    def cut(self) -> None:
        """Messages between the nodes are lost from now on; nobody is told."""
        self.is_linked = False

    def hold_entries(self) -> None:
        """The replica hears of nothing new; what it forwards is still answered."""
        self.is_following = False

    def settle(self) -> None:
        """Turns and messages until all is quiet."""
        busy = True
        while busy:
            busy = False
            for machine in self.machines.values():
                for peer, message in machine.turn():
                    busy = True
                    if self.is_linked:
                        self.deliver(machine, peer, message)

    def deliver(self, sender: Machine, peer: str, message: Message) -> None:
        """A replica names the leader, the leader one of the two streams that the replica opened."""
        if peer == "replica/follow" and not self.is_following:
            return
        if peer == "leader":
            stream = "replica/forward" if isinstance(message, (Forward, Cancel)) else "replica/follow"
            self.machines["leader"].node.receive(stream, message, self.now_ms)
        else:
            self.machines["replica"].node.receive("leader", message, self.now_ms)

    def pass_ms(self, ms: int) -> None:
        """Let time pass, in ticks of 20 ms."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + 20)
            for machine in self.machines.values():
                machine.node.tick(self.now_ms)
            self.settle()
