"""Roles: who leads, who follows, and how that changes.

    start      decides from the durable state and from what the peers say
    lead       opens an epoch, durably before the first answer
    follow     subscribes to a leader's log
    promote    an operator's act: a higher term, announced to everybody
    switch     drain, catch up, hand over: nothing is lost
    step down  a higher epoch was seen: this node follows, and puts aside what the new history does not have

Only the epoch decides. A node that sees a higher one steps down; what comes with a lower one is refused.
"""

from typing import TYPE_CHECKING, Any, Final

from upstash_global.errors import CommandError, error
from upstash_global.replication.codec import decode_records
from upstash_global.replication.feed import Feed, FeedLimits, FeedState
from upstash_global.replication.follower import Follower, FollowerLimits, FollowerState, Identity
from upstash_global.replication.host import Host
from upstash_global.replication.lag import DISCONNECTED, STREAMING, SYNCING
from upstash_global.replication.messages import (
    NOT_LEADER,
    WRONG_CLUSTER,
    Announce,
    FetchReply,
    FetchRequest,
    Handover,
    Message,
    Refused,
    SnapshotChunk,
    StatusReply,
    StatusRequest,
    Subscribe,
)
from upstash_global.replication.position import epoch_parts, make_epoch

if TYPE_CHECKING:
    from upstash_global.node.node import Node

ANNOUNCE_MS: Final = 1_000  # how often a leader tells those who do not follow it, and a lost replica asks around
FETCH_BYTES: Final = 4 << 20
FETCH_AGAIN_MS: Final = 500  # an answer that has not come by then is asked for again
FETCH_PATIENCE_MS: Final = 3_000
HANDOVER_MARGIN_MS: Final = 1_000  # added to a handover's expiry before the old leader goes on

_FEED_STATES: Final = {
    FeedState.SILENT: DISCONNECTED,
    FeedState.SNAPSHOT: SYNCING,
    FeedState.STREAMING: STREAMING,
}


class Switchover:
    """A switchover under way at the leader."""

    def __init__(self, target: str, deadline_ms: int) -> None:
        self.target = target
        self.deadline_ms = deadline_ms  # this node's clock
        self.asked = False  # the target was told to take over; until the deadline it may do so
        self.result: str | None = None


