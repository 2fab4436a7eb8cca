"""The commands of each family, in the notation of grammar.py. A common form may stand several times."""

from typing import Final

STRINGS: Final = """
APPEND key value
DECR key
DECRBY key int
GET key
GET key
GETDEL key
GETEX key
GETEX key (EX seconds|PX milliseconds|EXAT at|PXAT at_ms|PERSIST)
GETEX key {EX seconds|PX milliseconds|PERSIST}
GETRANGE key index index
GETSET key value
INCR key
INCR key
INCRBY key int
INCRBYFLOAT key float
LCS key key {LEN|IDX|MINMATCHLEN size|WITHMATCHLEN}
MGET key...
MSET (key value)...
MSETNX (key value)...
PSETEX key milliseconds value
SET key value
SET key value
SET key value (NX|XX) [GET]
SET key value [EX seconds|PX milliseconds|EXAT at|PXAT at_ms|KEEPTTL]
SET key value {NX|XX|GET|EX seconds|PX milliseconds|KEEPTTL}
SETEX key seconds value
SETNX key value
SETRANGE key offset value
STRLEN key
SUBSTR key index index
"""

KEYS: Final = """
COPY key key {DB db|REPLACE}
DEL key...
DUMP key
EXISTS key...
EXPIRE key seconds [NX|XX|GT|LT]
EXPIRE key seconds {NX|XX|GT|LT}
EXPIREAT key at [NX|XX|GT|LT]
EXPIRETIME key
KEYS pattern
MEMORY USAGE key [SAMPLES size]
MOVE key db
OBJECT ENCODING key
OBJECT FREQ key
OBJECT IDLETIME key
OBJECT REFCOUNT key
PERSIST key
PEXPIRE key milliseconds [NX|XX|GT|LT]
PEXPIREAT key at_ms [NX|XX|GT|LT]
PEXPIRETIME key
PTTL key
RANDOMKEY
RENAME key key
RENAMENX key key
RESTORE key milliseconds payload
RESTORE key 0 payload {REPLACE|ABSTTL|IDLETIME seconds|FREQ size}
RESTORE key at_ms payload ABSTTL REPLACE
SCAN cursor {MATCH pattern|COUNT positive|TYPE type}
SORT key {BY by_pattern|LIMIT index count|GET by_pattern|ASC|DESC|STORE key}
SORT key ALPHA {LIMIT index count|GET by_pattern|ASC|DESC|STORE key}
SORT_RO key {BY by_pattern|LIMIT index count|GET by_pattern|ASC|DESC|ALPHA}
TOUCH key...
TTL key
TYPE key
UNLINK key...
DBSIZE
"""

HASHES: Final = """
HDEL key field...
HEXISTS key field
HGET key field
HGETALL key
HINCRBY key field int
HINCRBYFLOAT key field float
HKEYS key
HLEN key
HMGET key field...
HMSET key (field value)...
HRANDFIELD key
HRANDFIELD key count
HRANDFIELD key count WITHVALUES
HSCAN key cursor {MATCH pattern|COUNT positive}
HSET key (field value)...
HSET key (field value)...
HSET key field value
HSETNX key field value
HSTRLEN key field
HVALS key
"""

LISTS: Final = """
LINDEX key index
LINSERT key (BEFORE|AFTER) value value
LLEN key
LMOVE key key (LEFT|RIGHT) (LEFT|RIGHT)
LMPOP keys (LEFT|RIGHT) [COUNT positive]
LPOP key [size]
LPOS key value {RANK count|COUNT size|MAXLEN size}
LPUSH key value...
LPUSH key value...
LPUSHX key value...
LRANGE key index index
LREM key count value
LSET key index value
LTRIM key index index
RPOP key [size]
RPOPLPUSH key key
RPUSH key value...
RPUSH key value...
RPUSHX key value...
"""

SETS: Final = """
SADD key member...
SADD key member...
SADD key int...
SCARD key
SDIFF key...
SDIFFSTORE key key...
SINTER key...
SINTERCARD keys [LIMIT size]
SINTERSTORE key key...
SISMEMBER key member
SMEMBERS key
SMISMEMBER key member...
SMOVE key key member
SPOP key
SPOP key size
SRANDMEMBER key
SRANDMEMBER key count
SREM key member...
SSCAN key cursor {MATCH pattern|COUNT positive}
SUNION key...
SUNIONSTORE key key...
"""

