"""Access control: the rules of a user, and whether a command line keeps to them.

A user has passwords and selectors. A selector allows commands, keys (to read, to write, or both) and channels; a command
line is allowed if one selector allows all of it. The first selector is the user's own, the others stand in parentheses.

Rules are words, as ACL SETUSER takes them; `rules` gives back words that make the same user, secrets only as hashes. They
are what the log and snapshots carry. Of a selector, which commands are allowed is worked out when a rule is taken, so that
a check is a look into a set.

Source: Redis 7.2. As there, command rules are kept in the order in which they were given.
"""

from hashlib import sha256
from typing import Final

from upstash_global.engine.facts import key_specs, keys_with_flags
from upstash_global.engine.table import CATEGORIES, INTERNAL, NO_AUTH, PUBSUB, TABLE, Row, all_rows, find_row
from upstash_global.engine.types.glob import Glob
from upstash_global.errors import error

READ: Final = 1
WRITE: Final = 2
BOTH: Final = READ | WRITE

OPEN: Final = b"("  # in `rules`: what follows, up to CLOSE, makes one more selector
CLOSE: Final = b")"
ALL: Final = "all"  # the category of every command

# What can be refused, weakest first: of several selectors, the one that came furthest is told of.
COMMAND: Final = 1
KEY: Final = 2
CHANNEL: Final = 3
REASONS: Final = {COMMAND: "command", KEY: "key", CHANNEL: "channel"}

UNKNOWN_NAME: Final = "Unknown command or category name in ACL"
SYNTAX: Final = "Syntax error"
NO_SUBCOMMAND_ARGUMENT: Final = "Allowing first-arg of a subcommand is not supported"
NO_PASSWORD: Final = "The password you are trying to remove from the user does not exist"
BAD_HASH: Final = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
BEHIND_ALL_KEYS: Final = (
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
    "Try 'resetkeys' to start with an empty list of patterns"
)
BEHIND_ALL_CHANNELS: Final = (
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
    "Try 'resetchannels' to start with an empty list of channels"
)

# Where the channels of a command begin, and whether they are patterns.
_CHANNELS: Final = {
    "PUBLISH": (1, 2, False),
    "SPUBLISH": (1, 2, False),
    "SUBSCRIBE": (1, 0, False),
    "SSUBSCRIBE": (1, 0, False),
    "PSUBSCRIBE": (1, 0, True),
}
_OF_NO_KEY: Final = "not_key"
_READING_FLAG: Final = "access"
_WRITING_FLAGS: Final = ("insert", "update", "delete")
_ACCESS_ALIKE: Final[dict[str, int]] = {}  # by the row's name, once asked: see `_access_alike`


class Denial:
    """What of a command line is not allowed."""

    def __init__(self, kind: int, object: bytes, at: int) -> None:
        self.kind = kind  # COMMAND, KEY or CHANNEL
        self.object = object  # the command, key or channel
        self.at = at  # how far the check came

    @property
    def reason(self) -> str:
        return REASONS[self.kind]

    def text(self, user: bytes) -> str:
        """For the client: which key or channel is not said, since a script may have hidden it."""
        if self.kind == COMMAND:
            return self.full_text(user)
        return f"No permissions to access a {self.reason}"

    def full_text(self, user: bytes) -> str:
        name, what = _text(user), _text(self.object)
        if self.kind == COMMAND:
            return f"User {name} has no permissions to run the '{what}' command"
        return f"User {name} has no permissions to access the '{what}' {self.reason}"


