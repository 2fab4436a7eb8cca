"""Stories of a client that moves and writes all the time, with `session; scope=key`."""

from tests.simulation.network import Connection
from tests.simulation.simcluster import SimCluster, SimNode
from upstash_global.node.scope import after
from upstash_global.protocol.consistency import SESSION, Consistency
from upstash_global.protocol.tokens import SyncToken
from upstash_global.replication.messages import Message
from upstash_global.reply import OK, Reply


class Traveller:
    """A REST client that asks for `session; scope=key` and takes its token from node to node."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.token = SyncToken(0, 0)

    def ask(self, machine: SimNode, command: str) -> tuple[Reply, int]:
        """The reply to one command, and after how many milliseconds it came."""
        node = machine.up()
        session = machine.client()
        seen = node.log.history.locate(self.token.epoch, self.token.newest_lsn)
        session.ask(Consistency(SESSION, is_scoped=True), seen, self.token)
        began_ms = self.cluster.now_ms
        machine.send(session, command)
        while not session.replies:
            self.cluster.step()
        assert session.scope is not None
        self.token = after(session.scope, node, [command.encode().split()], session.served)
        machine.hang_up(session)
        return session.replies[0], self.cluster.now_ms - began_ms


def far_apart(seed: int) -> SimCluster:
    """Paulo hears of everything half a second late."""
    cluster = SimCluster(seed=seed, regions=["us-west-2", "sa-east-1"])
    cluster.settle()
    cluster.leader.run("MSET a 0 b old")
    cluster.settle()
    carry = cluster.network.carry

    def carry_late(connection: Connection, sender: SimNode, message: Message) -> None:
        is_late = connection.kind == "follow" and connection.source is cluster["sa-east-1"] and sender is cluster.leader
        cluster.after(500 if is_late else 0, lambda: carry(connection, sender, message))

    cluster.network.carry = carry_late  # type: ignore[method-assign]
    return cluster


def test_one_who_writes_all_the_time_reads_other_keys_elsewhere_at_once() -> None:
    """A client writes `a` at one replica and reads `b` at another that is far behind: never a wait, never a forward."""
    cluster = far_apart(seed=41)
    west, paulo = cluster["us-west-2"], cluster["sa-east-1"]
    client = Traveller(cluster)
    n_behind = 0
    for n in range(50):
        assert client.ask(west, f"SET a {n}")[0] is OK
        n_behind += not paulo.up().covers(west.up().log.head)
        assert client.ask(paulo, "GET b") == (b"old", 0)
    assert n_behind == 50 and paulo.up().forwarding.n_forwarded == 0
    reply, waited_ms = client.ask(paulo, "GET a")
    assert reply == b"49" and waited_ms > 100
    assert client.ask(paulo, "SCAN 0")[0] != [b"0", []]


def test_with_the_whole_position_the_same_client_waits_for_its_writes() -> None:
    cluster = far_apart(seed=41)
    west, paulo = cluster["us-west-2"], cluster["sa-east-1"]
    client = Traveller(cluster)
    for n in range(5):
        assert client.ask(west, f"SET a {n}")[0] is OK
        client.token = SyncToken(client.token.epoch, client.token.newest_lsn)
        reply, waited_ms = client.ask(paulo, "GET b")
        assert reply == b"old" and waited_ms > 100


def test_what_was_read_of_a_key_survives_a_switchover() -> None:
    cluster = far_apart(seed=43)
    west, paulo = cluster["us-west-2"], cluster["sa-east-1"]
    client = Traveller(cluster)
    client.ask(west, "SET a 1")
    epoch = client.token.epoch
    cluster.leader.up().roles.switch("us-west-2")
    cluster.leader.turn()
    cluster.run_for(3_000)
    cluster.settle()
    assert client.ask(paulo, "GET b") == (b"old", 0)
    assert client.token.epoch > epoch and len(client.token.keys) == 2
    client.ask(west, "SET a 2")
    assert client.ask(paulo, "GET b") == (b"old", 0)
    assert client.ask(paulo, "GET a")[0] == b"2"