SORTED_SETS: Final = """
ZADD key (score member)...
ZADD key (score member)...
ZADD lex_key (0 member)...
ZADD lex_key (0 member)...
SET wrong_key value
ZADD key [NX|XX] [GT|LT] [CH] (score member)...
ZADD key {NX|XX|GT|LT|CH} INCR score member
ZADD key {NX|XX|GT|LT|CH|INCR} (score member)...
ZCARD key
ZCOUNT key score_bound score_bound
ZDIFF keys [WITHSCORES]
ZDIFFSTORE key keys
ZINCRBY key score member
ZINTER keys [WEIGHTS weights] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]
ZINTERCARD keys [LIMIT size]
ZINTERSTORE key keys {WEIGHTS weights|AGGREGATE (SUM|MIN|MAX)}
ZLEXCOUNT lex_key lex_bound lex_bound
ZMPOP keys (MIN|MAX) [COUNT positive]
ZMSCORE key member...
ZPOPMAX key [size]
ZPOPMIN key [size]
ZRANDMEMBER key
ZRANDMEMBER key count [WITHSCORES]
ZRANGE key index index [REV] [WITHSCORES]
ZRANGE key score_bound score_bound BYSCORE {REV|LIMIT index count|WITHSCORES}
ZRANGE lex_key lex_bound lex_bound BYLEX {REV|LIMIT index count}
ZRANGE key index index {REV|BYSCORE|WITHSCORES}
ZRANGE lex_key lex_bound lex_bound {REV|BYLEX|WITHSCORES}
ZRANGEBYLEX lex_key lex_bound lex_bound [LIMIT index count]
ZRANGEBYSCORE key score_bound score_bound {WITHSCORES|LIMIT index count}
ZRANGESTORE key key index index [REV]
ZRANGESTORE key key score_bound score_bound BYSCORE {REV|LIMIT index count}
ZRANGESTORE lex_key lex_key lex_bound lex_bound BYLEX {REV|LIMIT index count}
ZRANK key member
ZRANK key member WITHSCORE
ZREM key member...
ZREMRANGEBYLEX lex_key lex_bound lex_bound
ZREMRANGEBYRANK key index index
ZREMRANGEBYSCORE key score_bound score_bound
ZREVRANGE key index index [WITHSCORES]
ZREVRANGEBYLEX lex_key lex_bound lex_bound [LIMIT index count]
ZREVRANGEBYSCORE key score_bound score_bound {WITHSCORES|LIMIT index count}
ZREVRANK key member
ZREVRANK key member WITHSCORE
ZSCAN key cursor {MATCH pattern|COUNT positive}
ZSCORE key member
ZUNION keys [WEIGHTS weights] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]
ZUNIONSTORE key keys {WEIGHTS weights|AGGREGATE (SUM|MIN|MAX)}
"""

BITMAPS: Final = """
BITCOUNT key
BITCOUNT key index index [BYTE|BIT]
BITFIELD key {GET field_type field_offset|SET field_type field_offset int|INCRBY field_type field_offset int|OVERFLOW (WRAP|SAT|FAIL)}
BITFIELD_RO key (GET field_type field_offset)...
BITOP (AND|OR|XOR) key key...
BITOP NOT key key
BITPOS key bit [index]
BITPOS key bit index index [BYTE|BIT]
GETBIT key bit_offset
SETBIT key bit_offset bit
SETBIT key bit_offset bit
SET key value
GET key
"""