class Roles:
    def __init__(self, node: "Node") -> None:
        self.node = node
        settings = node.settings
        self.leader_name = ""  # whom this node follows, or itself; empty while it knows none
        self.epoch = 0  # the highest seen
        self.forward_is_open = False
        self.feeds: dict[str, Feed] = {}  # by inbound stream
        self.names: dict[str, str] = {}  # inbound stream → the node at its other end
        self.host = Host(settings.cluster_id)
        self.host.full_syncs.max_running = settings.max_full_syncs
        self.host.tell = self._note
        self.feed_limits = FeedLimits(
            heartbeat_ms=settings.heartbeat_ms,
            silence_ms=settings.silence_ms,
            unacked_bytes=settings.repl_buffer_bytes,
        )
        self.follower = Follower(
            node.log,
            node.apply,
            node.snapshots.install,
            Identity(settings.cluster_id, settings.name, settings.me.region, node.boot_id, software=settings.version),
            node.storage,
            node.random,
            0,
            FollowerLimits(silence_ms=settings.silence_ms, ack_ms=settings.heartbeat_ms),
        )
        self.follower.tell = self._note
        self.follower.compare = node.checks.compare
        self.handover: Switchover | None = None
        self.fetching_from = ""  # a restarted leader takes back entries that this peer has and it lost
        self.fetch_asked_ms = 0
        self.fetch_until_ms = 0  # without progress until then it leads with what it has
        self.announced_ms = 0
        self.led_ms = 0

    @property
    def has_data(self) -> bool:
        """Whether this node holds a complete state of some position."""
        return self.node.log.head.lsn > 0

    # -- starting -----------------------------------------------------------------------------------------------

    def start(self, peers: list[dict[str, Any]]) -> None:
        """Take a role, given the durable state and the statuses of the peers that could be reached."""
        node = self.node
        me = node.settings.name
        state = node.storage.load_state()
        self.epoch = max(int(state.get("epoch", 0)), node.log.history.epoch)
        newest = max(peers, key=lambda peer: (int(peer["epoch"]), peer["role"] == "leader"), default=None)
        if newest is not None and int(newest["epoch"]) > self.epoch:
            self.follow(str(newest["leader"]), int(newest["epoch"]))
            return
        known = str(state.get("leader", ""))
        if not known:
            self._start_fresh(peers)
        elif known != me:
            self.follow(known, self.epoch)
        elif not self._fetch_from(peers):
            self.lead(epoch_parts(self.epoch)[0])

    def _start_fresh(self, peers: list[dict[str, Any]]) -> None:
        node = self.node
        first = node.settings.first_leader
        if first != node.settings.name:
            self.follow(first, 0)
        elif any(int(peer["position"]["lsn"]) > 0 for peer in peers):
            node.events.note(
                node.now_ms,
                "not-leading",
                "this data directory is empty and the cluster has data; promote a node that has it",
                "error",
            )
        else:
            self.lead(1)

    def _fetch_from(self, peers: list[dict[str, Any]]) -> bool:
        """Begin to take back entries of our own epoch that a peer has and we lost; False if there are none."""
        head = self.node.log.head
        ahead = [
            peer
            for peer in peers
            if int(peer["position"]["epoch"]) == head.epoch and int(peer["position"]["lsn"]) > head.lsn
        ]
        if not ahead:
            return False
        best = max(ahead, key=lambda peer: int(peer["position"]["lsn"]))
        self.fetching_from = str(best["node"])
        self._fetch_more()
        return True

    def _fetch_more(self) -> None:
        node = self.node
        self.fetch_until_ms = node.local_ms + FETCH_PATIENCE_MS
        self._ask_to_fetch()

    def _ask_to_fetch(self) -> None:
        node = self.node
        self.fetch_asked_ms = node.local_ms
        node.asks.append((self.fetching_from, FetchRequest(node.log.head.lsn + 1, 0, FETCH_BYTES)))

    def _fetched(self, peer: str, reply: FetchReply) -> None:
        node = self.node
        if peer != self.fetching_from:
            return
        n = self._replay(reply.records)
        node.events.note(node.now_ms, "fetched", f"{n} entries taken back from {peer}")
        if n:
            self._fetch_more()
        elif reply.head.lsn <= node.log.head.lsn:
            self._end_fetch()

    def _tick_fetch(self) -> None:
        """Ask again when no answer comes, and in the end lead without it: the peer is out of reach."""
        node = self.node
        if node.local_ms >= self.fetch_until_ms:
            text = f"{self.fetching_from} does not answer; entries that it has may be put aside"
            node.events.note(node.now_ms, "fetch-failed", text, "warning")
            self._end_fetch()
        elif node.local_ms - self.fetch_asked_ms >= FETCH_AGAIN_MS:
            self._ask_to_fetch()

    def _end_fetch(self) -> None:
        self.fetching_from = ""
        self.lead(epoch_parts(self.epoch)[0])

    def _replay(self, records: bytes) -> int:
        """Take over entries that were asked for; how many were new."""
        node = self.node
        entries, _, problem = decode_records(records)
        if problem is not None:
            return 0
        before = node.log.head.lsn
        for entry in entries:
            if entry.position.lsn > node.log.head.lsn:
                node.log.accept(entry)
                node.apply(entry)
        return node.log.head.lsn - before

    # -- taking a role ------------------------------------------------------------------------------------------

    def lead(self, term: int) -> None:
        """Open a new epoch in `term` and accept writes; nothing is answered before the epoch is on disk."""
        node = self.node
        node.scripts.end()
        highest_term, start, _ = epoch_parts(self.epoch)
        epoch = make_epoch(term, start + 1 if term == highest_term else 0, node.settings.me.index)
        self._remember(epoch, node.settings.name)
        self.leader_name = node.settings.name
        self.forward_is_open = False
        self.led_ms = node.local_ms
        node.is_leader = True
        node.is_sealed = False
        node.lead_offset_ms = max(0, node.now_ms - node.local_ms)
        node.read_refusal = None
        self.host.leader, self.host.epoch, self.host.complete_ms = node.settings.name, epoch, None
        node.set_clock(node.local_ms)
        entry = node.log.begin_epoch(epoch, node.now_ms, node.settings.name)
        node.records.append(entry.record)
        node.must_be_durable = entry.position.lsn
        node.events.note(node.now_ms, "led", f"leads epoch {epoch} from LSN {entry.position.lsn}")
        node.tracking.note_flush()  # what clients read through the old leader may be lost: no entry will say so
        node.forwarding.serve_own()
        self._announce()

    def follow(self, leader: str, epoch: int) -> None:
        """Follow `leader`, whose epoch is `epoch` (0 if not known yet)."""
        node = self.node
        if epoch > self.epoch or leader != self.leader_name:
            self._remember(max(epoch, self.epoch), leader)
        is_same = (
            leader == self.leader_name
        )  # in a new reign: the links to it stay, and so does what was asked through them
        self.leader_name = leader
        self.fetching_from = ""
        self.follower.epoch_seen = max(self.follower.epoch_seen, self.epoch)
        if not is_same:
            self.forward_is_open = False
            self.follower.disconnected(node.local_ms)
        node.events.note(node.now_ms, "followed", f"follows {leader}")

    def step_down(self, leader: str, epoch: int) -> None:
        """A higher epoch exists: stop leading at once. Nothing that is not out yet will be answered."""
        node = self.node
        node.scripts.end()
        if node.is_leader:
            node.is_leader = False
            node.is_sealed = False
            self.handover = None
            node.must_be_durable = 0
            node.events.note(node.now_ms, "stepped-down", f"{leader} leads epoch {epoch}", "warning")
            node.drop_gate()
            for stream, feed in self.feeds.items():
                if feed.is_replica:
                    feed.close(node.now_ms)
                    node.send(stream, Refused(f"{leader} leads", NOT_LEADER, epoch=epoch, leader=leader))
            self.feeds = {stream: feed for stream, feed in self.feeds.items() if not feed.is_replica}
            for remote in list(node.forwarding.remotes.values()):
                node.forwarding.drop(remote)
            node.blocking.end_all()
        self.follow(leader, epoch)

    def promote(self, force: bool) -> None:
        """Lead in a new term because an operator says so. Raises CommandError when that could lose writes."""
        node = self.node
        if node.is_leader:
            raise error("this node leads already")
        if not self.has_data and not force:
            raise error("this node has no data; add force if it shall lead an empty cluster")
        if self.follower.broken:
            raise error("this node waits for a full resync: its disk does not hold what it serves")
        if self.follower.state is FollowerState.STREAMING and not force:
            raise error(f"{self.leader_name} leads and is alive: use a switchover, or add force")
        if not force:
            raise error(
                "the old leader cannot be asked: acked writes it alone has may be lost; add force to promote anyway"
            )
        self.lead(epoch_parts(self.epoch)[0] + 1)

    def _remember(self, epoch: int, leader: str) -> None:
        self.epoch = epoch
        self.node.remember({"cluster": self.node.settings.cluster_id, "epoch": epoch, "leader": leader})

    def note_epoch(self, epoch: int) -> None:
        """An applied entry opened `epoch`; one from this node's own disk is known to its durable state already."""
        if not self.node.is_replaying:
            self.node.tracking.note_flush()  # as in `lead`
        if epoch > self.epoch:
            if self.node.is_replaying:
                self.epoch = epoch
            else:
                self._remember(epoch, self.leader_name)

    # -- switchover ---------------------------------------------------------------------------------------------

    def switch(self, target: str) -> Switchover:
        """Begin to hand the lead to `target`. Raises CommandError when it cannot take it."""
        node = self.node
        if not node.is_leader:
            raise CommandError("READONLY", f"{self.leader_name or 'nobody'} leads; ask there")
        if target == node.settings.name:
            raise error("this node leads already")
        if target not in node.settings.peers:
            raise CommandError("NOTFOUND", f"no node is called {target}")
        if self._feed_of(target) is None:
            raise error(f"{target} does not follow this node at the moment")
        if node.is_busy:
            raise node.scripts.refusal
        if self.handover is not None:
            raise error(f"a switchover to {self.handover.target} is under way")
        self.handover = Switchover(target, node.local_ms + node.settings.switchover_ms)
        node.is_sealed = True
        node.events.note(node.now_ms, "sealed", f"writes wait for the switchover to {target}")
        return self.handover

    def _tick_handover(self) -> None:
        node, handover = self.node, self.handover
        if handover is None:
            return
        head_lsn = node.log.head.lsn
        if not handover.asked:
            feed = self._feed_of(handover.target)
            if feed is not None and feed.durable_lsn >= head_lsn and node.durable_lsn >= head_lsn:
                handover.asked = True
                remaining_ms = handover.deadline_ms - node.local_ms
                node.send(feed.peer, Handover(self.epoch, node.log.head, node.now_ms + remaining_ms))
            elif feed is not None and node.durable_lsn < head_lsn:
                node.must_be_durable = head_lsn  # asks for an fsync
        margin_ms = HANDOVER_MARGIN_MS if handover.asked else 0
        if node.local_ms > handover.deadline_ms + margin_ms:
            self._end_handover(f"{handover.target} did not catch up in time; nothing has changed")

    def _end_handover(self, result: str) -> None:
        handover = self.handover
        assert handover is not None
        handover.result = result
        self.handover = None
        self.node.is_sealed = False
        self.node.events.note(self.node.now_ms, "unsealed", result)

    def _take_over(self, request: Handover) -> None:
        """The leader hands over: everything it has is here and durable."""
        node = self.node
        if request.epoch != self.epoch or request.head != node.log.head or node.now_ms > request.expires_ms:
            node.events.note(node.now_ms, "handover-refused", "it came too late or for another position", "warning")
            return
        self.lead(epoch_parts(self.epoch)[0] + 1)

    def _feed_of(self, name: str) -> Feed | None:
        for stream, feed in self.feeds.items():
            if self.names[stream] == name and feed.is_replica and feed.state is FeedState.STREAMING:
                return feed
        return None

    # -- messages -----------------------------------------------------------------------------------------------

    def receive(self, peer: str, message: Message) -> None:
        node = self.node
        if isinstance(message, Subscribe):
            self._subscribe(peer, message)
        elif isinstance(message, Announce):
            self._announced(message)
        elif isinstance(message, StatusReply):
            self._announced_by(message.status)
        elif isinstance(message, FetchReply):
            self._fetched(peer, message)
        elif isinstance(message, Handover):
            if peer == self.leader_name:
                self._take_over(message)
        elif isinstance(message, Refused) and message.code == NOT_LEADER:
            if (
                peer == self.leader_name
                and message.leader
                and message.epoch >= self.epoch
                and message.leader != self.leader_name
            ):
                if message.leader != node.settings.name:
                    self.follow(message.leader, message.epoch)
        elif peer in self.feeds:
            feed = self.feeds[peer]
            self._send_all(peer, feed.receive(message, node.now_ms))
            self._check_epoch(feed)
        elif peer == self.leader_name and not node.is_leader:
            if isinstance(message, SnapshotChunk):
                node.snapshots.flush_records()  # installing it puts aside what the log holds
            self._send_all(peer, self.follower.receive(message, node.local_ms))
            if self.follower.epoch_seen > self.epoch:
                self._remember(self.follower.epoch_seen, self.leader_name)
            self._after_follower()

    def answer(self, message: Message) -> Message:
        """The answer to a question of another node (or of the process around this one)."""
        node = self.node
        if isinstance(message, StatusRequest):
            return StatusReply(self.status())
        if isinstance(message, FetchRequest):
            entries = node.log.entries_after(message.from_lsn - 1, 100_000, message.max_bytes)
            if entries is None:
                entries = node.storage.read_log(message.from_lsn - 1, message.max_bytes) or []
            return FetchReply(b"".join([entry.record for entry in entries]), len(entries), node.log.head)
        if isinstance(message, Announce):
            self._announced(message)
            return StatusReply(self.status())
        return Refused("this question is not known here", "unknown", epoch=self.epoch)

    def _subscribe(self, peer: str, message: Subscribe) -> None:
        node = self.node
        if message.cluster != node.settings.cluster_id:
            node.send(peer, Refused(f"this is cluster {node.settings.cluster_id}", WRONG_CLUSTER, epoch=self.epoch))
            return
        if message.purpose == "replica" and not node.is_leader:
            node.send(
                peer,
                Refused(f"{self.leader_name or 'nobody'} leads", NOT_LEADER, epoch=self.epoch, leader=self.leader_name),
            )
            return
        feed = self.feeds.get(peer)
        if feed is None:
            feed = Feed(peer, node.log, node.storage, node.now_ms, self.feed_limits, self.host)
            self.feeds[peer] = feed
            self.names[peer] = message.node
        self._send_all(peer, feed.receive(message, node.now_ms))
        self._check_epoch(feed)

    def _check_epoch(self, feed: Feed) -> None:
        """A follower has seen a higher epoch than this node: whoever leads it will tell."""
        if feed.epoch_seen > self.epoch:
            self.step_down("", feed.epoch_seen)

    def _announced(self, message: Announce) -> None:
        if message.epoch > self.epoch:
            self.step_down(message.leader, message.epoch)

    def _announced_by(self, status: dict[str, Any]) -> None:
        epoch, leader = int(status["epoch"]), str(status["leader"])
        if not leader or leader == self.node.settings.name:
            return
        if epoch > self.epoch or (epoch == self.epoch and leader != self.leader_name and not self.node.is_leader):
            self.step_down(leader, epoch)

    def _announce(self) -> None:
        """Tell every node that does not follow this one who leads."""
        node = self.node
        self.announced_ms = node.local_ms
        following = {self.names[stream] for stream, feed in self.feeds.items() if feed.state is FeedState.STREAMING}
        for name in node.settings.peers:
            if name != node.settings.name and name not in following:
                node.asks.append(
                    (name, Announce(self.epoch, node.settings.name, node.log.head, node.log.history.to_plain()))
                )

    def follow_connected(self, peer: str) -> None:
        if peer == self.leader_name and not self.node.is_leader:
            self._send_all(peer, self.follower.connected(self.node.local_ms))

    def disconnected(self, peer: str) -> None:
        if peer in self.feeds:
            self.feeds.pop(peer).close(self.node.now_ms)
            del self.names[peer]
        elif peer == self.leader_name:
            self.follower.disconnected(self.node.local_ms)

    def durable(self, lsn: int) -> None:
        """Entries up to `lsn` are on this node's disk."""
        follower = self.follower
        follower.durable_lsn = lsn
        if not self.node.is_leader and self.leader_name and follower.state is FollowerState.STREAMING:
            self._send_all(self.leader_name, [follower.ack(self.node.local_ms)])

    def _send_all(self, peer: str, messages: list[Message]) -> None:
        for message in messages:
            self.node.messages.append((peer, message))

    def _after_follower(self) -> None:
        """What the follower found out and cannot do itself."""
        node, follower = self.node, self.follower
        if follower.rewind_to is not None:
            node.scripts.end()  # what had to wait for it is heard now, and may change that
        if follower.rewind_to is not None:
            node.snapshots.rewind(follower.rewind_to)
            self._send_all(self.leader_name, follower.rewound(node.local_ms))

    # -- time ---------------------------------------------------------------------------------------------------

    def advance_feeds(self, limit_lsn: int) -> list[tuple[str, Message]]:
        """At most one frame of entries for every follower, nothing above `limit_lsn`.

        While a stream is busy its entries gather: the cost is that of frames, hardly that of what is in them.
        """
        frames: list[tuple[str, Message]] = []
        for stream, feed in self.feeds.items():
            if self.node.link_is_busy(stream):
                continue
            for message in feed.advance(limit_lsn, self.node.now_ms):
                frames.append((stream, message))
        return frames

    def have_more(self) -> bool:
        """Whether some follower could be sent more at once."""
        return any(feed.has_more and not self.node.link_is_busy(stream) for stream, feed in self.feeds.items())

    def tick(self) -> None:
        node = self.node
        self.host.leader = self.leader_name
        self.host.epoch = self.epoch if node.is_leader else node.log.epoch
        self.host.complete_ms = None if node.is_leader else self.follower.complete_ms
        for stream, feed in list(self.feeds.items()):
            self._send_all(stream, feed.tick(node.now_ms))
            if feed.closed:
                node.hang_ups.append(stream)
        if node.is_leader:
            self._tick_handover()
            if node.local_ms - self.announced_ms >= ANNOUNCE_MS:
                self._announce()
            return
        if self.fetching_from:
            self._tick_fetch()
            return
        if self.leader_name:
            self._send_all(self.leader_name, self.follower.tick(node.local_ms))
            self._after_follower()
        if node.state_name != "streaming" and node.local_ms - self.announced_ms >= ANNOUNCE_MS:
            self.announced_ms = node.local_ms
            for name in node.settings.peers:
                if name != node.settings.name:
                    node.asks.append((name, StatusRequest()))

    # -- telling ------------------------------------------------------------------------------------------------

    def _note(self, name: str, text: str, level: str) -> None:
        """Something notable that a feed or the follower has to say."""
        self.node.events.note(self.node.now_ms, name, text, level)

    @property
    def n_divergences(self) -> int:
        """How often this node's state, or that of a replica it leads, was found to be another one than it had to be."""
        return self.follower.n_divergences + self.host.resyncs.n_divergences

    def n_replicas_at(self, lsn: int, durably: bool = False) -> int:
        """How many replicas have applied everything up to `lsn`, or have it on their disks: what WAIT and WAITAOF answer."""
        at: set[str] = set()  # a replica that has just reconnected has two feeds
        for stream, feed in self.feeds.items():
            if feed.is_replica and (feed.durable_lsn if durably else feed.acked.lsn) >= lsn:
                at.add(self.names[stream])
        return len(at)

    def status(self) -> dict[str, Any]:
        """Plain values for the admin port, the CLI and other nodes; ages and lags in milliseconds."""
        node = self.node
        head = node.log.head
        return {
            "cluster": node.settings.cluster_id,
            "node": node.settings.name,
            "region": node.settings.me.region,
            "role": "leader" if node.is_leader else "replica",
            "state": node.state_name,
            "epoch": self.epoch,
            "leader": self.leader_name,
            "reaches_leader": node.is_leader or node.can_forward,
            "serves_reads": node.read_refusal is None,
            "position": {"epoch": head.epoch, "lsn": head.lsn},
            "durable_lsn": node.durable_lsn,
            "lag_entries": 0 if node.is_leader else self.follower.lag_entries,
            "lag_bytes": 0 if node.is_leader else self.follower.lag_bytes,
            "lag_ms": 0 if node.is_leader else self.follower.lag_ms(node.local_ms),
            "staleness_ms": node.staleness_ms,
            "uptime_ms": node.local_ms - node.started_ms if node.started_ms else 0,
            "keys": node.engine.keyspace.size(node.now_ms),
            "clients": len(node.sessions),
            "sealed": node.is_sealed,
            "partial_resyncs": self.follower.n_partial,
            "full_resyncs": self.follower.n_full,
            "resync_reason": self.follower.resync_reason,
            "resync_bytes": self.follower.resync_bytes,
            "divergences": self.n_divergences,
            "digest_checks": node.checks.n_made if node.is_leader else self.follower.n_checks,
            "digest_mismatches": self.follower.n_mismatches,
            "divergent_entries": node.metrics.n_divergent_entries,
            "torn_bytes": node.metrics.torn_bytes,
            "followers": [self._follower_status(self.names[stream], feed) for stream, feed in self.feeds.items()],
            "version": node.settings.version,
        }

    def _follower_status(self, name: str, feed: Feed) -> dict[str, Any]:
        """A follower as this node sees it: what it said in its last ack, which came `silence_ms` ago (None: never)."""
        now_ms = self.node.now_ms
        return {
            "name": name,
            "region": feed.region,
            "purpose": feed.purpose,
            "state": _FEED_STATES[feed.state],
            "is_sent_snapshot": feed.transfer is not None,
            "acked_lsn": feed.acked.lsn,
            "durable_lsn": feed.durable_lsn,
            "lag_entries": feed.lag_entries,
            "lag_bytes": feed.lag_bytes,
            "lag_ms": feed.peer_lag_ms,
            "staleness_ms": feed.staleness_ms(now_ms),
            "silence_ms": feed.silence_ms(now_ms),
            "rtt_ms": feed.rtt_ms,
            "partial_resyncs": feed.n_partial,
            "full_resyncs": feed.n_full,
            "resync_reason": feed.resync_reason,
        }
