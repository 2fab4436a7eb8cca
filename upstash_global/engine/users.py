"""Users: a system table, changed only by applied entries, so every node has it and it survives restart and failover.

Two users are built in, as Upstash has them, and cannot be removed: `default`, who may do everything and whose password is
that of the configuration; and `default_ro`, for whom the read-only token stands. Once ACL SETUSER has changed one of them,
the log's rules count on every node, whatever its configuration says.
"""

from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final

from upstash_global.engine.acl import User, hash_of

DEFAULT: Final = b"default"
READ_ONLY: Final = b"default_ro"

# Commands that read or concern the connection alone. WAIT stands among those about connections, and asks the leader.
READ_ONLY_RULES: Final = (
    b"on ~* &* -@all +@read +@connection +@transaction +@pubsub -publish -spublish -scan -keys -wait -waitaof "
    b"-@admin -@dangerous -@scripting"
)
OPEN_RULES: Final = b"on nopass ~* &* +@all"


class Caller:
    """On whose behalf a unit runs."""

    def __init__(self, user: User | None) -> None:
        self.user = user  # None until authenticated
        self.no_touch = False  # its reads are no accesses of the keys
        self.is_tracking = False  # it wants to know what its scripts read


class Users:
    def __init__(self) -> None:
        self.named: dict[bytes, User] = {}
        self.of_log: dict[bytes, None] = {}  # whose rules came by the log, not from the configuration
        self.version = 0  # another one whenever a user was made, changed or removed
        self.channels_are_open = False  # acl-pubsub-default is allchannels
        self.narrowed: Callable[[User], None] = _unheard  # told of a user that may hear fewer channels, or is gone
        self._built_in: dict[bytes, list[bytes]] = {}
        self.configure(None)
        self.default = self.named[DEFAULT]

    def configure(self, password: str | None) -> None:
        """The built-in users, for whom the log has no rules; None: `default` needs no password."""
        rules = OPEN_RULES.split()
        if password is not None:
            rules[1] = b"#" + hash_of(password.encode())
        self._built_in = {DEFAULT: rules, READ_ONLY: READ_ONLY_RULES.split()}
        for name in self._built_in:
            if name not in self.of_log:
                self._put(name, self._built_in[name])

    @property
    def default_is_open(self) -> bool:
        """Whether a connection needs no AUTH."""
        return self.default.is_on and self.default.needs_no_password

    def find(self, name: bytes) -> User | None:
        return self.named.get(name)

    def names(self) -> list[bytes]:
        return sorted(self.named)

    def is_built_in(self, name: bytes) -> bool:
        return name in self._built_in

    def authenticate(self, name: bytes, password: bytes) -> User | None:
        """The user if the password is theirs and they may log in; as slow for a name that nobody has."""
        user = self.named.get(name)
        hashed = hash_of(password)
        matches = [compare_digest(known, hashed) for known in (user.passwords if user is not None else [b""])]
        if user is None or not user.is_on:
            return None
        return user if user.needs_no_password or any(matches) else None

    # -- changed by entries alone -------------------------------------------------------------------------------

    def put(self, name: bytes, rules: list[bytes]) -> None:
        """Make a user, or give one other rules."""
        self.of_log[name] = None
        self._put(name, rules)

    def set_default_password(self, hashed: bytes) -> bool:
        """The hash of the only password of `default`, or empty for none; False if that is so already."""
        user = self.default
        if user.passwords == ([hashed] if hashed else []) and user.needs_no_password == (not hashed):
            return False
        others = [rule for rule in user.rules() if rule != b"nopass" and rule[:1] != b"#"]
        self.put(DEFAULT, [*others, b"#" + hashed if hashed else b"nopass"])
        return True

    def remove(self, name: bytes) -> None:
        """Remove a user; a built-in one becomes what the configuration says."""
        self.version += 1
        self.of_log.pop(name, None)
        if name in self._built_in:
            self._put(name, self._built_in[name])
        elif name in self.named:
            user = self.named.pop(name)
            user.is_deleted = True
            self.narrowed(user)

    def _put(self, name: bytes, rules: list[bytes]) -> None:
        self.version += 1
        user = self.named.get(name)
        if user is None:
            user = self.named[name] = User(name)
        before = user.channels()
        user.take_rules(rules)
        after = user.channels()
        if b"*" not in after and not before <= after:
            self.narrowed(user)

    def dump(self) -> Any:
        """[name, rules] of each user whom the log knows; secrets only as hashes."""
        return [[name, self.named[name].rules()] for name in self.of_log]

    def restore(self, plain: Any) -> None:
        """Take over what `dump` gave; None stands for nobody but the built-in users."""
        users = {name: rules for name, rules in plain or []}
        for name in list(self.of_log):
            if name not in users:
                self.remove(name)
        self.of_log = {}
        for name, rules in users.items():
            self.put(name, rules)


def _unheard(user: User) -> None:
    """Nobody wants to know."""