class Selector:
    """What commands may be run, on which keys and channels."""

    def __init__(self) -> None:
        self.all_commands = False
        self.all_keys = False
        self.all_channels = False
        self.allows_unknown = False  # commands of versions to come: `+@all` was the last word about all of them
        self.commands: set[str] = set()  # names of the rows that may be run; only asked, never walked
        self.first_arguments: dict[str, list[bytes]] = {}  # of commands that may be run with these alone
        self.command_rules: dict[bytes, bool] = {}  # name, name|subcommand or @category → allowed; in their order
        self.keys: dict[bytes, int] = {}  # pattern → READ, WRITE or BOTH
        self.channels: dict[bytes, None] = {}
        self._key_globs: list[tuple[Glob, int]] = []
        self._channel_globs: list[Glob] = []

    @property
    def is_unrestricted(self) -> bool:
        return self.all_commands and self.all_keys and self.all_channels

    # -- rules --------------------------------------------------------------------------------------------------

    def take(self, rule: bytes, is_lenient: bool) -> None:
        """Follow one rule. Raises CommandError with Redis's reason; lenient: a command unknown here is kept as text."""
        word = rule.lower()
        mark = rule[:1]
        if word in (b"allkeys", b"~*"):
            self.all_keys = True
            self._set_keys({})
        elif word == b"resetkeys":
            self.all_keys = False
            self._set_keys({})
        elif word in (b"allchannels", b"&*"):
            self.all_channels = True
            self._set_channels({})
        elif word == b"resetchannels":
            self.all_channels = False
            self._set_channels({})
        elif word in (b"allcommands", b"+@all"):
            self._allow_all(True)
        elif word in (b"nocommands", b"-@all"):
            self._allow_all(False)
        elif mark == b"~" or mark == b"%":
            self._take_key_pattern(rule)
        elif mark == b"&":
            self._take_channel_pattern(rule[1:])
        elif mark == b"+" or mark == b"-":
            self._take_command(word[1:], mark == b"+", is_lenient)
        else:
            raise error(SYNTAX)

    def rules(self) -> list[bytes]:
        """The words that make this selector of an empty one, in Redis's order."""
        channels = self.channel_rules()
        return (
            self.key_rules()
            + (channels if self.all_channels else [b"resetchannels", *channels])
            + self.allowed_commands()
        )

    def key_rules(self) -> list[bytes]:
        if self.all_keys:
            return [b"~*"]
        return [(b"~", b"%R~", b"%W~")[access % BOTH] + pattern for pattern, access in self.keys.items()]

    def channel_rules(self) -> list[bytes]:
        return [b"&" + pattern for pattern in self.channel_patterns()]

    def channel_patterns(self) -> list[bytes]:
        return [b"*"] if self.all_channels else list(self.channels)

    def allowed_commands(self) -> list[bytes]:
        words = [b"+@all" if self.allows_unknown else b"-@all"]
        words.extend([(b"+" if allowed else b"-") + name for name, allowed in self.command_rules.items()])
        return words

    def _allow_all(self, allowed: bool) -> None:
        self.all_commands = self.allows_unknown = allowed
        self.commands = {row.name for row in _rows_in(ALL)} if allowed else set()
        self.first_arguments = {}
        self.command_rules = {}

    def _take_key_pattern(self, rule: bytes) -> None:
        if self.all_keys:
            raise error(BEHIND_ALL_KEYS)
        access, pattern = BOTH, rule[1:]
        if rule[:1] == b"%":
            access = 0
            letters, _, pattern = rule[1:].partition(b"~")
            for letter in letters.upper():
                added = {82: READ, 87: WRITE}.get(letter, 0)
                if not added or access & added:
                    raise error(SYNTAX)
                access |= added
            if not access:
                raise error(SYNTAX)
        _check_pattern(pattern)
        self._set_keys({**self.keys, pattern: self.keys.get(pattern, 0) | access})

    def _set_keys(self, keys: dict[bytes, int]) -> None:
        self.keys = keys
        self._key_globs = [(Glob(pattern), access) for pattern, access in keys.items()]

    def _take_channel_pattern(self, pattern: bytes) -> None:
        if self.all_channels:
            raise error(BEHIND_ALL_CHANNELS)
        _check_pattern(pattern)
        self._set_channels({**self.channels, pattern: None})

    def _set_channels(self, channels: dict[bytes, None]) -> None:
        self.channels = channels
        self._channel_globs = [Glob(pattern) for pattern in channels]

    def _take_command(self, name: bytes, allowed: bool, is_lenient: bool) -> None:
        """`name`, `name|subcommand`, `name|first argument` or `@category`, in lower case."""
        problem = self._allow(name, allowed)
        if problem is not None and not is_lenient:
            raise error(problem)
        for known in [each for each in self.command_rules if each == name or each.startswith(name + b"|")]:
            del self.command_rules[known]
        self.command_rules[name] = allowed

    def _allow(self, name: bytes, allowed: bool) -> str | None:
        """Enter or strike out what a rule names; what is wrong with the name, if anything."""
        if name[:1] == b"@":
            category = name[1:].decode("latin-1")
            if category not in CATEGORIES:
                return UNKNOWN_NAME
            for row in _rows_in(category):
                self._enter(row, allowed)
            return None
        named = row_named(name)
        if named is not None:
            self._enter(named, allowed)
            return None
        command, bar, argument = name.rpartition(b"|")
        container = row_named(command) if bar and allowed else None
        if container is None:
            return UNKNOWN_NAME
        if " " in container.name:
            return NO_SUBCOMMAND_ARGUMENT
        if not argument:
            return SYNTAX
        if container.subcommands:
            return UNKNOWN_NAME
        arguments = self.first_arguments.setdefault(container.name, [])
        if container.name not in self.commands and argument not in arguments:
            arguments.append(argument)
        return None

    def _enter(self, row: Row, allowed: bool) -> None:
        """A command and its subcommands are allowed, or not any more."""
        for each in [row, *row.subcommands.values()]:
            if allowed:
                self.commands.add(each.name)
            else:
                self.commands.discard(each.name)
        self.first_arguments.pop(row.name, None)
        if not allowed:
            self.all_commands = False

    # -- checks -------------------------------------------------------------------------------------------------

    def denial(self, row: Row, argv: list[bytes], accesses: list[tuple[bytes, int]]) -> Denial | None:
        """What of a command line this selector does not allow; `accesses` are its keys (see `accesses_of`)."""
        if not self._allows_command(row, argv):
            return Denial(COMMAND, row.display_name.encode(), 0)
        if not self.all_keys:
            for at, (key, access) in enumerate(accesses):
                if not self.allows_key(key, access):
                    return Denial(KEY, key, at)
        if not self.all_channels and row.name in _CHANNELS:
            first, end, are_patterns = _CHANNELS[row.name]
            for at, channel in enumerate(argv[first : end or len(argv)]):
                if not self.allows_channel(channel, are_patterns):
                    return Denial(CHANNEL, channel, at)
        return None

    def _allows_command(self, row: Row, argv: list[bytes]) -> bool:
        if self.all_commands or row.name in self.commands or row.flags & NO_AUTH:
            return True
        arguments = self.first_arguments.get(row.name)
        return arguments is not None and len(argv) > 1 and argv[1].lower() in arguments

    def allows_key(self, key: bytes, access: int) -> bool:
        return any([allowed & access == access and glob.matches(key) for glob, allowed in self._key_globs])

    def allows_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """A pattern is allowed only if it was given as it is: what else it may match cannot be known."""
        if self.all_channels or channel in self.channels:
            return True
        return not is_pattern and any([glob.matches(channel) for glob in self._channel_globs])

    @property
    def reads_every_key(self) -> bool:
        return self.all_keys or bool(self.keys.get(b"*", 0) & READ)


