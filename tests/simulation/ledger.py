"""The ledger: everything that was logged, made durable, lost and answered, and what must hold for it at any moment.

    one total order            two nodes never have different entries at one position, and every entry can be applied
    equal digests              equal positions mean equal states
    one leader per epoch
    positions only grow        except by a rewind or a full resync, which the node counts
    the disk is the log        what a node has in memory, its disk has got; what it takes for durable, is
    persist, then send         with fsync=always nobody applies, and no client is answered, what its leader may still lose
    at most once               no command of a Forward stands twice in one history
    everysec                   a leader's crash takes at most its last second, and nothing that a peer in reach has

Writes that clients want to be followed carry a mark, an argument of its own like `!17`, which no other write has.
"""

from typing import TYPE_CHECKING

from upstash_global.node.node import Node
from upstash_global.replication.codec import EPOCH, Entry, decode_records
from upstash_global.replication.position import Position, epoch_parts
from upstash_global.replication.snapshot import read_header

if TYPE_CHECKING:
    from tests.simulation.simcluster import SimCluster, SimNode

DIGEST_EVERY = 5  # entries

ACKED = "acked"
REFUSED = "refused"  # an error that says: not executed
UNKNOWN = "unknown"  # an error that says so, or a connection that was cut


class Ledger:
    def __init__(self, cluster: "SimCluster") -> None:
        self.cluster = cluster
        self.crcs: dict[Position, int] = {}  # of the entry that every node must have there
        self.digests: dict[Position, str] = {}
        self.leaders: dict[int, str] = {}  # epoch → the one node that led it
        self.reigns: set[tuple[str, int]] = set()  # (node, term) that was led
        self.led_ms: dict[str, int] = {}  # node → when it began to lead last
        self.heads: dict[str, tuple[Position, int]] = {}  # node → its head when last seen, and how often it went back
        self.loggers: dict[Position, tuple[str, int]] = {}  # who logged the entry, and when
        self.durable: set[Position] = set()  # on the disk of who logged it
        self.durable_lsns: dict[str, int] = {}  # up to where that was noted
        self.lost: dict[Position, list[tuple[str, int]]] = {}  # in which crashes, and when
        self.in_reach: dict[str, dict[str, Position]] = {}  # node → heads of the peers it reached when it started
        self.forwards: dict[tuple[object, ...], list[Position]] = {}  # a command of a Forward → where it was logged
        self.marks: dict[bytes, list[Position]] = {}  # a marked write → where it was logged
        self.n_marks = 0
        self.spoiled: set[str] = set()  # nodes whose state a story has changed behind their backs
        self.outcomes: dict[bytes, str] = {}

    # -- marked writes ------------------------------------------------------------------------------------------

    def mark(self) -> bytes:
        self.n_marks += 1
        return b"!%d" % self.n_marks

    def answered(self, mark: bytes, outcome: str) -> None:
        """A client was told what became of its write, or that nobody knows."""
        self.outcomes[mark] = outcome
        if outcome == ACKED:
            positions = self.marks.get(mark, [])
            if not positions:
                self.cluster.broken(f"write {mark!r} was acked and never logged")
            if self.cluster.fsync == "always" and not any(each in self.durable for each in positions):
                self.cluster.broken(f"write {mark!r} at {positions} was acked before it was on its leader's disk")

    # -- what the nodes do --------------------------------------------------------------------------------------

    def logged(self, machine: "SimNode", entry: Entry) -> None:
        position = entry.position
        self.loggers[position] = (machine.name, self.cluster.now_ms)
        for argv in entry.commands:
            if argv[-1][:1] == b"!":
                self.marks.setdefault(argv[-1], []).append(position)
        attributes = entry.attributes
        if "o" in attributes:
            key = (attributes["o"], attributes["b"], attributes["s"], attributes["q"], attributes["i"])
            history = machine.up().log.history
            for earlier in self.forwards.setdefault(key, []):
                if history.contains(earlier):
                    self.cluster.broken(f"{entry.commands} of Forward {key} ran at {earlier} and again at {position}")
            self.forwards[key].append(position)

    def applied(self, machine: "SimNode", entry: Entry) -> None:
        if self.cluster.fsync == "always" and entry.kind != EPOCH and entry.position not in self.durable:
            self.cluster.broken(f"{machine.name} has {entry.position}, which is not on its leader's disk yet")

    def started(self, machine: "SimNode") -> None:
        """A node has recovered what its disk holds and is about to take a role."""
        self.heads.pop(machine.name, None)
        self.durable_lsns.pop(machine.name, None)
        self.in_reach[machine.name] = {
            other.name: other.up().log.head
            for other in self.cluster.nodes.values()
            if other is not machine and self.cluster.network.can_talk(machine, other)
        }

    def crashed(self, machine: "SimNode", lost_records: list[bytes]) -> None:
        now_ms = self.cluster.now_ms
        for entry in decode_records(b"".join(lost_records))[0]:
            self.lost.setdefault(entry.position, []).append((machine.name, now_ms))
            logger, logged_ms = self.loggers.get(entry.position, ("", now_ms))
            age_ms = now_ms - logged_ms
            if (
                logger == machine.name
                and self.cluster.fsync == "everysec"
                and age_ms > 1_000 + 2 * self.cluster.sync_ms
            ):
                self.cluster.broken(
                    f"{machine.name} lost {entry.position}, which it logged {age_ms} ms before it crashed"
                )

    # -- with every turn ----------------------------------------------------------------------------------------

    def check(self, machine: "SimNode") -> None:
        node = machine.up()
        name = machine.name
        if node.is_leader:
            self._check_leader(machine)
        if node.durable_lsn > machine.storage.durable_lsn:
            self.cluster.broken(
                f"{name} takes LSN {node.durable_lsn} for durable, its disk has {machine.storage.durable_lsn}"
            )
        head = node.log.head
        if machine.storage.head_lsn != head.lsn and not node.roles.follower.broken:
            self.cluster.broken(f"{name} is at {head}, its disk at LSN {machine.storage.head_lsn}")
        follower = node.roles.follower
        if follower.n_divergences + follower.n_mismatches and name not in self.spoiled:
            self.cluster.broken(f"{name} found that it differs, at {head}: {follower.broken_by}")
        self._note_durable(machine)
        n_back = node.events.counts.get("rewound", 0) + node.metrics.n_full_resyncs
        before, n_back_before = self.heads.get(name, (head, n_back))
        if name in self.heads and before == head:
            return
        self.heads[name] = (head, n_back)
        if not head.lsn:
            return
        if n_back == n_back_before and before.lsn and not node.log.history.contains(before):
            self.cluster.broken(f"{name} went from {before} to {head} without a rewind")
        if self.crcs.setdefault(head, node.log.head_crc) != node.log.head_crc:
            self.cluster.broken(f"{name} has another entry at {head} than others")
        if head.lsn % DIGEST_EVERY == 0 and name not in self.spoiled:
            self.check_digest(node)

    def check_digest(self, node: Node) -> None:
        head = node.log.head
        digest = node.digest()
        if self.digests.setdefault(head, digest) != digest:
            self.cluster.broken(f"{node.settings.name} has another state at {head} than others")

    def _check_leader(self, machine: "SimNode") -> None:
        name, epoch = machine.name, machine.up().roles.epoch
        if epoch in self.leaders:
            if self.leaders[epoch] != name:
                self.cluster.broken(f"{name} and {self.leaders[epoch]} both lead epoch {epoch}")
            return
        self.leaders[epoch] = name
        reign = (name, epoch_parts(epoch)[0])
        if reign in self.reigns:
            self._check_taken_back(machine)
        self.reigns.add(reign)
        self.led_ms[name] = self.cluster.now_ms

    def _check_taken_back(self, machine: "SimNode") -> None:
        """A leader that goes on after a crash must have asked its peers for what it lost since it led last.

        What it lost before that it was out of reach for, and another reign of its own stands there now.
        """
        mine = machine.up().log.history
        for name, head in self.in_reach[machine.name].items():
            other = self.cluster.nodes[name]
            if not other.is_up or not self.cluster.network.can_talk(machine, other):
                continue
            if max(self.cluster.network.changed_ms, other.started_ms) >= machine.started_ms:
                continue
            for position, crashes in self.lost.items():
                loser, lost_ms = crashes[-1]
                is_lost = loser == machine.name and lost_ms >= self.led_ms.get(loser, 0) and not mine.contains(position)
                if is_lost and position.lsn <= head.lsn and other.up().log.history.contains(position):
                    self.cluster.broken(f"{machine.name} leads again without {position}, which {name} has")

    def _note_durable(self, machine: "SimNode") -> None:
        durable_lsn = machine.storage.durable_lsn
        noted_lsn = min(self.durable_lsns.get(machine.name, 0), durable_lsn)
        history = machine.up().log.history
        for lsn in range(noted_lsn + 1, durable_lsn + 1):
            position = history.position_at(lsn)
            if self.loggers.get(position, ("", 0))[0] == machine.name:
                self.durable.add(position)
        self.durable_lsns[machine.name] = durable_lsn

    # -- at the end ---------------------------------------------------------------------------------------------

    def check_outcomes(self, was_forced: bool) -> None:
        """The cluster has settled: what clients were told about their writes is what became of them."""
        cluster = self.cluster
        history = cluster.leader.up().log.history
        aside = self._set_aside()
        for mark, outcome in self.outcomes.items():
            positions = self.marks.get(mark, [])
            kept = [each for each in positions if history.contains(each)]
            if len(kept) > 1:
                cluster.broken(f"write {mark!r} stands twice in the log: {kept}")
            if outcome == REFUSED and kept:
                cluster.broken(f"write {mark!r} was refused and stands at {kept}")
            if outcome != ACKED or kept:
                continue
            if (
                not was_forced
                and cluster.fsync == "always"
                and not all(self._was_superseded(each) for each in positions)
            ):
                cluster.broken(f"acked write {mark!r} at {positions} is lost, and nobody was promoted by force")
            if any(each in aside for each in positions):
                cluster.note(f"acked write {mark!r} was put aside", "acked-put-aside")
            elif cluster.fsync != "always" and any(each in self.lost for each in positions):
                cluster.note(f"acked write {mark!r} was lost in a crash", "acked-lost")
            else:
                cluster.broken(f"acked write {mark!r} at {positions} is lost, and was put aside nowhere")

    def _was_superseded(self, position: Position) -> bool:
        """Whether a higher term had been led before the epoch of this entry began: a leader that restarts out of reach."""
        term = epoch_parts(position.epoch)[0]
        for epoch in self.leaders:  # in the order in which they began
            if epoch == position.epoch:
                return False
            if epoch_parts(epoch)[0] > term:
                return True
        return False

    def _set_aside(self) -> set[Position]:
        aside: set[Position] = set()
        for machine in self.cluster.nodes.values():
            for records in machine.storage.set_aside_logs.values():
                aside.update(entry.position for entry in decode_records(b"".join(records))[0])
            for data in machine.storage.set_aside_snapshots.values():
                header = read_header(data)
                aside.update(header.history.position_at(lsn) for lsn in range(1, header.position.lsn + 1))
        return aside

    def check_disks(self) -> None:
        """What every disk holds is what its node holds."""
        for machine in self.cluster.nodes.values():
            restored = machine.make_node()
            node = machine.up()
            if restored.log.head != node.log.head or restored.digest() != node.digest():
                self.cluster.broken(f"{machine.name}'s disk holds {restored.log.head}, and not what its node has")
