"""Permissions: what a session's command is refused with, and what becomes of sessions when a user changes.

A command is checked where its client is connected, by the rules that this node has applied, and a forwarded one once more
at the leader, by the newest: what was granted is usable where the grant has been seen, what was revoked is refused from the
entry on that revoked it. EXEC checks each queued command again, a script each call, a blocked command its new try.
"""

from typing import TYPE_CHECKING, Final

from upstash_global.engine.acl import COMMAND, Denial, User
from upstash_global.engine.table import Row
from upstash_global.engine.users import READ_ONLY, Users
from upstash_global.errors import CommandError
from upstash_global.node.acllog import AclLog
from upstash_global.node.commands.connection import client_line
from upstash_global.node.logins import FailedLogins
from upstash_global.node.session import Session
from upstash_global.protocol.tokens import decode_credentials

if TYPE_CHECKING:
    from upstash_global.node.node import Node

TOPLEVEL: Final = "toplevel"
MULTI: Final = "multi"
LUA: Final = "lua"

REASONS_AT_EXEC: Final = {
    "command": "no permission to execute the command or subcommand",
    "key": "no permission to touch the specified keys",
    "channel": "no permission to access one of the channels used as arguments",
}


class Permissions:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.users = node.engine.context.users
        self.users.configure(node.settings.password)
        self.users.narrowed = self.end_sessions
        node.engine.context.denied = self.note_denial_in_script
        self.log = AclLog()
        self.logins = FailedLogins(node.settings.failed_logins_per_minute)

    def refusal(self, session: Session, row: Row, argv: list[bytes]) -> CommandError | None:
        """Why this session's user may not run a command, or None; noted for ACL LOG."""
        user = session.user
        assert user is not None
        denial = user.denial(row, argv)
        if denial is None:
            return None
        self._note_denial(session, denial, self._context(session))
        if denial.kind == COMMAND and user.name == READ_ONLY:  # Upstash's words, which users of its token know
            return CommandError(
                "NOPERM", f"this user has no permissions to run the '{row.display_name}' command or its subcommand"
            )
        return CommandError("NOPERM", denial.text(user.name))

    def refusal_at_exec(self, session: Session, row: Row, argv: list[bytes]) -> CommandError | None:
        """Why a command that was queued may not run any more, or None; noted for ACL LOG."""
        user = session.user
        if user is None or not user.is_restricted:
            return None
        denial = user.denial(row, argv)
        if denial is None:
            return None
        self._note_denial(session, denial, MULTI)
        return CommandError(
            "NOPERM",
            "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
            f"This command is no longer allowed for the following reason: {REASONS_AT_EXEC[denial.reason]}",
        )

    def note_failed_login(self, session: Session, name: bytes, command: bytes) -> None:
        """Somebody gave a wrong password, or the name of nobody who may log in; `command` is what they called."""
        self.node.metrics.n_failed_logins += 1
        self._note("auth", session, self._context(session), command, name)

    def note_failure_of(self, host: str) -> None:
        """A login from this address has failed, by whatever protocol."""
        node = self.node
        if self.logins.note(host, node.local_ms):
            text = f"{host} had {self.logins.per_minute} failed logins in a minute"
            node.events.note(node.now_ms, "logins-refused", text, "warning")

    def note_denial_in_script(self, caller: Session, denial: Denial) -> None:
        self._note_denial(caller, denial, LUA)

    def _context(self, session: Session) -> str:
        is_in_exec = not self.node.engine.context.may_block
        return MULTI if session.queue is not None or is_in_exec else TOPLEVEL

    def _note_denial(self, session: Session, denial: Denial, context: str) -> None:
        self.node.metrics.n_denied[denial.reason] += 1
        user = b"" if session.user is None else session.user.name
        self._note(denial.reason, session, context, denial.object, user)

    def _note(self, reason: str, session: Session, context: str, object: bytes, user: bytes) -> None:
        self.log.note(reason, context, object, user, client_line(self.node, session), self.node.local_ms)

    def end_sessions(self, user: User) -> None:
        """A user was removed, or some channels were taken from it: close what it may not go on with.

        A removed user's connections end; so do those whose subscriptions are not allowed any more. Other commands are
        checked when they come. Whoever did this hears the answer first.
        """
        node = self.node
        for session in list(node.sessions.values()):
            if session.user is not user or not (user.is_deleted or _hears_too_much(session, user)):
                continue
            if user.is_deleted:
                session.user = None
            if node.engine.context.caller is session or node.forwarding.will_answer(session):
                session.end_after_replies()
                node.mark_dirty(session)
            else:
                node.cut_off(session)
        if user.is_deleted:
            for remote in list(node.forwarding.remotes.values()):
                if remote.user is user and node.engine.context.caller is not remote:
                    node.forwarding.drop(remote)  # its node closes the connection when it hears of this


def user_of_token(users: Users, token: str) -> User | None:
    """Whose token of ACL RESTTOKEN or GENTOKEN this is; what GENTOKEN made may also be the password itself."""
    named = decode_credentials(token)
    if named is None:
        return None
    name, password = named
    return users.authenticate(name, password) or users.authenticate(name, token.encode())


def _hears_too_much(session: Session, user: User) -> bool:
    channels = [*session.channels, *session.shard_channels]
    return session.is_subscribed and not user.may_hear(channels, list(session.patterns))