GEO: Final = """
GEOADD key (longitude latitude member)...
GEOADD key (longitude latitude member)...
GEOADD key {NX|XX|CH} (longitude latitude member)...
GEODIST key member member [unit]
GEOHASH key member...
GEOPOS key member...
GEORADIUS key longitude latitude length unit {WITHCOORD|WITHDIST|WITHHASH|COUNT positive|COUNT positive ANY|ASC|DESC}
GEORADIUS key longitude latitude length unit {COUNT positive|COUNT positive ANY|ASC|STORE key|STOREDIST key}
GEORADIUSBYMEMBER key member length unit {WITHCOORD|WITHDIST|WITHHASH|COUNT positive|ASC|DESC}
GEORADIUSBYMEMBER key member length unit {COUNT positive|ASC|DESC|STORE key|STOREDIST key}
GEORADIUSBYMEMBER_RO key member length unit {WITHDIST|COUNT positive|COUNT positive ANY|ASC|DESC|STORE key}
GEORADIUS_RO key longitude latitude length unit {WITHDIST|COUNT positive|COUNT positive ANY|ASC|DESC|STORE key}
GEOSEARCH key (FROMMEMBER member|FROMLONLAT longitude latitude) (BYRADIUS length unit|BYBOX length length unit) {WITHCOORD|WITHDIST|WITHHASH|COUNT positive|COUNT positive ANY|ASC|DESC}
GEOSEARCH key (FROMMEMBER member|FROMLONLAT longitude latitude) (BYRADIUS length unit|BYBOX length length unit) {WITHCOORD|WITHDIST|WITHHASH}
GEOSEARCH key {FROMMEMBER member|FROMLONLAT longitude latitude|BYRADIUS length unit|BYBOX length length unit|WITHDIST|COUNT positive|ANY|ASC|DESC}
GEOSEARCHSTORE key key (FROMMEMBER member|FROMLONLAT longitude latitude) (BYRADIUS length unit|BYBOX length length unit) {COUNT positive|COUNT positive ANY|ASC|DESC|STOREDIST}
GEOSEARCHSTORE key key {FROMMEMBER member|FROMLONLAT longitude latitude|BYRADIUS length unit|BYBOX length length unit|COUNT positive|ASC|WITHDIST|STOREDIST}
ZADD key any_score member
ZREM key member...
ZRANGE key index index WITHSCORES
"""

HYPERLOGLOGS: Final = """
PFADD key element...
PFADD key element...
PFADD key many_elements
PFADD key
PFCOUNT key
PFCOUNT key...
PFDEBUG (ENCODING|DECODE|GETREG|TODENSE) key
PFDEBUG (ENCODING|DECODE) key
PFMERGE key key...
PFMERGE key
SET key hyperloglog
GET key
GETRANGE key 0 15
"""

STREAMS: Final = """
XACK key group stream_id...
XACKDEL key group [KEEPREF|DELREF|ACKED] (IDS) numbered_ids
XADD key new_id (field value)...
XADD key new_id (field value)...
XADD key new_id (field value)...
XADD key new_id (field value)...
XADD key {NOMKSTREAM|MAXLEN [=|~] size} new_id (field value)...
XADD key {NOMKSTREAM|MINID [=|~] stream_id|LIMIT trim_limit} new_id (field value)...
XADD key (MAXLEN|MINID) ~ size (LIMIT) trim_limit new_id field value
XAUTOCLAIM key group consumer min_idle range_id {COUNT positive|JUSTID}
XCLAIM key group consumer min_idle stream_id... {IDLE idle|TIME idle|RETRYCOUNT size|FORCE|JUSTID|LASTID stream_id}
XCLAIM key group consumer min_idle stream_id... [FORCE]
XDEL key stream_id...
XDELEX key [KEEPREF|DELREF|ACKED] (IDS) numbered_ids
XGROUP CREATE key group group_id {MKSTREAM|ENTRIESREAD entries_count}
XGROUP CREATE key group group_id [MKSTREAM]
XGROUP CREATECONSUMER key group consumer
XGROUP DELCONSUMER key group consumer
XGROUP DESTROY key group
XGROUP SETID key group group_id {ENTRIESREAD entries_count}
XGROUP SETID key group group_id
XINFO CONSUMERS key group
XINFO GROUPS key
XINFO STREAM key
XINFO STREAM key FULL [COUNT size]
XLEN key
XPENDING key group
XPENDING key group {IDLE min_idle} range_id range_id size [consumer]
XRANGE key range_id range_id {COUNT count}
XRANGE key - + {COUNT count}
XREAD {COUNT count} (STREAMS) key xread_id
XREAD {COUNT count|BLOCK bad_timeout} (STREAMS) key key read_id read_id
XREADGROUP (GROUP) group consumer {COUNT count} (STREAMS) key >
XREADGROUP (GROUP) group consumer {COUNT count} (STREAMS) key xread_id
XREADGROUP (GROUP) group consumer {COUNT count|BLOCK bad_timeout} (STREAMS) key key read_id read_id
XREADGROUP (GROUP) group consumer {COUNT count} (STREAMS) key key > >
XREADGROUP (GROUP) group ghost {COUNT count} (NOACK) (STREAMS) key read_id
XREVRANGE key range_id range_id {COUNT count}
XREVRANGE key + - {COUNT count}
XSETID key stream_id {ENTRIESADDED entries_count|MAXDELETEDID stream_id}
XTRIM key (MAXLEN [=|~] size|MINID [=|~] stream_id) {LIMIT trim_limit}
"""

