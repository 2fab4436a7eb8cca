"""One or more examples of every write command, by its name in the table: what test_replay runs.

An example is a list of lines, split as a shell does, run on one bench in order; the last line must be of the command that
it stands for and must change something. Add one example per form that changes the keyspace in its own way (an option, a
conversion, a removal). `+N` as a line lets N milliseconds pass; `@N` in a line is the time N milliseconds from the
bench's first; bytes that are no text are written in single quotes as in C: `'\\xff'`.

A new write command without an example fails test_every_write_command_has_an_example.
"""

from typing import Final

Example = list[str]

# What DUMP answers for {a: 1}, and with a deadline 10 seconds after the bench's first time.
_DUMPED_HASH: Final = "\\x10\\x0c\\x0c\\x00\\x00\\x00\\x02\\x00\\x81\\x61\\x02\\x01\\x01\\xff\\x0a\\x00\\x84\\xa6\\x93\\xe8\\xaa\\x17\\xe4\\xdb"
_DUMPED_DEADLINE: Final = "\\x18\\x10\\x8f\\xe5\\xcf\\x8b\\x01\\x00\\x00\\x01\\x01\\x01\\x61\\xc0\\x01\\x0c\\x00\\x69\\x44\\x49\\x77\\x73\\x67\\x10\\x0a"
_DUMPED_LIBRARY: Final = (
    "\\xf5\\x35\\x23\\x21\\x6c\\x75\\x61\\x20\\x6e\\x61\\x6d\\x65\\x3d\\x6c\\x0a\\x72\\x65\\x64\\x69\\x73\\x2e\\x72\\x65"
    "\\x67\\x69\\x73\\x74\\x65\\x72\\x5f\\x66\\x75\\x6e\\x63\\x74\\x69\\x6f\\x6e\\x28\\x31\\x2c\\x66\\x75\\x6e\\x63\\x74"
    "\\x69\\x6f\\x6e\\x28\\x29\\x65\\x6e\\x64\\x29\\x0a\\x00\\x90\\x75\\x9d\\xc0\\x9e\\x8c\\x28\\x01"
)
_LIBRARY: Final = "'#!lua name=l\nredis.register_function(1,function()end)'"

