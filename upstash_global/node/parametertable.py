"""The parameters of CONFIG: names, forms, defaults, and whose they are.

As redis-server 7.0.15 and 7.2 have them. A parameter is the cluster's (CLUSTER: set by an entry of the log, equal on every
node) where it decides what commands do or what the leader does, else one node's own (NODE). Many have no meaning here; they
are kept because clients set them and expect to read them back.
"""

from typing import Final

# forms
NUMBER: Final = 0  # an integer between `lowest` and `highest`
SIZE: Final = 1  # bytes, `64mb`
FLAG: Final = 2  # yes or no
CHOICE: Final = 3  # one of `choices`
TEXT: Final = 4
EVENTS: Final = 5  # classes of keyspace events
BUFFERS: Final = 6  # client-output-buffer-limit
PERCENTILES: Final = 7
SAVE_POINTS: Final = 8
SHARE: Final = 9  # bytes, or a percentage of maxmemory
SHUTDOWN: Final = 10  # words that SHUTDOWN takes
SCORES: Final = 11  # oom-score-adj-values

# whose
CLUSTER: Final = 0
NODE: Final = 1
FIXED: Final = 2  # nobody's to set while the node runs
PROTECTED: Final = 3  # likewise, and Redis words it in another way


class Parameter:
    __slots__ = ("name", "form", "default", "owner", "lowest", "highest", "choices")

    def __init__(
        self, name: str, form: int, default: str, owner: int, lowest: int = 0, highest: int = 0, choices: str = ""
    ) -> None:
        self.name = name
        self.form = form
        self.default = default
        self.owner = owner
        self.lowest = lowest
        self.highest = highest
        self.choices = choices.split()


INT: Final = (1 << 31) - 1
UNSIGNED: Final = (1 << 32) - 1
LONG: Final = (1 << 63) - 1
UNSIGNED_LONG: Final = (1 << 64) - 1
PORT: Final = 65535

POLICIES: Final = (
    "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction"
)