# Run between the commands of every family: other types under the same keys, deadlines, and keys that vanish.
MIXTURE: Final = """
SET key value
RPUSH key value...
HSET key (field value)...
SADD key member...
ZADD key (score member)...
SETBIT key bit_offset bit
DEL key
UNLINK key...
EXPIRE key seconds
PERSIST key
RENAME key key
COPY key key
OBJECT ENCODING key
TYPE key
TTL key
"""

FAMILIES: Final[dict[str, str]] = {
    "strings": STRINGS,
    "keys": KEYS,
    "hashes": HASHES,
    "lists": LISTS,
    "sets": SETS,
    "sorted-sets": SORTED_SETS,
    "bitmaps": BITMAPS,
    "streams": STREAMS,
    "geo": GEO,
    "hyperloglogs": HYPERLOGLOGS,
}


def mixture_of(family: str) -> list[str]:
    """MIXTURE, for places without the scores that many members share: Redis leaves the order of equal distances open."""
    return [line for line in lines_of(MIXTURE) if family != "geo" or command_of(line) != ["ZADD"]]


# Several clients at once; see conversations.py.

TRANSACTIONS: Final = """
MULTI
MULTI
MULTI
EXEC
EXEC
EXEC
DISCARD
WATCH key...
WATCH key
UNWATCH
SET key value
SET key value
GET key
INCR key
INCR key
LPUSH key value...
HSET key (field value)...
DEL key...
EXPIRE key seconds
PERSIST key
RENAME key key
MGET key...
FLUSHALL
FLUSHDB
DBSIZE
PING [value]
ECHO value
SELECT db
TIME
WAIT 0 0
DEBUG SLEEP 0
CONFIG GET MAXMEMORY
CLIENT ID
CLIENT GETNAME
CLIENT SETNAME client_name
NOSUCH key
GET
INCR key key
MULTI key
EXEC key
WATCH
RESET
QUIT
"""

CONNECTION: Final = """
AUTH password
AUTH user password
AUTH own_user password
AUTH own_user own_password
AUTH own_password
ECHO value
GET key
SET key value
HELLO
HELLO protocol
HELLO protocol [AUTH user password]
HELLO protocol AUTH own_user own_password
PING
PING value
QUIT
RESET
SELECT db
CLIENT GETNAME
CLIENT ID
CLIENT INFO
CLIENT KILL address
CLIENT KILL {ID client_id|ADDR address|LADDR address|USER user|TYPE client_type|SKIPME (YES|NO)}
CLIENT KILL ID client_id
CLIENT LIST
CLIENT LIST TYPE client_type
CLIENT LIST ID client_id...
CLIENT NO-EVICT (ON|OFF)
CLIENT REPLY (ON|OFF|SKIP)
CLIENT REPLY ON
CLIENT SETNAME client_name
CLIENT SETNAME client_name
CLIENT NOSUCH value
CLIENT
MULTI
EXEC
"""

PUBLISHING: Final = """
SUBSCRIBE channel...
SUBSCRIBE channel
UNSUBSCRIBE channel...
UNSUBSCRIBE
PSUBSCRIBE channel_pattern...
PSUBSCRIBE channel_pattern
PUNSUBSCRIBE channel_pattern...
PUNSUBSCRIBE
PUBLISH channel value
PUBLISH channel value
PUBLISH channel value
PUBLISH channel value
PUBSUB CHANNELS [channel_pattern]
PUBSUB NUMPAT
PUBSUB NUMSUB channel...
PUBSUB NOSUCH
PUBSUB
PING [value]
GET key
SET key value
NOSUCH value
CLIENT LIST TYPE PUBSUB
CLIENT REPLY (ON|OFF|SKIP)
CLIENT REPLY ON
CLIENT INFO
HELLO protocol
HELLO protocol SETNAME client_name
MULTI
EXEC
DISCARD
RESET
QUIT
"""

