"""Context: what one execution may see and do.

A handler reads with `find…`, changes with `edit…` then `save`, or with `put`, `remove`, `expire`; it says with `log_as`
what the log should carry instead of the command itself, and with `publish` and `notify` what others should hear. That is
all. The context remembers what was touched, so that nothing else has to be told: the log, the change index, parked
sessions and the edge cache are all fed from it.

Order inside a handler: read the arguments, check, then change. A handler that raises has changed nothing.

A key whose deadline is at or before `now_ms` is hidden: `find…` answers None, `edit…` and `put` start afresh. It leaves
the keyspace physically only by an entry (the leader's sweep logs `_EXPIRED`), so that equal positions mean equal digests.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from upstash_global.engine.accesses import Accesses
from upstash_global.engine.functions import Functions
from upstash_global.engine.keyspace import Keyspace
from upstash_global.engine.parameters import ClusterParameters, load_parameters
from upstash_global.engine.scripts import Scripts
from upstash_global.engine.types.hash import Hash
from upstash_global.engine.types.indexedset import IndexedSet
from upstash_global.engine.types.json import Json
from upstash_global.engine.types.list import List
from upstash_global.engine.types.sortedset import SortedSet
from upstash_global.engine.types.stream import Stream
from upstash_global.errors import CommandError, wrong_type
from upstash_global.reply import PENDING, Reply

if TYPE_CHECKING:
    from random import Random

    from upstash_global.engine.users import Caller, Users

# Classes of keyspace events, as `notify-keyspace-events` names them.
EVENT_GENERIC: Final = 1 << 0  # g
EVENT_STRING: Final = 1 << 1  # $
EVENT_LIST: Final = 1 << 2  # l
EVENT_SET: Final = 1 << 3  # s
EVENT_HASH: Final = 1 << 4  # h
EVENT_ZSET: Final = 1 << 5  # z
EVENT_EXPIRED: Final = 1 << 6  # x
EVENT_EVICTED: Final = 1 << 7  # e
EVENT_STREAM: Final = 1 << 8  # t
EVENT_NEW: Final = 1 << 9  # n
EVENT_MODULE: Final = 1 << 10  # d
EVENT_MISS: Final = 1 << 11  # m
MESSAGE: Final = 0  # no class of events: what PUBLISH says
SHARD_MESSAGE: Final = -1  # and SPUBLISH

Said = tuple[int, bytes, bytes]  # (class, event name, key), or (MESSAGE or SHARD_MESSAGE, message, channel)

# What a unit begins with, never added to: one that has something has a list of its own.
_NO_COMMANDS: Final[list[list[bytes]]] = []
_NO_KEYS: Final[list[bytes]] = []
_NOTHING_SAID: Final[list[Said]] = []


class Effects:
    """What one unit changed and said."""

    def __init__(
        self, commands: list[list[bytes]], touched: list[bytes], flushed: bool = False, said: list[Said] = _NOTHING_SAID
    ) -> None:
        self.commands = commands  # deterministic; the payload of the entry
        self.touched = touched  # keys, repeats included
        self.unwatched = _NO_KEYS  # those of them whose change is none to WATCH, as often as it was none
        self.flushed = flushed  # the whole keyspace was emptied
        self.said = said  # messages and keyspace events, in their order

    @property
    def events(self) -> list[Said]:
        """The keyspace events alone."""
        return [said for said in self.said if said[0] > MESSAGE]


class Blocked:
    """What a command that found nothing waits for."""

    __slots__ = ("keys", "timeout_ms", "timeout_reply", "argv")

    def __init__(
        self, keys: list[bytes], timeout_ms: int, timeout_reply: Reply, argv: list[bytes] | None = None
    ) -> None:
        self.keys = keys  # a change of any of them is worth another try
        self.timeout_ms = timeout_ms  # 0: for ever
        self.timeout_reply = timeout_reply
        self.argv = argv  # what is tried again, if not the command as it came (XREAD's `$` is an id by then)


class Context(Effects):
    """One per engine, reused: `begin` starts a unit (a command, an EXEC, a script), whose effects so far it is."""

    def __init__(self, keyspace: Keyspace, random: "Random", users: "Users") -> None:
        super().__init__(_NO_COMMANDS, _NO_KEYS)
        self.keyspace = keyspace
        self.random = random
        self.now_ms = 0  # leader time of this unit, milliseconds since 1970; during replay the entry's
        self.receivers: Callable[[int, bytes], int] = _no_receivers  # deliveries a message makes on this node
        self.scripts = Scripts()
        self.parameters = ClusterParameters()
        self.limits = self.parameters.limits  # thresholds of encodings, and how long a string may be
        self.configured: Callable[[bytes, bytes], None] = _not_told  # a cluster parameter has got this value
        self.functions = Functions()
        self.users = users
        self.caller: Caller | None = None  # on whose behalf the unit runs; None: nobody's, or a replay
        self.denied: Callable[[Any, Any], None] = _unheard  # told what a script was denied: (Caller, Denial)
        self.interpreter: Any = None  # lua.Interpreter, from the first script on
        self.pause: Callable[[], bool] | None = (
            None  # how a running script lets others have a turn; False: it has to end
        )
        self.read_in_script: list[
            bytes
        ] = []  # what the last script read, if its caller tracks keys; some perhaps twice
        self.overhear: Callable[[list[bytes]], None] | None = None  # a script calls this
        # Told of a command that a script has called, and when it began; what time it is. None: they are not measured.
        self.note_duration: Callable[[Any, list[bytes], int], int] | None = None
        self.serve: Callable[[Any, list[bytes]], Reply] | None = None  # a session command (Row, argv) of a script
        self.event_mask = 0  # EVENT_… classes that are told
        self.missed: list[bytes] = []  # keys looked up in vain by the running command
        self.n_misses = 0  # of reads, ever
        self.tell_miss: Callable[[bytes], None] = _nobody  # a read found no such key
        self.tell_bug: Callable[[str, Exception], None] = _raise  # a handler raised what is no refusal
        self.tell_failure: Callable[[CommandError], None] = _ignore  # a command of a script was refused or failed
        self.oom: CommandError | None = None  # why scripts may not run what takes memory
        self.lacks_replicas: CommandError | None = None  # why scripts may not begin to write
        self.may_block = True  # not inside MULTI and scripts
        self.blocked: Blocked | None = None  # what the command that answered PENDING waits for
        self.changed = False  # the running command changed something
        self.logged = False  # the running command said with log_as what to log

    def take_parameters(self, plain: Any) -> None:
        """Replace the cluster parameters by what a snapshot says; None stands for no changed ones."""
        self.parameters = load_parameters(plain)
        self.limits = self.parameters.limits

    def begin(self, now_ms: int, caller: "Caller | None" = None) -> None:
        if self.keyspace.accesses is not None:
            self._note_changes(self.keyspace.accesses)
        self.now_ms = now_ms
        self.caller = caller
        if self.commands or self.touched:  # kept by whoever took the last unit's effects, as is what was said
            self.commands = _NO_COMMANDS
            self.touched = _NO_KEYS
            self.unwatched = _NO_KEYS
        if self.said:
            self.said = _NOTHING_SAID
        self.flushed = False
        self.changed = False
        self.logged = False

    def _note_changes(self, accesses: Accesses) -> None:
        """The keys that the last unit changed count as used, and those that it removed are forgotten."""
        for key in self.touched:
            if key not in self.keyspace.values:
                accesses.forget(key)
            elif key not in accesses.given:
                accesses.use(key, self.now_ms, self.random)
        accesses.given.clear()

    # -- reading ------------------------------------------------------------------------------------------------

    def find(self, key: bytes) -> Any:
        """The value of any type, or None; the caller must not change it."""
        keyspace = self.keyspace
        value = keyspace.values.get(key)
        if value is not None:
            if keyspace.deadlines:
                deadline = keyspace.deadlines.get(key)
                if deadline is not None and deadline <= self.now_ms:
                    return self._miss(key)
            if keyspace.hashes.times and keyspace.is_gone(key, self.now_ms):
                return self._miss(key)
            if keyspace.accesses is not None and (self.caller is None or not self.caller.no_touch):
                keyspace.accesses.note(key, self.now_ms, self.random)
            return value
        return self._miss(key)

    def peek(self, key: bytes) -> Any:
        """As `find`, for commands about a key rather than its value: not an access (TTL, TYPE, EXISTS, OBJECT)."""
        value = self.glance(key)
        return value if value is not None else self._miss(key)

    def glance(self, key: bytes) -> Any:
        """As `peek`, for the node's own purposes: nobody is told that there is no such key."""
        deadline = self.keyspace.deadlines.get(key)
        if deadline is not None and deadline <= self.now_ms:
            return None
        value = self.keyspace.values.get(key)
        if value is None or (self.keyspace.hashes.times and self.keyspace.is_gone(key, self.now_ms)):
            return None
        return value

    def touch(self, key: bytes) -> bool:
        """An access of a key for its own sake, also by a caller whose reads are none; False if there is no such key."""
        if self.peek(key) is None:
            return False
        if self.keyspace.accesses is not None:
            self.keyspace.accesses.note(key, self.now_ms, self.random)
        return True

    def _miss(self, key: bytes) -> None:
        self.missed.append(key)

    def find_string(self, key: bytes) -> bytes | None:
        """The bytes of a string, or None. Raises WRONGTYPE. An edited string is copied."""
        value = self.find(key)
        if value is None or type(value) is bytes:
            return value
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        raise wrong_type()

    def view_string(self, key: bytes) -> bytes | bytearray | None:
        """The string as it stands, uncopied, or None; the caller must neither change nor keep it. Raises WRONGTYPE."""
        value = self.find(key)
        if value is None or isinstance(value, (bytes, bytearray)):
            return value
        raise wrong_type()

    def find_list(self, key: bytes) -> List | None:
        value = self.find(key)
        if value is not None and type(value) is not List:
            raise wrong_type()
        return value

    def find_hash(self, key: bytes) -> Hash | None:
        value = self.find(key)
        if value is not None and type(value) is not Hash:
            raise wrong_type()
        return value

    def find_set(self, key: bytes) -> IndexedSet | None:
        value = self.find(key)
        if value is not None and type(value) is not IndexedSet:
            raise wrong_type()
        return value

    def find_zset(self, key: bytes) -> SortedSet | None:
        value = self.find(key)
        if value is not None and type(value) is not SortedSet:
            raise wrong_type()
        return value

    def find_stream(self, key: bytes) -> Stream | None:
        value = self.find(key)
        if value is not None and type(value) is not Stream:
            raise wrong_type()
        return value

    def find_json(self, key: bytes) -> Json | None:
        value = self.find(key)
        if value is not None and type(value) is not Json:
            raise wrong_type()
        return value

    def exists(self, key: bytes) -> bool:
        return self.peek(key) is not None

    def deadline(self, key: bytes) -> int:
        """When the visible key expires, in milliseconds since 1970; -1 without a deadline, -2 without a key."""
        if self.peek(key) is None:
            return -2
        deadline = self.keyspace.deadlines.get(key)
        return -1 if deadline is None else deadline

    # -- changing -----------------------------------------------------------------------------------------------

    def edit_string(self, key: bytes) -> bytearray:
        """The string as a bytearray to change in place; a new empty one if there is no key. `save` afterwards."""
        value = self.find(key)
        if value is None:
            return bytearray()
        if isinstance(value, bytearray):
            self._before_change(key)
            return value
        if isinstance(value, bytes):
            return bytearray(value)
        raise wrong_type()

    def edit_list(self, key: bytes) -> List:
        value = self.find_list(key)
        if value is None:
            return List()
        self._before_change(key)
        return value

    def edit_hash(self, key: bytes) -> Hash:
        value = self.find_hash(key)
        if value is None:
            return Hash()
        self._before_change(key)
        return value

    def edit_hidden_hash(self, key: bytes) -> Hash | None:
        """The hash that is present under a key, though all its fields may be hidden: what `_EXPIRED` edits."""
        value = self.keyspace.values.get(key)
        if type(value) is not Hash:
            return None
        self._before_change(key)
        return value

    def save_hash(self, key: bytes, value: Hash) -> bool:
        """Note an edited hash, whose fields may have got or lost deadlines; True if it is a key no more."""
        if value.is_gone(self.now_ms):
            self.save(key, Hash())  # hidden fields that are left go with the last visible one
            return True
        self.save(key, value)
        if value.deadlines is not None or self.keyspace.hashes.times:
            self.keyspace.note_fields(key, value)
        return False

    def edit_set(self, key: bytes) -> IndexedSet:
        value = self.find_set(key)
        if value is None:
            return IndexedSet()
        self._before_change(key)
        return value

    def edit_zset(self, key: bytes) -> SortedSet:
        value = self.find_zset(key)
        if value is None:
            return SortedSet()
        self._before_change(key)
        return value

    def edit_stream(self, key: bytes) -> Stream:
        value = self.find_stream(key)
        if value is None:
            return Stream()
        self._before_change(key)
        return value

    def edit_json(self, key: bytes) -> Json:
        """The document; a new one that holds null if there is no key."""
        value = self.find_json(key)
        if value is None:
            return Json(None)
        self._before_change(key)
        return value

    def save(self, key: bytes, value: Any) -> None:
        """Note an edited value: the deadline is kept, an empty container is no key any more (strings may be empty)."""
        keyspace = self.keyspace
        if keyspace.deadlines:
            deadline = keyspace.deadlines.get(key)
            if deadline is not None and deadline <= self.now_ms:
                self._before_change(key)
                self.notify(EVENT_EXPIRED, b"expired", key)
                keyspace.forget(key)  # hidden: the value is a new one and must not inherit the deadline
        if type(value) is bytes and keyspace.index is None and not keyspace.hashes.times:
            self._before_change(key)
            if self.event_mask & EVENT_NEW and key not in keyspace.values:
                self._say((EVENT_NEW, b"new", key))
            keyspace.values[key] = value
        elif not value and not isinstance(value, bytearray):
            if key in keyspace.values:
                self._before_change(key)
                keyspace.forget(key)
        elif keyspace.values.get(key) is not value:
            self._before_change(key)
            if keyspace.hashes.times and key in keyspace.values and keyspace.is_gone(key, self.now_ms):
                keyspace.forget(key)  # a new hash must not inherit the deadline of one whose fields are all hidden
            if self.event_mask & EVENT_NEW and key not in keyspace.values:
                self._say((EVENT_NEW, b"new", key))
            keyspace.store(key, value)
        self._note_change(key)

    def save_unwatched(self, key: bytes, value: Any) -> None:
        """As `save`, but a transaction that watches the key goes on.

        So it is in Redis 7.2 with what a stream has beside its entries, and with a string that has only got another form.
        """
        self.save(key, value)
        if self.unwatched:
            self.unwatched.append(key)
        else:
            self.unwatched = [key]

    def put(self, key: bytes, value: Any) -> None:
        """Store a new value (a string may be empty); the deadline is cleared."""
        keyspace = self.keyspace
        if keyspace.observer is not None:
            keyspace.observer.before_change(key)
        if self.event_mask:
            self._notify_put(key)
        if keyspace.index is None and type(value) is bytes:
            keyspace.values[key] = value
        else:
            keyspace.store(key, value)
        if keyspace.deadlines and key in keyspace.deadlines:
            keyspace.clear_deadline(key)
        self._note_change(key)

    def _notify_put(self, key: bytes) -> None:
        """What there is to tell before a new value is stored: a hidden key has expired by now, a new one comes."""
        if self.keyspace.deadlines.get(key, self.now_ms + 1) <= self.now_ms:
            self.notify(EVENT_EXPIRED, b"expired", key)
            self.notify(EVENT_NEW, b"new", key)
        elif key not in self.keyspace.values:
            self.notify(EVENT_NEW, b"new", key)

    def remove(self, key: bytes) -> bool:
        """Remove a visible key; False if there is none."""
        if self.find(key) is None:
            return False
        self._before_change(key)
        self.keyspace.forget(key)
        self._note_change(key)
        return True

    def remove_hidden(self, key: bytes) -> bool:
        """Remove a key whatever its deadline says: what `_EXPIRED` and `_EVICTED` do. False if there is none."""
        if key not in self.keyspace.values:
            return False
        self._before_change(key)
        self.keyspace.forget(key)
        self._note_change(key)
        return True

    def expire(self, key: bytes, at_ms: int) -> None:
        """Give a visible key a deadline (milliseconds since 1970), or with -1 none."""
        self._before_change(key)
        if at_ms < 0:
            self.keyspace.clear_deadline(key)
        else:
            self.keyspace.set_deadline(key, at_ms)
        self._note_change(key)

    def flush(self) -> None:
        """Empty the keyspace, hidden keys included."""
        if self.keyspace.observer is not None:
            self.keyspace.observer.before_flush()
        self.keyspace.clear()
        self.flushed = True
        self.changed = True

    def _note_change(self, key: bytes) -> None:
        if self.touched:
            self.touched.append(key)
        else:
            self.touched = [key]
        self.changed = True

    def _before_change(self, key: bytes) -> None:
        observer = self.keyspace.observer
        if observer is not None:
            observer.before_change(key)

    @property
    def is_in_script(self) -> bool:
        return self.interpreter is not None and self.interpreter.running is not None

    def note_script_read(self, keys: list[bytes]) -> None:
        """The running script has read these keys."""
        self.read_in_script.extend(keys)

    def take_script_reads(self) -> list[bytes]:
        """What the script that has just run has read."""
        keys, self.read_in_script = self.read_in_script, []
        return keys

    # -- saying -------------------------------------------------------------------------------------------------

    def _say(self, what: Said) -> None:
        if self.said:
            self.said.append(what)
        else:
            self.said = [what]

    def note_command(self, argv: list[bytes]) -> None:
        """The log carries this for the running command."""
        if self.commands:
            self.commands.append(argv)
        else:
            self.commands = [argv]

    def log_as(self, *argv: bytes) -> None:
        """The log carries `argv` instead of the running command; may be said several times."""
        self.note_command(list(argv))
        self.logged = True

    def publish(self, kind: int, channel: bytes, message: bytes) -> int:
        """Deliver a message on every node as it applies the entry; the command is logged. The deliveries on this node."""
        self._say((kind, message, channel))
        self.changed = True
        return self.receivers(kind, channel)

    def block(
        self,
        keys: list[bytes],
        timeout_ms: int,
        timeout_reply: Reply,
        refused_reply: Reply,
        argv: list[bytes] | None = None,
    ) -> Reply:
        """There is nothing to take: PENDING, and the session waits for a key; where nothing may wait, `refused_reply`."""
        if not self.may_block:
            return refused_reply
        self.blocked = Blocked(list(keys), timeout_ms, timeout_reply, argv)
        return PENDING

    def notify(self, event_class: int, event: bytes, key: bytes) -> None:
        """Raise a keyspace event (`notify(EVENT_STRING, b"set", key)`); free while its class is not told."""
        if self.event_mask & event_class:
            self._say((event_class, event, key))

    def tell_misses(self, was_read: bool) -> None:
        """The running command has ended; what a read looked up in vain is told at once, for the log knows no reads."""
        missed, self.missed = self.missed, []
        if was_read:
            self.n_misses += len(missed)
            if self.event_mask & EVENT_MISS:
                for key in missed:
                    self.tell_miss(key)


def _ignore(failure: CommandError) -> None:
    """Nobody counts what fails."""


def _unheard(caller: Any, denial: Any) -> None:
    """Nobody keeps a list of what was denied."""


def _no_receivers(kind: int, channel: bytes) -> int:
    return 0


def _not_told(name: bytes, text: bytes) -> None:
    pass


def _nobody(key: bytes) -> None:
    return None


def _raise(name: str, bug: Exception) -> None:
    """Tests and tools are to see a bug of ours; a process that serves others notes it and goes on."""
    raise bug