_NUMBERS: Final = [  # name, default, lowest, highest, owner
    ("acllog-max-len", 128, 0, LONG, NODE),
    ("active-defrag-cycle-max", 25, 1, 99, NODE),
    ("active-defrag-cycle-min", 1, 1, 99, NODE),
    ("active-defrag-max-scan-fields", 1000, 1, LONG, NODE),
    ("active-defrag-threshold-lower", 10, 0, 1000, NODE),
    ("active-defrag-threshold-upper", 100, 0, 1000, NODE),
    ("active-expire-effort", 1, 1, 10, NODE),
    ("auto-aof-rewrite-percentage", 100, 0, INT, NODE),
    ("busy-reply-threshold", 5000, 0, LONG, CLUSTER),
    ("cluster-announce-bus-port", 0, 0, PORT, NODE),
    ("cluster-announce-port", 0, 0, PORT, NODE),
    ("cluster-announce-tls-port", 0, 0, PORT, NODE),
    ("cluster-migration-barrier", 1, 0, INT, NODE),
    ("cluster-node-timeout", 15000, 0, LONG, NODE),
    ("cluster-port", 0, 0, PORT, FIXED),
    ("cluster-replica-validity-factor", 10, 0, INT, NODE),
    ("databases", 1, 1, INT, FIXED),
    ("hash-max-listpack-entries", 512, 0, LONG, CLUSTER),
    ("hz", 10, 0, INT, NODE),
    ("io-threads", 1, 1, 128, FIXED),
    ("latency-monitor-threshold", 0, 0, LONG, NODE),
    ("lfu-decay-time", 1, 0, INT, CLUSTER),
    ("lfu-log-factor", 10, 0, INT, CLUSTER),
    ("list-compress-depth", 0, 0, INT, CLUSTER),
    ("list-max-listpack-size", -2, -INT - 1, INT, CLUSTER),
    ("maxclients", 10000, 1, UNSIGNED, NODE),
    ("maxmemory-eviction-tenacity", 10, 0, 100, CLUSTER),
    ("maxmemory-samples", 5, 1, INT, CLUSTER),
    ("min-replicas-max-lag", 10, 0, INT, CLUSTER),
    ("min-replicas-to-write", 0, 0, INT, CLUSTER),
    ("port", 0, 0, PORT, FIXED),
    ("repl-backlog-ttl", 3600, 0, LONG, NODE),
    ("repl-diskless-sync-delay", 5, 0, INT, NODE),
    ("repl-diskless-sync-max-replicas", 0, 0, INT, NODE),
    ("repl-ping-replica-period", 10, 1, INT, NODE),
    ("repl-timeout", 60, 1, INT, NODE),
    ("replica-announce-port", 0, 0, PORT, NODE),
    ("replica-priority", 100, 0, INT, NODE),
    ("set-max-intset-entries", 512, 0, LONG, CLUSTER),
    ("set-max-listpack-entries", 128, 0, LONG, CLUSTER),
    ("shutdown-timeout", 10, 0, INT, NODE),
    ("slowlog-log-slower-than", 10000, -1, LONG, NODE),
    ("slowlog-max-len", 128, 0, LONG, NODE),
    ("socket-mark-id", 0, 0, UNSIGNED, FIXED),
    ("stream-node-max-entries", 100, 0, LONG, CLUSTER),
    ("tcp-backlog", 511, 0, INT, FIXED),
    ("tcp-keepalive", 300, 0, INT, NODE),
    ("timeout", 0, 0, INT, NODE),
    ("tls-port", 0, 0, PORT, FIXED),
    ("tls-session-cache-size", 20480, 0, INT, NODE),
    ("tls-session-cache-timeout", 300, 0, INT, NODE),
    ("tracking-table-max-keys", 1000000, 0, LONG, NODE),
    ("unixsocketperm", 0, 0, 0o777, FIXED),
    ("zset-max-listpack-entries", 128, 0, LONG, CLUSTER),
]
_SIZES: Final = [
    ("active-defrag-ignore-bytes", 100 << 20, 1, LONG, NODE),
    ("auto-aof-rewrite-min-size", 64 << 20, 0, LONG, NODE),
    ("client-query-buffer-limit", 1 << 30, 1 << 20, LONG, NODE),
    ("cluster-link-sendbuf-limit", 0, 0, UNSIGNED_LONG, NODE),
    ("hash-max-listpack-value", 64, 0, LONG, CLUSTER),
    ("hll-sparse-max-bytes", 3000, 0, LONG, CLUSTER),
    ("maxmemory", 0, 0, UNSIGNED_LONG, CLUSTER),
    ("proto-max-bulk-len", 512 << 20, 1 << 20, LONG, CLUSTER),
    ("repl-backlog-size", 1 << 20, 1, LONG, NODE),
    ("set-max-listpack-value", 64, 0, LONG, CLUSTER),
    ("stream-node-max-bytes", 4096, 0, LONG, CLUSTER),
    ("zset-max-listpack-value", 64, 0, LONG, CLUSTER),
]
_FLAGS: Final = {
    ("yes", NODE): """
        activerehashing aof-load-truncated aof-rewrite-incremental-fsync aof-use-rdb-preamble appendonly
        cluster-allow-pubsubshard-when-down cluster-allow-replica-migration cluster-require-full-coverage
        crash-log-enabled crash-memcheck-enabled dynamic-hz jemalloc-bg-thread latency-tracking protected-mode
        rdb-save-incremental-fsync rdbcompression repl-diskless-sync replica-announced replica-ignore-maxmemory
        replica-read-only replica-serve-stale-data stop-writes-on-bgsave-error tls-session-caching""",
    ("no", NODE): """
        activedefrag aof-disable-auto-gc aof-timestamp-enabled cluster-allow-reads-when-down cluster-replica-no-failover
        lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del
        lazyfree-lazy-user-flush no-appendfsync-on-rewrite rdb-del-sync-files repl-disable-tcp-nodelay
        replica-ignore-disk-write-errors replica-lazy-flush tls-cluster tls-prefer-server-ciphers tls-replication""",
    ("yes", FIXED): "disable-thp rdbchecksum set-proc-title",
    ("no", FIXED): """
        always-show-logo cluster-enabled daemonize enable-debug-command enable-module-command enable-protected-configs
        io-threads-do-reads supervised syslog-enabled""",
}  # fmt: skip
_CHOICES: Final = [
    ("acl-pubsub-default", "resetchannels", "allchannels resetchannels", CLUSTER),
    ("appendfsync", "everysec", "everysec always no", NODE),
    ("cluster-preferred-endpoint-type", "ip", "ip hostname unknown-endpoint", NODE),
    ("loglevel", "notice", "debug verbose notice warning nothing", NODE),
    ("maxmemory-policy", "noeviction", POLICIES, CLUSTER),
    ("oom-score-adj", "no", "no yes relative absolute", NODE),
    ("propagation-error-behavior", "ignore", "ignore panic panic-on-replicas", NODE),
    ("repl-diskless-load", "disabled", "disabled on-empty-db swapdb", NODE),
    ("sanitize-dump-payload", "no", "no yes clients", NODE),
    ("tls-auth-clients", "yes", "no yes optional", NODE),
]
_TEXTS: Final = {
    NODE: """
        bind-source-addr cluster-announce-hostname cluster-announce-human-nodename cluster-announce-ip ignore-warnings
        locale-collate masterauth masteruser replica-announce-ip tls-ca-cert-dir tls-ca-cert-file tls-cert-file
        tls-ciphers tls-ciphersuites tls-client-cert-file tls-client-key-file tls-client-key-file-pass
        tls-dh-params-file tls-key-file tls-key-file-pass tls-protocols""",
    FIXED: """
        aclfile aof_rewrite_cpulist bgsave_cpulist bind bio_cpulist logfile pidfile replicaof server_cpulist
        unixsocket""",
    CLUSTER: "requirepass",
    PROTECTED: "dir",
}  # fmt: skip
_DEFAULT_TEXTS: Final = [
    ("appenddirname", "appendonlydir", FIXED),
    ("appendfilename", "appendonly.aof", FIXED),
    ("cluster-config-file", "nodes.conf", FIXED),
    ("dbfilename", "dump.rdb", PROTECTED),
    ("proc-title-template", "{title} {listen-addr} {server-mode}", NODE),
    ("syslog-facility", "local0", FIXED),
    ("syslog-ident", "redis", FIXED),
]
_OTHERS: Final = [
    Parameter(
        "client-output-buffer-limit",
        BUFFERS,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        NODE,
    ),
    Parameter("latency-tracking-info-percentiles", PERCENTILES, "50 99 99.9", NODE),
    Parameter("maxmemory-clients", SHARE, "0", NODE),
    Parameter("notify-keyspace-events", EVENTS, "", CLUSTER),
    Parameter("oom-score-adj-values", SCORES, "0 200 800", NODE),
    Parameter("save", SAVE_POINTS, "", NODE),
    Parameter("shutdown-on-sigint", SHUTDOWN, "default", NODE, choices="default save nosave now force"),
    Parameter("shutdown-on-sigterm", SHUTDOWN, "default", NODE, choices="default save nosave now force"),
]