class User:
    """Who may run what. One object per name while the user exists: sessions hold it, and a change reaches them at once."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.is_on = False  # whether anybody may log in
        self.needs_no_password = False
        self.sanitizes = True  # as Redis shows it; RESTORE checks every value here
        self.passwords: list[bytes] = []  # SHA-256 in 64 lower-case hex digits
        self.selectors = [Selector()]
        self.is_restricted = True  # no selector allows everything
        self._has_key_rules = True  # some selector allows some keys only
        self.is_deleted = False

    def take_rules(self, rules: list[bytes]) -> None:
        """Become the user that `rules` describe; a command that this version does not know is allowed to nobody."""
        self.is_on = self.needs_no_password = False
        self.sanitizes = True
        self.passwords = []
        self.selectors = [Selector()]
        selector = self.selectors[0]
        for rule in rules:
            if rule == OPEN:
                selector = Selector()
                self.selectors.append(selector)
            elif rule == CLOSE:
                selector = self.selectors[0]
            elif not self._take_own(rule):
                selector.take(rule, True)
        self._settle()

    def rules(self) -> list[bytes]:
        """The words that make this user of a new one: secrets as hashes, further selectors between OPEN and CLOSE."""
        words = self._own_rules() + self.selectors[0].rules()
        for selector in self.selectors[1:]:
            words.extend([OPEN, *selector.rules(), CLOSE])
        return words

    def flags(self) -> list[bytes]:
        """What holds for the user as a whole, in Redis's words."""
        words = [b"on" if self.is_on else b"off"]
        if self.needs_no_password:
            words.append(b"nopass")
        words.append(b"sanitize-payload" if self.sanitizes else b"skip-sanitize-payload")
        return words

    def _own_rules(self) -> list[bytes]:
        return self.flags() + [b"#" + password for password in self.passwords]

    def describe(self) -> bytes:
        """The rules as one line, as ACL LIST shows them."""
        words = self._own_rules() + self.selectors[0].rules()
        words.extend([b"(" + b" ".join(selector.rules()) + b")" for selector in self.selectors[1:]])
        return b" ".join(words)

    def modify(self, rule: bytes, channels_are_open: bool) -> None:
        """Follow one word of ACL SETUSER. Raises CommandError with Redis's reason.

        `channels_are_open`: what a selector that begins anew allows, by `acl-pubsub-default`.
        """
        word = rule.lower()
        if not rule or self._take_own(rule):
            pass
        elif rule[:1] == b"(" and rule[-1:] == b")":
            selector = Selector()
            selector.all_channels = channels_are_open
            for each in rule[1:-1].split():
                selector.take(each, False)
            self.selectors.append(selector)
        elif word == b"clearselectors":
            del self.selectors[1:]
        elif word == b"reset":
            self.take_rules([b"allchannels"] if channels_are_open else [])
        else:
            self.selectors[0].take(rule, False)
        self._settle()

    def _take_own(self, rule: bytes) -> bool:
        """Follow a rule about the user as a whole; False if it is about a selector. `>` and `<` carry a plain password."""
        word = rule.lower()
        mark = rule[:1]
        if word == b"on":
            self.is_on = True
        elif word == b"off":
            self.is_on = False
        elif word == b"nopass":
            self.needs_no_password = True
            self.passwords = []
        elif word == b"resetpass":
            self.needs_no_password = False
            self.passwords = []
        elif word == b"sanitize-payload":
            self.sanitizes = True
        elif word == b"skip-sanitize-payload":
            self.sanitizes = False
        elif mark == b">" or mark == b"#":
            hashed = hash_of(rule[1:]) if mark == b">" else _checked_hash(rule[1:])
            if hashed not in self.passwords:
                self.passwords.append(hashed)
            self.needs_no_password = False
        elif mark == b"<" or mark == b"!":
            hashed = hash_of(rule[1:]) if mark == b"<" else _checked_hash(rule[1:])
            if hashed not in self.passwords:
                raise error(NO_PASSWORD)
            self.passwords.remove(hashed)
        else:
            return False
        return True

    def _settle(self) -> None:
        self.is_restricted = not any([selector.is_unrestricted for selector in self.selectors])
        self._has_key_rules = not all([selector.all_keys for selector in self.selectors])

    # -- checks -------------------------------------------------------------------------------------------------

    def denial(self, row: Row, argv: list[bytes]) -> Denial | None:
        """Why this user may not run a command line, or None."""
        if not self.is_restricted:
            return None
        accesses = accesses_of(row, argv) if self._has_key_rules else []
        worst: Denial | None = None
        for selector in self.selectors:
            denial = selector.denial(row, argv, accesses)
            if denial is None:
                return None
            if worst is None or (denial.kind, denial.at) > (worst.kind, worst.at):
                worst = denial
        return worst

    def channels(self) -> frozenset[bytes]:
        """The patterns of channels that some selector allows; `*` among them allows all."""
        return frozenset([pattern for selector in self.selectors for pattern in selector.channel_patterns()])

    def may_hear(self, channels: list[bytes], patterns: list[bytes]) -> bool:
        """Whether subscriptions to these may go on."""
        return all([self._may_hear(channel, False) for channel in channels]) and all(
            [self._may_hear(pattern, True) for pattern in patterns]
        )

    def _may_hear(self, channel: bytes, is_pattern: bool) -> bool:
        return any([selector.allows_channel(channel, is_pattern) for selector in self.selectors])

    def reads_every_key(self, row: Row, argv: list[bytes]) -> bool:
        """Whether a selector that allows the command line allows to read whatever key: SORT's BY and GET need that."""
        if not self.is_restricted:
            return True
        accesses = accesses_of(row, argv)
        for selector in self.selectors:
            if selector.reads_every_key and selector.denial(row, argv, accesses) is None:
                return True
        return False


