"""Notable happenings on a node: what the process log writes, the console shows and tests wait for."""

from collections import deque
from typing import Final

KEPT: Final = 256


class Event:
    __slots__ = ("time_ms", "level", "name", "text")

    def __init__(self, time_ms: int, level: str, name: str, text: str) -> None:
        self.time_ms = time_ms
        self.level = level  # info, warning or error
        self.name = name  # one word or a few with dashes: led, followed, resumed, full-resync, stepped-down…
        self.text = text

    def __repr__(self) -> str:
        return f"{self.level} {self.name}: {self.text}"


class Events:
    def __init__(self) -> None:
        self.recent: deque[Event] = deque(maxlen=KEPT)
        self.unread: list[Event] = []  # for the process log
        self.counts: dict[str, int] = {}

    def note(self, time_ms: int, name: str, text: str, level: str = "info") -> None:
        event = Event(time_ms, level, name, text)
        self.recent.append(event)
        self.unread.append(event)
        self.counts[name] = self.counts.get(name, 0) + 1

    def take_unread(self) -> list[Event]:
        unread, self.unread = self.unread, []
        return unread