SERVER: Final = """
COMMAND COUNT
COMMAND DOCS command...
COMMAND GETKEYS command key value
COMMAND GETKEYSANDFLAGS command key value
COMMAND INFO command...
COMMAND LIST
COMMAND LIST FILTERBY (ACLCAT category|PATTERN command|MODULE value)
COMMAND NOSUCH
CONFIG GET parameter...
CONFIG GET parameter
CONFIG SET (set_parameter parameter_value)...
CONFIG SET MAXMEMORY size_value
CONFIG SET MAXMEMORY-POLICY policy
CONFIG SET (threshold size)...
OBJECT ENCODING key
CONFIG RESETSTAT
CONFIG NOSUCH
DBSIZE
ASKING
CLUSTER INFO
CLUSTER KEYSLOT key
CLUSTER NOSUCH
DEBUG DIGEST
DEBUG DIGEST-VALUE key...
DEBUG OBJECT key
DEBUG OBJECT
DEBUG PROTOCOL reply_type
FAILOVER ABORT
LASTSAVE
LATENCY DOCTOR
LATENCY GRAPH value
LATENCY HISTOGRAM [command...]
LATENCY HISTORY value
LATENCY LATEST
LATENCY RESET [value...]
LATENCY NOSUCH
MEMORY DOCTOR
MEMORY MALLOC-STATS
MEMORY PURGE
MEMORY STATS
MODULE LIST
MODULE NOSUCH
READONLY
READWRITE
LOLWUT [VERSION int]
DEBUG SLEEP 0
DEBUG NOSUCH
FLUSHALL [ASYNC|SYNC]
FLUSHDB [ASYNC|SYNC]
GET key
SET key value
HSET key (field value)...
INFO
INFO info_section...
MEMORY USAGE key [SAMPLES size]
MEMORY NOSUCH
ROLE
SLOWLOG GET [count]
SLOWLOG LEN
SLOWLOG RESET
SLOWLOG NOSUCH
TIME
WAIT 0 int
"""

# What raises keyspace events, of every type, without chance; and who listens to them. Not in it: OBJECT ENCODING, which in
# Redis is another one for a sorted set that SORT has read.
NOTIFYING: Final = """
CONFIG SET NOTIFY-KEYSPACE-EVENTS event_flags
CONFIG GET NOTIFY-KEYSPACE-EVENTS
PSUBSCRIBE event_pattern
SUBSCRIBE event_channel
PUNSUBSCRIBE
UNSUBSCRIBE
RESET
MULTI
EXEC
EXEC
PUBLISH event_channel value
APPEND key value
COPY key key [REPLACE]
DECRBY key int
DEL key...
EXISTS key...
EXPIRE key seconds [NX|XX]
EXPIRE key 0
FLUSHALL
GET key
GETDEL key
GETEX key [EX seconds|PERSIST]
GETRANGE key index index
GETSET key value
INCR key
INCRBYFLOAT key float
MGET key...
MOVE key db
MSET (key value)...
MSETNX (key value)...
OBJECT REFCOUNT key
PERSIST key
PEXPIREAT key at_ms
RENAME key key
RENAMENX key key
SET key value
SET key value [NX|XX] [EX seconds|PXAT at_ms|KEEPTTL]
SETEX key seconds value
SETRANGE key offset value
SORT key ALPHA STORE key
STRLEN key
TOUCH key...
TYPE key
UNLINK key...
HDEL key field...
HGET key field
HGETALL key
HINCRBY key field int
HMGET key field...
HSET key (field value)...
HSETNX key field value
LINSERT key (BEFORE|AFTER) value value
LLEN key
LMOVE key key (LEFT|RIGHT) (LEFT|RIGHT)
LMPOP keys (LEFT|RIGHT) [COUNT positive]
LPOP key [size]
LPUSH key value...
LPUSHX key value
LRANGE key index index
LREM key count value
LSET key index value
LTRIM key index index
RPOPLPUSH key key
RPUSH key value...
SADD key member...
SDIFF key...
SDIFFSTORE key key...
SINTERCARD keys
SINTERSTORE key key...
SISMEMBER key member
SMEMBERS key
SMOVE key key member
SREM key member...
SUNIONSTORE key key...
ZADD key {NX|XX|CH} (score member)...
ZADD key INCR score member
ZCARD key
ZINCRBY key score member
ZINTERSTORE key keys
ZMPOP keys (MIN|MAX)
ZPOPMIN key
ZRANGESTORE key key index index
ZREM key member...
ZREMRANGEBYRANK key index index
ZSCORE key member
ZUNION keys
ZUNIONSTORE key keys
BITCOUNT key
BITFIELD key SET field_type field_offset int
BITOP (AND|OR|XOR) key key...
BITPOS key bit
GETBIT key bit_offset
SETBIT key bit_offset bit
GEOADD key longitude latitude member
GEOPOS key member
PFADD key element...
PFCOUNT key
PFMERGE key key...
XACK key group stream_id...
XADD key {NOMKSTREAM|MAXLEN size} new_id (field value)...
XADD key new_id field value
XDEL key stream_id...
XGROUP CREATE key group group_id [MKSTREAM]
XGROUP CREATECONSUMER key group consumer
XGROUP DELCONSUMER key group consumer
XGROUP DESTROY key group
XGROUP SETID key group group_id
XLEN key
XRANGE key - +
XREAD STREAMS key xread_id
XREADGROUP GROUP group consumer STREAMS key >
XSETID key stream_id
XTRIM key MAXLEN size
"""

