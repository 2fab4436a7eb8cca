"""Idleness: clients that say nothing for longer than `timeout` are cut off, unless they wait for an answer or listen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upstash_global.node.node import Node


class Idleness:
    def __init__(self, node: "Node") -> None:
        self.node = node
        self.limit_ms = 0  # 0: as idle as they like

    def tick(self) -> None:
        if not self.limit_ms:
            return
        node = self.node
        said_before_ms = node.local_ms - self.limit_ms
        for session in list(node.sessions.values()):
            listens = session.is_subscribed or session.is_monitor or session.waiting
            if session.active_ms < said_before_ms and not listens and not session.killed:
                node.cut_off(session)