# What Redis lets a client change and we do not. Who writes back everything that CONFIG GET told is not refused for it.
MOVABLE: Final = frozenset(["bind", "port", "tls-port"])

# A second name of the same parameter.
ALIASES: Final = {
    "cluster-slave-no-failover": "cluster-replica-no-failover",
    "cluster-slave-validity-factor": "cluster-replica-validity-factor",
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "lua-time-limit": "busy-reply-threshold",
    "min-slaves-max-lag": "min-replicas-max-lag",
    "min-slaves-to-write": "min-replicas-to-write",
    "repl-ping-slave-period": "repl-ping-replica-period",
    "slave-announce-ip": "replica-announce-ip",
    "slave-announce-port": "replica-announce-port",
    "slave-ignore-maxmemory": "replica-ignore-maxmemory",
    "slave-lazy-flush": "replica-lazy-flush",
    "slave-priority": "replica-priority",
    "slave-read-only": "replica-read-only",
    "slave-serve-stale-data": "replica-serve-stale-data",
    "slaveof": "replicaof",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
}


def _table() -> dict[str, Parameter]:
    parameters = list(_OTHERS)
    for name, default, lowest, highest, owner in _NUMBERS:
        parameters.append(Parameter(name, NUMBER, str(default), owner, lowest, highest))
    for name, default, lowest, highest, owner in _SIZES:
        parameters.append(Parameter(name, SIZE, str(default), owner, lowest, highest))
    for (text, owner), names in _FLAGS.items():
        parameters.extend([Parameter(name, FLAG, text, owner) for name in names.split()])
    for name, text, choices, owner in _CHOICES:
        parameters.append(Parameter(name, CHOICE, text, owner, choices=choices))
    for owner, names in _TEXTS.items():
        parameters.extend([Parameter(name, TEXT, "", owner) for name in names.split()])
    for name, text, owner in _DEFAULT_TEXTS:
        parameters.append(Parameter(name, TEXT, text, owner))
    table = {parameter.name: parameter for parameter in parameters}
    for alias, name in ALIASES.items():
        known = table[name]
        table[alias] = Parameter(alias, known.form, known.default, known.owner, known.lowest, known.highest)
    return table


TABLE: Final[dict[str, Parameter]] = _table()
