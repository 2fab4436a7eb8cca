"""RESP on TCP: an asyncio protocol around protocol.resp and the node.

Bytes become commands, commands go to the node, and what its gate releases is written in one piece per turn. A client that
sends faster than it is answered, or reads slower than it is written to, is no longer read from, and what it has sent
waits: what one client can make a node hold is bounded by `limits.query_buffer_bytes` and `limits.output_buffer_bytes`, and by
client-query-buffer-limit and client-output-buffer-limit of CONFIG.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from upstash_global.config import Limits
from upstash_global.node.clients import MAX_HELD_BYTES, RespSession
from upstash_global.protocol.resp import Parser

if TYPE_CHECKING:
    from upstash_global.server.shell import Shell

LINGER_S: Final = 1.0  # for what a client is still sending when it is told that it may not
MAX_WAITING_COMMANDS: Final = 10_000  # read and not yet run; beyond it the client is not read from


class RespConnection:
    """An asyncio.Protocol in all but name: a compiled class cannot inherit from it, and this is the hot path."""

    def __init__(self, shell: "Shell", listener: "RespListener") -> None:
        self.shell = shell
        self.listener = listener
        limits = listener.limits
        self.parser = Parser(limits.resp_bulk_bytes, limits.resp_arguments, limits.inline_bytes)
        self.bound_input()
        self.transport: asyncio.Transport | None = None
        self.session: RespSession | None = None
        self.ending: str | None = None  # nothing more is read; what is still to be said before closing
        self.is_lingering = False  # it was told of its mistake, and what it still sends is discarded
        self.waiting_bytes = 0  # read since the session last had nothing left to run
        self.login_timer: asyncio.TimerHandle | None = None
        self.slow_timer: asyncio.TimerHandle | None = None  # runs while more than the soft limit is unread

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own for them
        self.transport = transport
        peer = transport.get_extra_info("peername")
        address = f"{peer[0]}:{peer[1]}" if peer else ""
        if not self.listener.admit(self, peer[0] if peer else ""):
            transport.write(b"-ERR max number of clients reached\r\n")
            transport.close()
            return
        node = self.shell.node
        self.session = RespSession(node.next_session_id(), address, self.shell.clock.now_ms(), self)
        local = transport.get_extra_info("sockname")
        self.session.local_address = f"{local[0]}:{local[1]}" if local else ""
        node.open(self.session)
        transport.set_write_buffer_limits(high=MAX_HELD_BYTES)
        if self.session.user is None:
            self.parser.authenticated = False
            self.login_timer = self.shell.loop.call_later(
                self.listener.limits.authenticate_ms / 1000, self._login_timeout
            )
        else:
            self.parser.authenticated = True

    def data_received(self, data: bytes) -> None:
        session = self.session
        if session is None or session.closing:
            return
        parser = self.parser
        commands = parser.feed(data)
        self.shell.node.metrics.bytes_in += len(data)
        if commands:
            self.shell.node.handle(session, commands, self.shell.clock.now_ms())
            if not parser.authenticated:
                if session.user is not None:
                    self._logged_in(session)
                elif session.waiting:
                    self._pause()  # it gave a wrong password: nothing more is read until it hears so
            if not session.input:
                self.waiting_bytes = 0
            else:
                self.waiting_bytes += len(data)
                if len(session.input) > MAX_WAITING_COMMANDS or self.waiting_bytes > parser.max_request:
                    self._pause()
        elif not session.input:
            self.shell.node.client_memory.heard(session)
        if parser.error is not None:
            self._end(session, self._refusal(parser))
        self.shell.schedule()

    def eof_received(self) -> bool:
        """The client will send no more, and may still read; whoever waits for something to happen is let go."""
        session = self.session
        if session is None or self.is_lingering:
            return False
        if session.closing:
            return True  # its answers are on their way, and behind them the end
        if not self.shell.node.forwarding.will_wait_no_more(session):
            return False
        self._end(session, "")
        self.shell.schedule()
        return True

    def _refusal(self, parser: Parser) -> str:
        """What a client hears of its mistake before the end: nothing of client-query-buffer-limit, as in Redis."""
        is_silent = parser.cross_protocol
        if parser.is_too_large:
            self.shell.node.metrics.n_verbose_clients += 1
            is_silent = parser.max_request < self.listener.limits.query_buffer_bytes
        return "" if is_silent else str(parser.error)

    def _end(self, session: RespSession, refusal: str) -> None:
        """Read nothing more; close once everything is answered, and the refusal behind it."""
        self._pause()
        self.ending = refusal
        self._end_if_answered(session)

    def _end_if_answered(self, session: RespSession) -> None:
        if self.ending is None or session.waiting or session.input:
            return
        if self.ending:
            session.refuse_protocol(self.ending)
        self.ending = None
        session.closing = True
        self.shell.node.mark_dirty(session)
        self.shell.schedule()

    def _logged_in(self, session: RespSession) -> None:
        """The limits of a stranger no longer hold, also for what came in the same packet."""
        self.parser.authenticated = True
        if self.login_timer is not None:
            self.login_timer.cancel()
        while self.parser.paused:
            commands = self.parser.feed(b"")
            self.shell.node.handle(session, commands, self.shell.clock.now_ms())

    def bound_input(self) -> None:
        """Let commands be as large as the cluster file and CONFIG both allow, the one that is being read included."""
        self.parser.max_request = min(self.listener.limits.query_buffer_bytes, self.shell.node.query_buffer_bytes)

    def unread_bytes(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def read_bytes(self) -> int:
        """Bytes of a command that has not come whole."""
        return self.parser.buffered_bytes

    def _is_too_slow(self, session: RespSession, unread_bytes: int, n_bytes: int) -> bool:
        """Whether a client has left so much unread that it is cut off, now that `n_bytes` more are to be written.

        client-output-buffer-limit counts those, as in Redis: also an answer that alone is too long. The cluster file's limit is
        for what was left before. Above a soft limit the client has some seconds to come below it.
        """
        if unread_bytes > self.listener.limits.output_buffer_bytes:
            return True
        limit = self.shell.node.output_limits.get("pubsub" if session.is_subscribed else "normal")
        if limit is None:
            return False
        unread_bytes += n_bytes
        if 0 < limit.soft < unread_bytes:
            if self.slow_timer is None:
                self.slow_timer = self.shell.loop.call_later(limit.seconds, self._slow_timeout, limit.soft)
        else:
            self._forgive()
        return 0 < limit.hard < unread_bytes

    def _slow_timeout(self, soft: int) -> None:
        self.slow_timer = None
        if self.transport is not None and self.session is not None and self.unread_bytes() > soft:
            self._cut_off(self.session)

    def _forgive(self) -> None:
        if self.slow_timer is not None:
            self.slow_timer.cancel()
            self.slow_timer = None

    def _cut_off(self, session: RespSession) -> None:
        assert self.transport is not None
        node = self.shell.node
        node.metrics.n_slow_clients += 1
        node.events.note(node.now_ms, "slow-client", f"{session.address} reads too slowly", "warning")
        self.transport.abort()

    def send(self, output: bytes | None) -> None:
        """Write what the gate released; None closes at once."""
        transport, session = self.transport, self.session
        if transport is None or session is None:
            return
        if output is None or session.killed:
            transport.abort() if output is None else transport.close()
            return
        unread_bytes = 0
        if output:
            unread_bytes = transport.get_write_buffer_size()
            if (unread_bytes or self.shell.node.bounds_answers) and self._is_too_slow(
                session, unread_bytes, len(output)
            ):
                self._cut_off(session)
                return
            self.shell.node.metrics.bytes_out += len(output)
            transport.write(output)
            unread_bytes += len(output)
        if session.closing and not session.waiting:
            self._close(session, transport)
        elif unread_bytes <= MAX_HELD_BYTES or transport.get_write_buffer_size() <= MAX_HELD_BYTES:
            self._go_on(session)

    def _close(self, session: RespSession, transport: asyncio.Transport) -> None:
        """End the connection behind what was written; to close while more comes in could lose that on its way."""
        if self.parser.error is None or self.parser.cross_protocol or session.user is None:
            transport.close()
        elif not self.is_lingering and not transport.is_closing():
            self.is_lingering = True
            transport.write_eof()
            session.is_paused = False
            transport.resume_reading()  # and discard
            self.shell.loop.call_later(LINGER_S, transport.abort)

    def pause_writing(self) -> None:
        """The client does not read: nothing is run for it, and nothing read from it, until it does. A stranger is cut off."""
        if self.session is not None:
            if self.session.user is None:
                self._cut_off(self.session)
                return
            self.session.is_full = True
        self._pause()

    def resume_writing(self) -> None:
        self._forgive()
        if self.session is not None:
            self._go_on(self.session)

    def _go_on(self, session: RespSession) -> None:
        """There is room for answers again: run what waited for it, and read on once nothing waits."""
        if session.is_full:
            self.shell.node.drained(session, self.shell.clock.now_ms())
            self.shell.schedule()
        if self.ending is not None:
            self._end_if_answered(session)
        elif not session.input and not session.is_full:
            self._resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.login_timer is not None:
            self.login_timer.cancel()
        self._forgive()
        self.listener.leave(self)
        if self.session is not None:
            self.shell.node.close(self.session)
            self.shell.schedule()
        self.transport = None

    def _pause(self) -> None:
        if self.session is not None and self.transport is not None and not self.session.is_paused:
            self.session.is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        session, transport = self.session, self.transport
        if session is not None and session.is_paused and transport is not None and not transport.is_closing():
            if session.waiting and session.user is None:
                return  # it has yet to hear of its wrong password
            session.is_paused = False
            self.waiting_bytes = 0
            if not self.parser.authenticated and session.user is not None:  # it logged in at the second try
                self._logged_in(session)
                self.shell.schedule()
            transport.resume_reading()

    def _login_timeout(self) -> None:
        if self.transport is not None and self.session is not None and self.session.user is None:
            self.transport.abort()  # closing would wait for it to read


class RespListener:
    """The listening socket and what bounds its connections."""

    def __init__(self, shell: "Shell", limits: Limits) -> None:
        self.shell = shell
        self.limits = limits
        self.connections: dict[RespConnection, str] = {}
        self.per_address: dict[str, int] = {}
        self.server: Any = None  # an asyncio.Server; uvloop's own has a list of sockets

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; the bound port (useful when `port` is 0)."""
        self.server = await self.shell.loop.create_server(
            lambda: cast(asyncio.Protocol, RespConnection(self.shell, self)), host, port, backlog=1024
        )
        bound: int = self.server.sockets[0].getsockname()[1]
        return bound

    def admit(self, connection: RespConnection, host: str) -> bool:
        n = self.per_address.get(host, 0)
        if len(self.connections) >= self.shell.node.settings.max_clients or n >= self.limits.max_clients_per_address:
            self.shell.node.metrics.n_rejected_connections += 1
            return False
        self.connections[connection] = host
        self.per_address[host] = n + 1
        return True

    def leave(self, connection: RespConnection) -> None:
        host = self.connections.pop(connection, None)
        if host is not None:
            self.per_address[host] -= 1
            if not self.per_address[host]:
                del self.per_address[host]

    def stop_accepting(self) -> None:
        if self.server is not None:
            self.server.close()

    def close_all(self) -> None:
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()