SHARDED: Final = """
SSUBSCRIBE channel...
SSUBSCRIBE channel
SUNSUBSCRIBE channel...
SUNSUBSCRIBE
SUBSCRIBE channel
UNSUBSCRIBE
PSUBSCRIBE channel_pattern
PUNSUBSCRIBE
SPUBLISH channel value
SPUBLISH channel value
SPUBLISH channel value
PUBLISH channel value
PUBSUB SHARDCHANNELS [channel_pattern]
PUBSUB SHARDNUMSUB channel...
PUBSUB CHANNELS
COMMAND GETKEYS SPUBLISH channel value
CLIENT INFO
CLIENT LIST TYPE PUBSUB
PING
GET key
HELLO protocol
MULTI
EXEC
RESET
QUIT
"""

# Not in it: CLIENT UNBLOCK, of which 7.0 dies when the client waits for the end of a pause.
PAUSE: Final = """
CLIENT PAUSE long WRITE
CLIENT PAUSE long WRITE
CLIENT UNPAUSE
CLIENT UNPAUSE
CLIENT UNPAUSE
CLIENT PAUSE bad_pause [WRITE|ALL|SOME]
CLIENT PAUSE long WRITE ALL
CLIENT PAUSE
CLIENT NO-EVICT (ON|OFF)
CLIENT REPLY ON
SET key value
SET key value
INCR key
GET key
GET key
SET key
NOSUCH key
PUBLISH channel value
PFCOUNT key
EVAL lua 0
MULTI
EXEC
DISCARD
PING
"""

# Not in it: what touches keys in Redis in other cases than in ours (SORT, GEO…STORE) or in the order of a hash table.
TRACKING: Final = """
CLIENT TRACKING ON
CLIENT TRACKING ON {OPTIN|NOLOOP}
CLIENT TRACKING ON {OPTOUT|NOLOOP}
CLIENT TRACKING ON (BCAST) {NOLOOP|PREFIX prefix}
CLIENT TRACKING ON (BCAST) (PREFIX prefix)... [NOLOOP]
CLIENT TRACKING ON (REDIRECT) client_id {NOLOOP|OPTIN|BCAST}
CLIENT TRACKING ON {BCAST|OPTIN|OPTOUT|NOLOOP|PREFIX prefix|REDIRECT client_id}
CLIENT TRACKING OFF
CLIENT TRACKING (ON|OFF|MAYBE)
CLIENT CACHING (YES|NO)
CLIENT CACHING YES
CLIENT CACHING NO
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT LIST
CLIENT INFO
CLIENT KILL ID client_id
CLIENT REPLY (ON|OFF|SKIP)
CLIENT REPLY ON
SUBSCRIBE invalidated
UNSUBSCRIBE
HELLO protocol
RESET
MULTI
EXEC
EXEC
DISCARD
GET key
GET key
GET key
MGET key...
MGET key...
EXISTS key...
HGETALL key
LRANGE key index index
TYPE key
SET key value
SET key value
SET key value
SETEX key seconds value
GETDEL key
GETEX key [PERSIST|EX seconds]
DEL key...
INCR key
APPEND key value
EXPIRE key seconds
EXPIRE key 0
PERSIST key
RENAME key key
COPY key key REPLACE
MSET (key value)...
RPUSH key value...
LPOP key
HSET key field value
SADD key member...
SINTER key...
SUNIONSTORE key key...
ZADD key score member
"""

