"""maxmemory-clients: who makes the node hold too much is cut off, the largest first."""

import pytest

from tests.node.stage import Client, Machine, Stage
from upstash_global.node.clientmemory import CLIENT_BYTES, LEAST_LIMIT
from upstash_global.reply import OK, Push

LIMIT = 300_000  # bytes


class Reader(Client):
    """A client that knows what it has not been given yet, and what it has left unread."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.left_bytes = 0

    def unread_bytes(self) -> int:
        return self.left_bytes + sum(len(str(push.items[2])) for push in self.written if isinstance(push, Push))


def fields(client: Client, of: Client | None = None) -> dict[bytes, bytes]:
    """What CLIENT LIST tells of a client."""
    line = client.run(f"CLIENT LIST ID {(of or client).id}").text
    return dict(field.split(b"=", 1) for field in line.split())


def taken(machine: Machine, n_bytes: int) -> Client:
    """A client that holds about so much in a transaction, which is the only thing that it has said so far."""
    client = machine.client()
    client.run("MULTI", "SET k " + "v" * n_bytes)
    return client


def counted(machine: Machine) -> int:
    """The sum that the node keeps, which must be what its sessions say."""
    memory = machine.node.client_memory
    assert memory.used_bytes == sum(session.counted_bytes for session in machine.node.sessions.values())
    return memory.used_bytes


def test_a_command_that_is_too_large_is_not_run_and_its_client_cut_off() -> None:
    stage = Stage()
    admin, client = stage.leader.client(), stage.leader.client()
    admin.run(f"CONFIG SET maxmemory-clients {LIMIT}")
    assert client.run("SET k " + "v" * (LIMIT // 2)) == OK
    assert client.say("SET k " + "v" * LIMIT, "SET k short").take() == []
    assert client.is_cut and not admin.is_cut
    assert admin.run("STRLEN k") == LIMIT // 2
    assert b"evicted_clients:1\r\n" in admin.run("INFO stats").text
    assert admin.run("CONFIG RESETSTAT") == OK
    assert b"evicted_clients:0\r\n" in admin.run("INFO stats").text


def test_the_largest_go_first_and_no_more_than_needed() -> None:
    stage = Stage()
    admin = stage.leader.client()
    small, large, middle = [taken(stage.leader, n_bytes) for n_bytes in (100_000, 400_000, 200_000)]
    admin.run("CONFIG SET maxmemory-clients 320000")
    assert not large.is_cut  # whoever set it hears the answer first
    assert admin.run("PING")
    assert (small.is_cut, middle.is_cut, large.is_cut) == (False, False, True)
    admin.run("CONFIG SET maxmemory-clients 290000")
    stage.pass_ms(20)
    assert (small.is_cut, middle.is_cut) == (False, True)
    assert counted(stage.leader) < 290_000


def test_no_evict_spares_a_client_that_is_counted_all_the_same() -> None:
    stage = Stage()
    admin, spared = stage.leader.client(), stage.leader.client()
    admin.run("CLIENT NO-EVICT ON", f"CONFIG SET maxmemory-clients {LIMIT}")
    spared.run("CLIENT NO-EVICT ON", "MULTI", "SET k " + "v" * LIMIT)
    small = stage.leader.client()
    assert small.say("PING").take() == []
    assert small.is_cut and not spared.is_cut and not admin.is_cut
    spared.run("DISCARD", "CLIENT NO-EVICT OFF")
    assert counted(stage.leader) < LIMIT
    spared.say("MULTI", "SET k " + "v" * LIMIT)
    assert spared.is_cut


@pytest.mark.parametrize(
    "command", ["WATCH {}", "SUBSCRIBE {}", "PSUBSCRIBE {}", "SSUBSCRIBE {}", "CLIENT TRACKING ON BCAST PREFIX {:05}"]
)
def test_names_that_a_client_has_the_node_remember_count(command: str) -> None:
    stage = Stage()
    stage.leader.client().run("CONFIG SET maxmemory-clients 200000")
    client = stage.leader.client()
    client.run("HELLO 3")
    said = 0
    while not client.is_cut and said < 2000:
        client.say(command.format(said))
        said += 1
    assert 500 < said < 1500


def test_what_waits_unread_is_counted_with_the_ticks() -> None:
    stage = Stage()
    stage.leader.client().run(f"CONFIG SET maxmemory-clients {LIMIT}")
    slow = Reader(stage.leader)
    slow.say("SUBSCRIBE news")
    slow.left_bytes = 100_000
    stage.pass_ms(40)
    assert not slow.is_cut and counted(stage.leader) > 100_000
    slow.left_bytes = LIMIT
    stage.pass_ms(40)
    assert slow.is_cut


def test_what_has_left_since_it_was_counted_costs_nobody_the_connection() -> None:
    stage = Stage()
    stage.leader.client().run(f"CONFIG SET maxmemory-clients {LIMIT}")
    readers, writer = [Reader(stage.leader) for _ in range(3)], stage.leader.client()
    for reader in readers:
        reader.say("SUBSCRIBE news").take()
    for _ in range(5):
        writer.run("PUBLISH news " + "m" * (LIMIT // 2))
    assert [len(reader.take()) for reader in readers] == [5, 5, 5]
    assert not any(reader.is_cut for reader in readers)


def test_the_limit_may_be_a_share_of_maxmemory() -> None:
    stage = Stage()
    memory, admin = stage.leader.node.client_memory, stage.leader.client()
    admin.run("CONFIG SET maxmemory-clients 5%")
    assert memory.limit == 0
    admin.run("CONFIG SET maxmemory 10mb")
    assert memory.limit == (10 << 20) * 5 // 100
    admin.run("CONFIG SET maxmemory 1mb")
    assert memory.limit == LEAST_LIMIT  # with less nobody could raise it
    admin.run("CONFIG SET maxmemory-clients 0")
    assert memory.limit == 0 and not stage.leader.node.is_attended


def test_who_has_gone_is_not_counted_any_more() -> None:
    stage = Stage()
    admin = stage.leader.client()
    admin.run(f"CONFIG SET maxmemory-clients {LIMIT}")
    before = counted(stage.leader)
    client = taken(stage.leader, 1000)
    assert counted(stage.leader) > before + CLIENT_BYTES + 1000
    stage.leader.node.close(client)
    assert counted(stage.leader) == before


def test_what_clients_take_is_told_with_or_without_a_limit() -> None:
    client = Stage().leader.client()
    taken(client.machine, 10_000)
    told = dict(line.split(b":") for line in client.run("INFO memory").text.split(b"\r\n") if b":" in line)
    assert 2 * CLIENT_BYTES + 10_000 < int(told[b"mem_clients_normal"]) < 2 * CLIENT_BYTES + 11_000
    assert int(fields(client)[b"tot-mem"]) > CLIENT_BYTES