def accesses_of(row: Row, argv: list[bytes]) -> list[tuple[bytes, int]]:
    """The keys of a command line, each with READ, WRITE, BOTH or 0 (EXISTS, TTL: any permission will do).

    What Redis's specifications do not find in a line, and the command does (the second STORE of a GEORADIUS), must be
    allowed for BOTH.
    """
    alike = _ACCESS_ALIKE.get(row.name)
    if alike is None:
        alike = _ACCESS_ALIKE[row.name] = _access_alike(row)
    if alike >= 0:
        return [(key, alike) for key in row.keys.find(argv)]
    found: list[tuple[bytes, int]] = []
    for key, flags in keys_with_flags(row, argv):
        if _OF_NO_KEY not in flags:  # a shard channel: in a cluster it has a slot, as a key has
            found.append((key, _access(flags)))
    if not row.flags & PUBSUB:
        told = [key for key, _ in found]
        found.extend([(key, BOTH) for key in row.keys.find(argv) if key not in told])
    return found


def _access_alike(row: Row) -> int:
    """What is done to all keys of a row's lines alike, where its first, last and step say all about them; else -1."""
    specs = key_specs(row)
    keys = row.keys
    if len(specs) != 1 or keys.finder is not None or keys.counted:
        return -1
    (spec,) = specs
    is_plain = spec.begin == ["index", str(keys.first)] and spec.find[0] == "range"
    return _access(spec.flags) if is_plain and not {_OF_NO_KEY, "variable_flags"} & {*spec.flags} else -1