EXAMPLES: Final[dict[str, list[Example]]] = {
    # -- internal --
    "_CONFIG": [
        ["_CONFIG hash-max-listpack-entries 1", "HSET h a 1 b 2", "_CONFIG maxmemory 5 set-max-intset-entries 2"]
    ],
    "_DELUSER": [["_USER alice off", "_USER bob off", "_DELUSER alice bob"]],
    "_EVICTED": [["SET k v", "_EVICTED k"]],
    "_EXPIRED": [
        ["HSET h a 1 b 2 c 3", "HPEXPIRE h 1 FIELDS 2 a b", "+2", "_EXPIRED h a b"],
        ["HSET h a 1", "HPEXPIRE h 1 FIELDS 1 a", "+2", "_EXPIRED h a"],
        ["SET k v PX 1", "+2", "_EXPIRED k"],
        ["RPUSH k v", "PEXPIRE k 1", "+2", "_EXPIRED k"],
    ],
    "_SCRIPT": [["_SCRIPT 'return 1'"]],
    "_USER": [["_USER alice on nopass ~a* &c -@all +@read '(' %W~b +set ')'", "_USER alice off"]],
    # -- functions --
    "FUNCTION DELETE": [[f"FUNCTION LOAD {_LIBRARY}", "FUNCTION DELETE l"]],
    "FUNCTION FLUSH": [[f"FUNCTION LOAD {_LIBRARY}", "FUNCTION FLUSH ASYNC"]],
    "FUNCTION LOAD": [
        [f"FUNCTION LOAD {_LIBRARY}"],
        [f"FUNCTION LOAD {_LIBRARY}", f"FUNCTION LOAD REPLACE {_LIBRARY}"],
    ],
    "FUNCTION RESTORE": [
        [f"FUNCTION RESTORE '{_DUMPED_LIBRARY}'"],
        [f"FUNCTION LOAD {_LIBRARY}", f"FUNCTION RESTORE '{_DUMPED_LIBRARY}' REPLACE"],
        [f"FUNCTION LOAD {_LIBRARY}", f"FUNCTION RESTORE '{_DUMPED_LIBRARY}' FLUSH"],
    ],
    # -- strings --
    "APPEND": [["APPEND k 12"], ["SET k 12", "APPEND k 3"], ["SET k 12 PX 1", "+2", "APPEND k 3"]],
    "DECR": [["DECR k"], ["SET k 10 EX 5", "DECR k"]],
    "DECRBY": [["SET k 10", "DECRBY k 3"]],
    "DELEX": [
        ["SET k v", "DELEX k"],
        ["LPUSH k v", "DELEX k"],
        ["SET k v", "DELEX k IFEQ v"],
        ["SET k v", "DELEX k IFDNE 0123456789abcdef"],
    ],
    "GETDEL": [["SET k v", "GETDEL k"]],
    "GETEX": [
        ["SET k v", "GETEX k EX 10"],
        ["SET k v", "GETEX k PXAT @5000"],
        ["SET k v", "GETEX k PXAT @-5000"],
        ["SET k v EX 10", "GETEX k PERSIST"],
    ],
    "GETSET": [["SET k v EX 10", "GETSET k w"]],
    "INCR": [["INCR k"], ["APPEND k 1", "APPEND k 2", "INCR k"]],
    "INCRBY": [["INCRBY k -7"]],
    "INCRBYFLOAT": [["SET k 0.1", "INCRBYFLOAT k 0.2"], ["INCRBYFLOAT k 5.0e3"], ["SET k 1 EX 9", "INCRBYFLOAT k 1"]],
    "MSET": [["SET b old EX 10", "MSET a 1 b 2 a 3"]],
    "MSETNX": [["MSETNX a 1 b 2"]],
    "PSETEX": [["PSETEX k 1500 v"]],
    "SET": [
        ["SET k v"],
        ["SET k v EX 10", "+7000", "SET k w KEEPTTL"],
        ["SET k v EX 10"],
        ["SET k v PX 10", "+11", "SET k w"],
        ["SET k v PXAT @60000"],
        ["SET k v", "SET k w PXAT @-1"],
        ["SET k v", "SET k w XX GET"],
        ["SET k v NX"],
        ["SET k v", "SET k w IFEQ v EX 10"],
        ["SET k w IFNE v GET"],
        ["SET k v", "SET k w IFDNE 0123456789abcdef"],
        ["RPUSH k v", "SET k v"],
    ],
    "SETEX": [["SETEX k 10 v"]],
    "SETNX": [["SETNX k v"]],
    "SETRANGE": [["SETRANGE k 3 abc"], ["SET k abcdef EX 9", "SETRANGE k 1 xx"]],
    # -- bitmaps --
    "BITFIELD": [
        ["BITFIELD k SET u8 #1 200 OVERFLOW SAT INCRBY u8 #1 100 GET u4 0"],
        ["BITFIELD k OVERFLOW FAIL SET u2 3 9"],
        ["SET k 123", "BITFIELD k INCRBY i5 100 1"],
    ],
    "BITOP": [
        ["SET a abc", "SET b xy", "BITOP AND t a b"],
        ["SET a abc", "SET t old EX 10", "BITOP NOT t a"],
        ["SET t old", "BITOP OR t missing"],
        ["SET a abc", "SET b b", "BITOP DIFF t a b", "BITOP DIFF1 t b a", "BITOP ANDOR t b a", "BITOP ONE t a b"],
    ],
    "SETBIT": [["SETBIT k 7 1"], ["SET k 1", "SETBIT k 0 0"], ["SETBIT k 7 1", "SETBIT k 7 0"]],
    # -- keys --
    "COPY": [
        ["HSET a f 1 g 2", "HPEXPIRE a 1 FIELDS 1 f", "+2", "COPY a b"],
        ["SET a v EX 10", "COPY a b"],
        ["APPEND a x", "APPEND a y", "SET b old", "COPY a b REPLACE"],
        ["INCRBYFLOAT a 1", "COPY a b"],
    ],
    "DEL": [["SET a 1", "SET b 2", "DEL a missing b"], ["SET a 1", "SET b 2 PX 1", "+2", "DEL b a"]],
    "EXPIRE": [["SET k v", "EXPIRE k 10"], ["SET k v", "EXPIRE k -1"], ["SET k v EX 5", "+1000", "EXPIRE k 10 GT"]],
    "EXPIREAT": [["SET k v", "EXPIREAT k 1900000000"], ["SET k v", "EXPIREAT k 1"]],
    "FLUSHALL": [["SET a 1", "SET b 2 EX 5", "FLUSHALL"], ["SET a 1 PX 1", "+2", "FLUSHALL ASYNC"]],
    "FLUSHDB": [["SET a 1", "FLUSHDB SYNC"]],
    "PERSIST": [["SET k v EX 10", "PERSIST k"]],
    "PEXPIRE": [["SET k v", "PEXPIRE k 1500 NX"], ["SET k v", "PEXPIRE k 0"]],
    "PEXPIREAT": [["SET k v", "PEXPIREAT k @9000 LT"], ["SET k v", "PEXPIREAT k @0"]],
    "RENAME": [
        ["HSET a f 1 g 2", "HPEXPIRE a 1 FIELDS 1 f", "+2", "RENAME a b"],
        ["SET a v EX 10", "SET b old", "RENAME a b"],
        ["SET a v", "SET b old EX 10", "RENAME a b"],
        ["SET a v", "SET b old PX 1", "+2", "RENAME a b"],
    ],
    "RENAMENX": [["SET a v EX 10", "RENAMENX a b"]],
    "RESTORE-ASKING": [["SET k v", f"RESTORE-ASKING k 0 '{_DUMPED_HASH}' REPLACE"]],
    "RESTORE": [
        ["RESTORE k 0 '\\x00\\x05\\x68\\x65\\x6c\\x6c\\x6f\\x0a\\x00\\x63\\x72\\xdf\\x76\\x65\\x34\\x20\\x0a'"],
        ["SET k v", f"RESTORE k 5000 '{_DUMPED_HASH}' REPLACE IDLETIME 7"],
        ["SET k v PX 1", "+2", f"RESTORE k @5000 '{_DUMPED_HASH}' ABSTTL FREQ 9"],
        ["SET k v", f"RESTORE k @-5000 '{_DUMPED_HASH}' ABSTTL REPLACE"],
        [f"RESTORE k 0 '{_DUMPED_DEADLINE}'"],
        ["SET k v", "+20000", f"RESTORE k 0 '{_DUMPED_DEADLINE}' REPLACE"],
    ],
    "SORT": [
        ["RPUSH l 3 1 2", "SORT l STORE t"],
        ["RPUSH l 3 1 2", "SET w1 9", "SET w2 8", "SORT l BY w* GET # GET w* DESC STORE l"],
        ["SET t old", "SORT missing STORE t"],
        ["SADD s b a c", "SORT s BY nosort STORE t"],
    ],
    "UNLINK": [["SET a 1", "UNLINK a"]],
    # -- sorted sets --
    "ZADD": [
        ["ZADD z 1 a 2 b"],
        ["ZADD z 1 a", "ZADD z NX 1 a 8 h"],
        ["ZADD z 1 a 2 b", "ZADD z XX GT CH 9 a 0 b"],
        ["ZADD z 0.1 a", "ZADD z INCR 0.2 a"],
        ["ZADD z 1 a", "PEXPIRE z 1", "+2", "ZADD z -inf b inf c -0 d"],
    ],
    "ZDIFFSTORE": [["ZADD z 1 a 2 b", "SADD s b", "ZDIFFSTORE d 2 z s"]],
    "ZINCRBY": [["ZINCRBY z 1.5 a"], ["ZADD z 0.1 a", "EXPIRE z 9", "ZINCRBY z 0.2 a"]],
    "ZINTERSTORE": [["ZADD z 1 a 2 b", "ZADD y 0.1 b", "ZINTERSTORE i 2 z y WEIGHTS 3 1"]],
    "ZMPOP": [["ZADD z 1 a 2 b", "ZMPOP 2 none z MAX COUNT 1"], ["ZADD z 1 a", "ZMPOP 1 z MIN COUNT 5"]],
    "ZPOPMAX": [["ZADD z 1 a 2 b", "ZPOPMAX z"]],
    "ZPOPMIN": [["ZADD z 1 a 2 b 3 c", "ZPOPMIN z 2"]],
    "ZRANGESTORE": [
        ["ZADD z 1 a 2 b 3 c", "ZRANGESTORE r z 0 -1 REV LIMIT 1 2"],
        ["ZADD z 1 a 2 b 3 c", "ZRANGESTORE z z (1 +inf BYSCORE"],
        ["SET r old", "ZRANGESTORE r none 0 -1"],
    ],
    "ZREM": [["ZADD z 1 a 2 b", "ZREM z a missing"], ["ZADD z 1 a", "ZREM z a"]],
    "ZREMRANGEBYLEX": [
        ["ZADD z 0 a 0 b 0 c", "ZREMRANGEBYLEX z [b +"],
        ["ZADD z 3 a 1 b 2 c", "ZREMRANGEBYLEX z [a [b"],
    ],
    "ZREMRANGEBYRANK": [["ZADD z 1 a 2 b", "ZREMRANGEBYRANK z 0 0"], ["ZADD z 1 a", "ZREMRANGEBYRANK z 0 -1"]],
    "ZREMRANGEBYSCORE": [["ZADD z 1 a 2 b", "ZREMRANGEBYSCORE z -inf (2"]],
    "ZUNIONSTORE": [
        ["ZADD z 1 a 2 b", "SADD s b c", "ZUNIONSTORE u 2 z s WEIGHTS 2 3 AGGREGATE MAX"],
        ["ZADD z 1 a", "SET u old EX 10", "ZUNIONSTORE u 1 z"],
        ["SET u old", "ZUNIONSTORE u 1 none"],
    ],
    # -- geo --
    "GEOADD": [
        ["GEOADD g 13.361389 38.115556 p 15.087269 37.502669 c"],
        ["GEOADD g 13.361389 38.115556 p", "GEOADD g XX CH 2 48 p 3 49 new"],
        ["ZADD g 1 p", "PEXPIRE g 1", "+2", "GEOADD g NX -180 85 p"],
    ],
    "GEORADIUS": [["GEOADD g 13.36 38.11 p 15.08 37.5 c", "GEORADIUS g 14 38 200 km STORE t"]],
    "GEORADIUSBYMEMBER": [
        ["GEOADD g 13.36 38.11 p 15.08 37.5 c", "SET t old EX 9", "GEORADIUSBYMEMBER g p 200 mi STOREDIST t"],
    ],
    "GEOSEARCHSTORE": [
        ["GEOADD g 13.36 38.11 p 15.08 37.5 c", "GEOSEARCHSTORE t g FROMMEMBER p BYBOX 400 400 km STOREDIST"],
        ["GEOADD g 13.36 38.11 p 15.08 37.5 c", "GEOSEARCHSTORE g g FROMMEMBER p BYRADIUS 1 m"],
        ["SET t old", "GEOSEARCHSTORE t none FROMLONLAT 0 0 BYRADIUS 1 m"],
        ["SET t old PX 1", "+2", "GEOADD g 0 0 p", "GEOSEARCHSTORE t g FROMLONLAT 0 0 BYRADIUS 1 km ASC"],
    ],
    # -- hyperloglogs --
    "PFADD": [
        ["PFADD p a b c"],
        ["PFADD p"],
        ["PFADD p a", "PFCOUNT p", "EXPIRE p 9", "PFADD p b"],
        ["PFADD p " + " ".join(map(str, range(3000)))],
        ["PFADD p a", "PEXPIRE p 1", "+2", "PFADD p b"],
    ],
    "PFDEBUG": [["PFADD p a", "PFDEBUG GETREG p"], ["PFADD p a", "PFDEBUG TODENSE p"]],
    "PFMERGE": [
        ["PFADD a 1 2 3", "PFADD b 3 4", "PFMERGE t a b"],
        ["PFADD a 1 2 3", "PFDEBUG TODENSE a", "PFADD t 9", "PFMERGE t a none"],
        ["PFMERGE t"],
    ],
    # -- hashes --
    "HDEL": [
        ["HSET h a 1 b 2", "HPEXPIRE h 1 FIELDS 1 a", "+2", "HDEL h a b"],
        ["HSET h a 1 b 2", "HDEL h a missing"],
        ["HSET h a 1", "HDEL h a"],
    ],
    "HINCRBY": [
        ["HINCRBY h n 5"],
        ["HSET h n 7", "HINCRBY h n -9"],
        ["HSET h n 7", "HEXPIRE h 9 FIELDS 1 n", "HINCRBY h n 1"],
        ["HSET h n 7 m 8", "HPEXPIRE h 1 FIELDS 1 n", "+2", "HINCRBY h n 1"],
        ["HSET h n 7", "PEXPIRE h 1", "+2", "HINCRBY h n 1"],
    ],
    "HINCRBYFLOAT": [["HINCRBYFLOAT h f 0.1"], ["HSET h f 0.1", "HINCRBYFLOAT h f 0.2"]],
    "HMSET": [["HMSET h a 1 b 2 a 3"]],
    "HSET": [
        ["HSET h a 1"],
        ["HSET h a 1", "EXPIRE h 9", "HSET h a 1 b 2"],
        ["HSET h a 1 b 2", "HEXPIRE h 9 FIELDS 2 a b", "HSET h a 3"],
        ["HSET h a 1 b 2", "HPEXPIRE h 1 FIELDS 1 a", "+2", "HSET h a 3"],
        ["HSET h a 1 b 2", "HPEXPIRE h 1 FIELDS 2 a b", "EXPIRE h 9", "+2", "HSET h c 3"],
        [f"HSET h f {'x' * 65}"],
        ["HSET h " + " ".join(["f v"] * 129)],
    ],
    "HSETNX": [["HSETNX h a 1"], ["HSET h a 1", f"HSETNX h {'x' * 65} 1"]],
    "HEXPIRE": [
        ["HSET h a 1 b 2", "HEXPIRE h 10 FIELDS 2 a none"],
        ["HSET h a 1 b 2", "HEXPIRE h 0 FIELDS 1 a"],
        ["HSET h a 1", "HEXPIRE h 0 FIELDS 1 a"],
        ["HSET h a 1", "HEXPIRE h 10 FIELDS 1 a", "+1000", "HEXPIRE h 10 GT FIELDS 1 a"],
    ],
    "HEXPIREAT": [["HSET h a 1", "HEXPIREAT h 1900000000 NX FIELDS 1 a"]],
    "HGETDEL": [["HSET h a 1 b 2", "HGETDEL h FIELDS 2 a none"], ["HSET h a 1", "HGETDEL h FIELDS 1 a"]],
    "HGETEX": [
        ["HSET h a 1", "HGETEX h EX 10 FIELDS 2 a none"],
        ["HSET h a 1", "HEXPIRE h 10 FIELDS 1 a", "HGETEX h PERSIST FIELDS 1 a"],
        ["HSET h a 1 b 2", "HGETEX h PXAT 1 FIELDS 1 a"],
    ],
    "HPERSIST": [["HSET h a 1 b 2", "HEXPIRE h 10 FIELDS 2 a b", "HPERSIST h FIELDS 1 a"]],
    "HPEXPIRE": [["HSET h a 1", "HPEXPIRE h 1500 FIELDS 1 a"]],
    "HPEXPIREAT": [["HSET h a 1", "HPEXPIREAT h @9000 FIELDS 1 a"], ["HSET h a 1 b 2", "HPEXPIREAT h @0 FIELDS 1 a"]],
    "HSETEX": [
        ["HSETEX h EX 10 FIELDS 2 a 1 b 2"],
        ["HSET h a 1", "HEXPIRE h 10 FIELDS 1 a", "HSETEX h KEEPTTL FIELDS 1 a 2"],
        ["HSET h a 1", "HEXPIRE h 10 FIELDS 1 a", "HSETEX h FXX FIELDS 1 a 2"],
        ["HSET h a 1 b 2", "HSETEX h PXAT 1 FIELDS 2 a 2 c 3"],
        ["HSETEX h PX 1 FIELDS 1 a 1", "EXPIRE h 100", "+2", "HSETEX h FNX FIELDS 1 a 2"],
    ],
    # -- lists --
    "LINSERT": [["RPUSH l a b a", "LINSERT l BEFORE b x"], ["RPUSH l a b", "LINSERT l AFTER b x"]],
    "BLMOVE": [["RPUSH l a b", "BLMOVE l m LEFT RIGHT 0"]],
    "BLMPOP": [["RPUSH l a b c", "BLMPOP 1 2 none l RIGHT COUNT 2"]],
    "BLPOP": [["RPUSH l a b", "BLPOP none l 0"], ["RPUSH l a", "BLPOP l 1.5"]],
    "BRPOP": [["RPUSH l a b", "BRPOP l 0"]],
    "BRPOPLPUSH": [["RPUSH l a b", "BRPOPLPUSH l m 0"]],
    "BZMPOP": [["ZADD z 1 a 2 b", "BZMPOP 0 2 none z MAX COUNT 1"]],
    "BZPOPMAX": [["ZADD z 1 a 2 b", "BZPOPMAX none z 0"]],
    "BZPOPMIN": [["ZADD z 1 a", "BZPOPMIN z 0"]],
    "LMOVE": [
        ["RPUSH l a b", "LMOVE l t LEFT RIGHT"],
        ["RPUSH l a b c", "LMOVE l l LEFT RIGHT"],
        ["RPUSH l a", "LMOVE l l RIGHT LEFT"],
        ["RPUSH l a", "RPUSH t b", "EXPIRE t 9", "LMOVE l t RIGHT LEFT"],
    ],
    "LMPOP": [["RPUSH l a b c", "LMPOP 2 none l RIGHT COUNT 2"], ["RPUSH l a b", "LMPOP 1 l LEFT COUNT 9"]],
    "LPOP": [
        ["RPUSH l a b", "LPOP l"],
        ["RPUSH l a", "LPOP l"],
        ["RPUSH l a b c", "LPOP l 2"],
        ["RPUSH l a", "LPOP l 9"],
    ],
    "LPUSH": [["LPUSH l a b"], ["RPUSH l a", "PEXPIRE l 1", "+2", "LPUSH l b"]],
    "LPUSHX": [["RPUSH l a", "LPUSHX l b c"]],
    "LREM": [
        ["RPUSH l a b a c a", "LREM l 2 a"],
        ["RPUSH l a b a c a", "LREM l -2 a"],
        ["RPUSH l a b a", "LREM l 0 a"],
        ["RPUSH l a a", "LREM l 0 a"],
    ],
    "LSET": [["RPUSH l a b", "LSET l -1 c"]],
    "LTRIM": [["RPUSH l a b c d", "LTRIM l 1 -2"], ["RPUSH l a b c d", "LTRIM l 1 1"], ["RPUSH l a", "LTRIM l 5 9"]],
    "RPOP": [["RPUSH l a b", "RPOP l"], ["RPUSH l a b c", "RPOP l 2"]],
    "RPOPLPUSH": [["RPUSH l a b", "RPOPLPUSH l t"], ["RPUSH l a b", "RPOPLPUSH l l"]],
    "RPUSH": [["RPUSH l a b"]],
    "RPUSHX": [["RPUSH l a", "RPUSHX l b c"]],
    # -- sets --
    "SADD": [
        ["SADD s 1 2 3"],
        ["SADD s 1 2 3", "SADD s a"],
        [f"SADD s 1 {'x' * 65}"],
        ["SADD s " + " ".join(map(str, range(600)))],
        ["SADD s " + "a " * 129],
    ],
    "SDIFFSTORE": [
        ["SADD a 1 2 3", "SADD b 2", "SDIFFSTORE t a b"],
        ["SADD a 1 2", "SDIFFSTORE a a none"],
        ["SADD t x", "SDIFFSTORE t none"],
    ],
    "SINTERSTORE": [
        ["SADD a x 2 3", "SADD b 3 2", "SET t old EX 9", "SINTERSTORE t a b"],
        ["SADD t 1", "SINTERSTORE t none t"],
    ],
    "SMOVE": [["SADD a x y", "SMOVE a b x"], ["SADD a x", "SADD b x", "SMOVE a b x"]],
    "SPOP": [
        ["SADD s a b c d e f", "SPOP s"],
        ["SADD s a", "SPOP s"],
        ["SADD s a b c d e f", "SPOP s 3"],
        ["SADD s a b c", "SPOP s 3"],
    ],
    "SREM": [["SADD s a b c d", "SREM s b missing a"], ["SADD s a", "SREM s a"]],
    "SUNIONSTORE": [
        ["SADD a x 2 3", "SADD b 3 4", "SREM a x", "SUNIONSTORE t a b"],
        ["SADD t x", "SUNIONSTORE t none"],
    ],
    # -- streams --
    "XACK": [["XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "XACK s g 1-1 9-9"]],
    "XACKDEL": [
        ["XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "XACKDEL s g IDS 2 1-1 9-9"],
        [
            "XADD s 1-1 f v",
            "XGROUP CREATE s g 0",
            "XGROUP CREATE s h 0",
            "XREADGROUP GROUP g c STREAMS s >",
            "XREADGROUP GROUP h c STREAMS s >",
            "XACKDEL s g ACKED IDS 1 1-1",
            "XACKDEL s h DELREF IDS 1 1-1",
        ],
    ],
    "XADD": [
        ["XADD s * f v"],
        ["XADD s * f v", "XADD s * f w", "+5", "XADD s * f x"],
        ["XADD s 5-* f v", "XADD s 5-* f w"],
        ["XADD s 5-1 f v", "XADD s MAXLEN 1 6 f v g w"],
        ["XADD s 5-1 f v", "XADD s NOMKSTREAM MINID ~ 6 LIMIT 1 7-7 f v"],
        ["XADD s 99999999999999-9 f v", "XADD s * f w"],
        ["XADD s MAXLEN 0 * f v"],
        ["XADD s 1-1 f v", "PEXPIRE s 1", "+2", "XADD s 1-1 f w"],
    ],
    "XAUTOCLAIM": [
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "+9", "XAUTOCLAIM s g d 9 0"],
        ["XGROUP CREATE s g 0 MKSTREAM", "XAUTOCLAIM s g d 9 0 COUNT 1 JUSTID"],
        [
            "XADD s 1 f v",
            "XADD s 2 f v",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g c STREAMS s >",
            "XDEL s 1",
            "XAUTOCLAIM s g c 0 - JUSTID",
        ],
    ],
    "XCLAIM": [
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "+9", "XCLAIM s g d 9 1 2"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "+9", "XCLAIM s g d 0 1 FORCE IDLE 3 RETRYCOUNT 7 LASTID 4-4"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XCLAIM s g d 0 1 TIME @-5 JUSTID FORCE", "XCLAIM s g e 0 1 TIME @-7"],
    ],
    "XDEL": [["XADD s 1 f v", "XADD s 2 f v", "XDEL s 1 3 1"], ["XADD s 1 f v", "XDEL s 1"]],
    "XDELEX": [
        ["XADD s 1 f v", "XDELEX s IDS 2 1 3"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "XDELEX s DELREF IDS 1 1"],
        ["XADD s 1 f v", "XADD s 2 f v", "XGROUP CREATE s g 1", "XDELEX s ACKED IDS 2 1 2"],
    ],
    "XGROUP CREATE": [
        ["XADD s 1 f v", "XGROUP CREATE s g $"],
        ["XGROUP CREATE s g $ MKSTREAM"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0-1 ENTRIESREAD 3"],
    ],
    "XGROUP CREATECONSUMER": [["XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATECONSUMER s g c"]],
    "XGROUP DELCONSUMER": [
        ["XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATECONSUMER s g c", "XGROUP DELCONSUMER s g c"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "XGROUP DELCONSUMER s g c"],
    ],
    "XGROUP DESTROY": [["XGROUP CREATE s g $ MKSTREAM", "XGROUP DESTROY s g"]],
    "XGROUP SETID": [
        ["XADD s 1 f v", "XGROUP CREATE s g $", "XGROUP SETID s g 0 ENTRIESREAD 0"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XGROUP SETID s g $"],
    ],
    "XREADGROUP": [
        ["XADD s 1 f v", "XADD s 2 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS s >"],
        ["XADD s 1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c NOACK STREAMS s >"],
        ["XGROUP CREATE s g 0 MKSTREAM", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"],
        [
            "XADD s 1 f v",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g c STREAMS s >",
            "+7",
            "XREADGROUP GROUP g c STREAMS s 0",
        ],
        [
            "XADD s 1 f v",
            "XADD t 1 f v",
            "XGROUP CREATE s g 0",
            "XGROUP CREATE t g 0",
            "XREADGROUP GROUP g c STREAMS s >",
            "XGROUP SETID s g 0",
            "XREADGROUP GROUP g d STREAMS s t > >",
        ],
    ],
    "XSETID": [["XADD s 1 f v", "XSETID s 9-9 ENTRIESADDED 7 MAXDELETEDID 4-4"], ["XADD s 1 f v", "XSETID s 1"]],
    "XTRIM": [
        ["XADD s 1 f v", "XADD s 2 f v", "XTRIM s MAXLEN = 1"],
        ["XADD s 1 f v", "XADD s 2 f v", "XTRIM s MINID ~ 2 LIMIT 0"],
        ["XADD s 1 f v", "XTRIM s MAXLEN ~ 0"],
    ],
    # -- json --
    "JSON.ARRAPPEND": [['JSON.SET j $ \'{"a":[],"b":{"a":[1]}}\'', "JSON.ARRAPPEND j $..a 1.50 '{\"c\":1}'"]],
    "JSON.ARRINSERT": [["JSON.SET j $ [1,2]", "JSON.ARRINSERT j . -1 [3] 4"]],
    "JSON.ARRPOP": [["JSON.SET j $ [[1,2],[],3]", "JSON.ARRPOP j $.* 0"], ["JSON.SET j . [1]", "JSON.ARRPOP j"]],
    "JSON.ARRTRIM": [["JSON.SET j $ [1,2,3]", "JSON.ARRTRIM j . 1 -1"]],
    "JSON.CLEAR": [['JSON.SET j $ \'{"a":[1],"b":2.5,"c":"x"}\'', "JSON.CLEAR j $.*"]],
    "JSON.DEL": [
        ['JSON.SET j $ \'{"a":1,"b":{"a":[1,2,3]}}\'', "JSON.DEL j $..a[0,2]"],
        ["JSON.SET j $ {}", "EXPIRE j 9", "JSON.DEL j"],
    ],
    "JSON.FORGET": [['JSON.SET j $ \'{"a":{"a":1}}\'', "JSON.FORGET j $..a"]],
    "JSON.MERGE": [
        ['JSON.MERGE j $ \'{"a":{"b":null,"c":1E3}}\''],
        ['JSON.SET j $ \'{"a":{"b":1},"c":[]}\'', 'JSON.MERGE j $.* \'{"b":null,"d":{}}\''],
        ["JSON.SET j $ {}", "JSON.MERGE j .a 1"],
    ],
    "JSON.MSET": [["JSON.SET b $ {}", "JSON.MSET a $ 1 b $.x 2 c $ [] c $ {} c $.y -0"]],
    "JSON.NUMINCRBY": [
        ["JSON.SET j $ [1,2.5,9223372036854775807]", "JSON.NUMINCRBY j $.* 1"],
        ["JSON.SET j $ 0.1", "JSON.NUMINCRBY j . 0.2"],
    ],
    "JSON.NUMMULTBY": [['JSON.SET j $ [3,1e300,-0,\\"x\\"]', "JSON.NUMMULTBY j $.* 1.1"]],
    "JSON.SET": [
        ['JSON.SET j $ \'{"b":1.0,"a":"\\u00e9"}\''],
        ["JSON.SET j $ {} NX", "EXPIRE j 9", "JSON.SET j $ [1,1.50] XX"],
        ["JSON.SET j $ {} NX", "PEXPIRE j 1", "+2", "JSON.SET j $ []"],
        ['JSON.SET j $ \'{"a":{"b":1},"c":{"b":2}}\'', "JSON.SET j $..b [{}]"],
        ["JSON.SET j $ {}", "JSON.SET j a.b 1 XX", "JSON.SET j a 1 NX"],
    ],
    "JSON.STRAPPEND": [['JSON.SET j $ \'["a",1,"b"]\'', "JSON.STRAPPEND j $.* '\"é\"'"]],
    "JSON.TOGGLE": [["JSON.SET j $ [true,false,0]", "JSON.TOGGLE j $.*"]],
}

# Write commands that never change anything here: with one database MOVE can only refuse.
WITHOUT_EFFECT: Final = {"MOVE", "SWAPDB"}