# Users, what they may do, and what is said of them. Nobody changes `default`: as that one, every client comes in. Nobody
# subscribes: 7.0 crashes when a client takes from its own user what it hears.
ACL: Final = """
ACL SETUSER acl_user acl_rule...
ACL SETUSER acl_user acl_rule...
ACL SETUSER acl_user ON acl_rule...
ACL SETUSER acl_user ON NOPASS ALLCOMMANDS acl_rule...
ACL SETUSER acl_user RESET ON acl_secret ALLCOMMANDS acl_keys acl_rule...
ACL SETUSER acl_user
ACL GETUSER acl_user
ACL LIST
ACL USERS
ACL DELUSER acl_user...
ACL WHOAMI
ACL CAT [category]
ACL CAT category
ACL DRYRUN acl_user GET key
ACL DRYRUN acl_user SET key value [GET|NX]
ACL DRYRUN acl_user COPY key key
ACL DRYRUN acl_user command key value
ACL DRYRUN acl_user CONFIG (GET|SET|NOSUCH) parameter
ACL DRYRUN acl_user (PUBLISH|SUBSCRIBE|PSUBSCRIBE) channel [channel_pattern]
ACL LOG [count]
ACL LOG
ACL LOG RESET
ACL GENPASS [bits]
ACL NOSUCH
AUTH acl_user acl_password
AUTH acl_user acl_password
AUTH acl_user acl_password
AUTH acl_user acl_password
AUTH own_user acl_password
HELLO protocol AUTH acl_user acl_password
GET key
SET key value [GET|XX]
MGET key...
EXISTS key...
COPY key key
DEL key
APPEND key value
SORT key BY by_pattern
SORT key GET by_pattern
SINTERSTORE key key...
EVAL acl_script 0
EVAL acl_script 1 key
PUBLISH channel value
SPUBLISH channel value
CLIENT LIST
CLIENT KILL USER acl_user
CONFIG GET parameter
CONFIG SET ACL-PUBSUB-DEFAULT acl_channels
CONFIG SET ACLLOG-MAX-LEN size
SELECT db
MULTI
EXEC
DISCARD
RESET
"""

CONVERSATIONS: Final[dict[str, str]] = {
    "acl": ACL,
    "transactions": TRANSACTIONS,
    "connection": CONNECTION,
    "pub-sub": PUBLISHING,
    "server": SERVER,
    "notifications": NOTIFYING,
    "tracking": TRACKING,
    "sharded": SHARDED,
    "pause": PAUSE,
}

# What is said at the beginning of a story: (client, line).
PREFACES: Final[dict[str, list[tuple[int, str]]]] = {
    "tracking": [(0, "CLIENT TRACKING ON"), (1, "HELLO 3"), (1, "CLIENT TRACKING ON NOLOOP"), (2, "HELLO 3")],
    "notifications": [(0, "CONFIG SET notify-keyspace-events KEg$lshzxetmn"), (2, "PSUBSCRIBE __key*")],
}


def lines_of(table: str) -> list[str]:
    return table.strip().splitlines()


def command_of(line: str) -> list[str]:
    """["OBJECT", "ENCODING"] of `OBJECT ENCODING key`: the leading capital words."""
    words: list[str] = []
    for word in line.split():
        if word != word.upper() or not word[0].isalpha():
            break
        words.append(word)
    return words