def _access(flags: list[str]) -> int:
    access = READ if _READING_FLAG in flags else 0
    for flag in _WRITING_FLAGS:
        if flag in flags:
            access |= WRITE
    return access


def _rows_in(category: str) -> list[Row]:
    """The commands and subcommands of an ACL category, ALL for every one that a client may send."""
    if _CATALOGUE.n_commands != len(TABLE):
        _CATALOGUE.fill()
    return _CATALOGUE.rows[category]


class _Catalogue:
    """The rows by category, worked out when they are first asked for; anew when the table has grown since."""

    def __init__(self) -> None:
        self.n_commands = 0
        self.rows: dict[str, list[Row]] = {}

    def fill(self) -> None:
        self.n_commands = len(TABLE)
        self.rows = {category: [] for category in [ALL, *CATEGORIES]}
        for row in all_rows():
            if not row.flags & INTERNAL:
                for category in [ALL, *row.categories()]:
                    self.rows[category].append(row)


_CATALOGUE: Final = _Catalogue()


def row_named(name: bytes) -> Row | None:
    """The row of `get` or `client|kill`; None for an unknown one and for the log's own."""
    command, bar, child = name.partition(b"|")
    row = find_row([command])
    if row is None or not bar:
        return row
    return row.subcommands.get(child.upper())


def hash_of(password: bytes) -> bytes:
    """As it is stored: SHA-256 in hex."""
    return sha256(password).hexdigest().encode()


def has_space(word: bytes) -> bool:
    """What neither a user's name nor a pattern may contain: white space and zero bytes."""
    return any([byte in b"\0 \t\n\v\f\r" for byte in word])


def _checked_hash(text: bytes) -> bytes:
    if len(text) != 64 or any([digit not in b"0123456789abcdef" for digit in text]):
        raise error(BAD_HASH)
    return text


def _check_pattern(pattern: bytes) -> None:
    if has_space(pattern):
        raise error(SYNTAX)


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
