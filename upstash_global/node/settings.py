"""What a node has to know of its configuration; plain values, so that the node needs no file and no environment."""

from upstash_global.protocol.consistency import DEFAULT_CONSISTENCY
from upstash_global.protocol.tokens import sync_token_key


class Peer:
    """A node of the cluster."""

    __slots__ = ("name", "region", "index", "is_candidate", "resp", "rest")

    def __init__(
        self, name: str, region: str, index: int, is_candidate: bool = True, resp: str = "", rest: str = ""
    ) -> None:
        self.name = name
        self.region = region
        self.index = index  # position in the cluster file; the last byte of an epoch
        self.is_candidate = is_candidate
        self.resp = resp  # host:port that clients are told
        self.rest = rest  # base URL that clients are told


class Settings:
    def __init__(self, name: str, peers: list[Peer], cluster_id: str, first_leader: str) -> None:
        self.name = name
        self.peers = {peer.name: peer for peer in peers}  # this node included
        self.cluster_id = cluster_id
        self.first_leader = first_leader  # leads an empty cluster; afterwards the nodes' own state decides
        self.token_key = sync_token_key(cluster_id)  # what sync tokens are signed with
        self.password: str | None = None
        self.fsync = "everysec"  # always, everysec or no
        self.backlog_entries = 50_000
        self.backlog_bytes = 16 << 20
        self.heartbeat_ms = 100
        self.silence_ms = 5_000
        self.sync_wait_ms = 1_000
        self.forward_timeout_ms = 5_000
        self.max_staleness_ms = 60_000  # 0: serve however stale
        self.consistency = DEFAULT_CONSISTENCY  # of a connection that asks for none
        self.switchover_ms = 10_000
        self.entry_bytes = 64 << 20  # of the arguments of one unit; a longer one is refused
        self.max_clients = 10_000  # of RESP, of HTTP, and of event streams, each for itself
        self.failed_logins_per_minute = 20  # of one address; 0: no limit
        self.failed_login_delay_ms = 100  # how late a wrong password is told
        self.snapshot_bytes = 256 << 20  # log bytes after which a new snapshot is begun, if the last one was not longer
        self.repl_buffer_bytes = 8 << 20  # on the way to one follower, not yet acknowledged
        self.max_full_syncs = 1  # snapshots being sent at one time
        self.check_ms = 1_000  # how often replicas compare a part of their state with the leader's,
        self.check_keys = 200  # and how many keys then; 0: never
        self.migrate = False  # whether MIGRATE may make this node dial an address that a client names
        self.version = ""

    @property
    def me(self) -> Peer:
        return self.peers[self.name]
