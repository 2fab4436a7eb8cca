"""A random program: a cluster with a bad network, clients of all kinds, and one misfortune after the other.

Everything follows from the seed. After the misfortunes all is healed, the cluster has to settle, and the ledger and the
clients say whether what they were told was true.
"""

from random import Random

from tests.simulation.clients import (
    Anything,
    Appending,
    Caching,
    Client,
    Counting,
    Listening,
    Publishing,
    Reading,
    ReadingByKey,
    Waiting,
)
from tests.simulation.simcluster import REGIONS, BestCase, SimCluster, SimNode
from upstash_global.errors import CommandError
from upstash_global.node.settings import Settings

CHAOS_MS = 2_500
SETTLE_MS = 60_000


class Program:
    def __init__(self, seed: int) -> None:
        random = self.random = Random(f"program {seed}")
        self.is_lossy = random.random() < 0.8
        self.is_small = random.random() < 0.5  # backlog and snapshots: log files and full resyncs are used
        self.switches = random.random() < 0.4
        self.promotes = random.random() < 0.3
        self.flushes = random.random() < 0.15
        self.max_staleness_ms = random.choice([0, 0, 1_500])
        self.chaos_is_over = True
        self.was_forced = False  # somebody was promoted by force
        cluster = self.cluster = SimCluster(
            seed,
            fsync=random.choice(["always", "everysec", "no"]),
            loss=0.1 if self.is_lossy else 0.0,
            max_delay_ms=random.choice([20, 60, 150]),
            backlog_entries=20 if self.is_small else 100_000,
            snapshot_bytes=3_000 if self.is_small else 64 << 20,
            chunk_bytes=random.choice([1_500, 256 << 10]),
            regions=random.sample(REGIONS, random.choice([1, 2, 3, 5, 5])),
            configure=self.configure,
            skews_ms=[random.choice([0, -3_000, 250, 2_000]) for _ in range(6)],
        )
        cluster.tick_ms = 40
        cluster.sync_ms = random.choice([1, 5, 30])
        cluster.network.notice_ms = random.choice([1, 200, 1_000])
        self.machines = list(cluster.nodes.values())
        self.clients: list[Client] = []

    def configure(self, settings: Settings) -> None:
        """Shorter patience than in production, so that little virtual time shows much."""
        settings.silence_ms = 1_500
        settings.forward_timeout_ms = 1_500
        settings.switchover_ms = 1_500
        settings.sync_wait_ms = 300
        settings.check_ms = 60
        settings.max_staleness_ms = self.max_staleness_ms

    def run(self) -> None:
        cluster, random = self.cluster, self.random
        cluster.settle(10_000)
        self.send_clients()
        self.chaos_is_over = False
        self.strike()
        end_ms = cluster.now_ms + CHAOS_MS
        while cluster.now_ms < end_ms:
            cluster.run_for(100)
            self.check_patience()
        self.chaos_is_over = True
        self.make_good()
        cluster.run_for(random.randint(1, 1_000))
        for client in self.clients:
            client.is_over = True
        cluster.settle(SETTLE_MS)
        self.check_patience()
        self.check()

    def send_clients(self) -> None:
        cluster = self.cluster
        for machine in self.machines:
            self.clients.append(Anything(cluster, machine, Random(self.random.random()), self.flushes))
            self.clients.append(Reading(cluster, machine, Random(self.random.random()), travels=False))
            self.clients.append(Counting(cluster, machine, Random(self.random.random())))
            self.clients.append(Appending(cluster, machine, Random(self.random.random())))
            self.clients.append(Listening(cluster, machine, Random(self.random.random())))
            self.clients.append(Caching(cluster, machine, Random(self.random.random())))
        for kind in (Publishing, Waiting):
            for machine in self.random.sample(self.machines, min(2, len(self.machines))):
                self.clients.append(kind(cluster, machine, Random(self.random.random())))
        for _ in range(2):
            machine = self.random.choice(self.machines)
            self.clients.append(Reading(cluster, machine, Random(self.random.random()), travels=True))
            machine = self.random.choice(self.machines)
            self.clients.append(ReadingByKey(cluster, machine, Random(self.random.random())))

    def check_patience(self) -> None:
        for client in self.clients:
            client.check_patience()

    # -- misfortunes --------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """Let something happen now, and again a little later."""
        if self.chaos_is_over:
            return
        fates = [self.crash, self.crash, self.isolate, self.part, self.part]
        if self.switches:
            fates += [self.switch, self.switch]
        if self.promotes:
            fates.append(self.promote)
        self.random.choice(fates)()
        self.cluster.after(self.random.randint(50, 900), self.strike)

    def crash(self) -> None:
        machine = self.random.choice([self.machines[0], *self.machines])
        if not machine.is_up:
            return
        is_killed = self.random.random() < 0.4
        self.cluster.note(f"{machine.name} {'is killed' if is_killed else 'loses power'}", "crash")
        machine.crash(BestCase() if is_killed else None)
        self.cluster.after(self.random.choice([30, 500, 2_500]), lambda: self.restart(machine))

    def restart(self, machine: SimNode) -> None:
        if not machine.is_up:
            self.cluster.note(f"{machine.name} starts")
            machine.start()

    def isolate(self) -> None:
        machine = self.random.choice([self.machines[0], *self.machines])
        silently = self.random.random() < 0.5
        self.cluster.note(f"{machine.name} is cut off{' silently' if silently else ''}", "isolate")
        self.cluster.cut(machine.name, silently)
        self.cluster.after(self.random.choice([50, 600, 3_000]), lambda: self.cluster.heal(machine.name))

    def part(self) -> None:
        one, other = self.random.sample([machine.name for machine in self.machines], 2)
        silently = self.random.random() < 0.5
        self.cluster.note(f"{one} and {other} are cut apart{' silently' if silently else ''}", "part")
        self.cluster.network.cut(one, other, silently)
        self.cluster.after(self.random.choice([50, 600, 3_000]), lambda: self.cluster.network.heal(one, other))

    def switch(self) -> None:
        leading = [machine for machine in self.machines if machine.is_up and machine.up().is_leader]
        if not leading:
            return
        leader = self.random.choice(leading)
        target = self.random.choice(self.machines)
        try:
            leader.up().roles.switch(target.name)
        except CommandError:
            return
        self.cluster.note(f"{leader.name} is told to hand over to {target.name}", "switch")
        leader.turn()

    def promote(self) -> None:
        machine = self.random.choice(self.machines)
        if not machine.is_up or machine.up().is_leader:
            return
        roles = machine.up().roles
        if not roles.has_data or roles.follower.broken:
            return
        self.cluster.note(f"{machine.name} is promoted by force", "promote")
        self.was_forced = True
        machine.up().set_clock(machine.now_ms)
        roles.promote(True)
        machine.turn()

    def make_good(self) -> None:
        for machine in self.machines:
            self.cluster.heal(machine.name)
            self.restart(machine)
        self.cluster.note("all is healed")

    # -- afterwards ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        cluster = self.cluster
        for machine in self.machines:
            if machine.up().roles.follower.n_checks:
                cluster.note("", "checked")
        cluster.ledger.check_disks()
        for client in self.clients:
            if isinstance(client, (Listening, Caching)):
                client.check()
        cluster.ledger.check_outcomes(self.was_forced)
        if self.flushes:
            return
        for client in self.clients:
            if isinstance(client, Reading):
                client.check()
            elif isinstance(client, Counting):
                final = self.value(client.key)
                client.check(int(final or b"0"), self.was_forced or cluster.fsync != "always")
        history = cluster.leader.up().log.history
        kept = [
            (position.lsn, mark)
            for mark, positions in cluster.ledger.marks.items()
            for position in positions
            if history.contains(position)
        ]
        elements = list(cluster.leader.up().engine.keyspace.values.get(Appending.KEYS[0], []))
        in_list = set(elements)
        if elements != [mark for _, mark in sorted(kept) if mark in in_list]:
            cluster.broken("the list does not hold what was logged for it, in order")
        if len(elements) != int(self.value(Appending.KEYS[1]) or b"0"):
            cluster.broken(f"{len(elements)} elements were appended, the count is {self.value(Appending.KEYS[1])!r}")

    def value(self, key: bytes) -> bytes | None:
        value = self.cluster.leader.up().engine.keyspace.values.get(key)
        return None if value is None else bytes(value)


def run_program(seed: int) -> dict[str, int]:
    """Run the program of a seed; what happened in it, by name. Raises Broken."""
    program = Program(seed)
    program.run()
    return program.cluster.tally
