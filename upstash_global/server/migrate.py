"""MIGRATE's conversation with the target, a RESP server anywhere: introduction, then one RESTORE per key, as a pipeline.

Every step has the time that the client gave: to connect, to write 64 KiB, to read one line. A reply to any of these
commands is one line; what is no such line, or a longer one, ends the conversation.
"""

import asyncio
import contextlib
from typing import Final

from upstash_global.node.migrating import CONNECTING, READING, WRITING, Migration

PIECE_BYTES: Final = 1 << 16
LINE_BYTES: Final = 1 << 16  # of a reply


class _Ended(Exception):
    """The conversation cannot go on; its text says at which step."""


async def converse(migration: Migration) -> tuple[list[bytes], str]:
    """The reply lines of the target, and what failed before there were as many as commands ("": nothing).

    After a refused introduction nothing else is said: a database that is not there must not get the keys of another.
    """
    talk = _Conversation(migration.timeout_ms / 1000)
    failure = ""
    try:
        await talk.connect(migration.host, migration.port)
        await talk.say(migration.introduction)
        if not any(line.startswith(b"-") for line in talk.lines):
            await talk.say(migration.restores)
    except _Ended as ended:
        failure = str(ended)
    finally:
        talk.close()
    return talk.lines, failure


class _Conversation:
    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.lines: list[bytes] = []
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self, host: str, port: int) -> None:
        try:
            opened = asyncio.open_connection(host, port, limit=LINE_BYTES)
            self.reader, self.writer = await asyncio.wait_for(opened, self.timeout_s)
        except ConnectionError:  # nobody listens: Redis, which connects in the background, finds out as it writes
            raise _Ended(WRITING) from None
        except (OSError, ValueError):  # no such host, too late, no name at all
            raise _Ended(CONNECTING) from None

    async def say(self, commands: list[list[bytes]]) -> None:
        """Send commands in one go, then read a line for each."""
        pending = bytearray()
        for command in commands:
            pending += b"*%d\r\n" % len(command)
            for word in command:
                pending += b"$%d\r\n%b\r\n" % (len(word), word)
            if len(pending) >= PIECE_BYTES:
                await self._write(pending)
                pending = bytearray()
        await self._write(pending)
        for _ in commands:
            self.lines.append(await self._line())

    async def _write(self, data: bytearray) -> None:
        assert self.writer is not None
        try:
            for at in range(0, len(data), PIECE_BYTES):
                self.writer.write(bytes(data[at : at + PIECE_BYTES]))
                await asyncio.wait_for(self.writer.drain(), self.timeout_s)
        except OSError:
            raise _Ended(WRITING) from None

    async def _line(self) -> bytes:
        try:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), self.timeout_s)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            raise _Ended(READING) from None
        if not line.startswith((b"+", b"-")):
            raise _Ended(READING)
        return line[:-2]

    def close(self) -> None:
        if self.writer is not None:
            with contextlib.suppress(OSError):
                self.writer.close()
