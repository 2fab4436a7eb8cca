"""Sync tokens as a node makes and reads them; what they are made of is protocol/tokens.py's."""

from typing import Final

from upstash_global.protocol.tokens import PositionTokens, SyncToken, decode_token, encode_token
from upstash_global.replication.position import NEVER, Position


class SyncTokens:
    def __init__(self, cluster: str, key: bytes) -> None:
        self.cluster: Final = cluster
        self.key: Final = key  # what this cluster's tokens are signed with
        self.positions: Final = PositionTokens(cluster, key)
        self.newest = NEVER  # the position of the last one that was made
        self.newest_token = b""

    def of(self, position: Position) -> bytes:
        """The token of a position; between two writes all clients are told the same."""
        newest = self.newest
        if position.lsn != newest.lsn or position.epoch != newest.epoch:
            self.newest_token = self.positions.write(position.epoch, position.lsn)
            self.newest = position
        return self.newest_token

    def sign(self, token: SyncToken) -> bytes:
        return encode_token(token, self.cluster, self.key).encode()

    def read(self, text: str) -> SyncToken | None:
        """What a token says; None for anything that this cluster did not write."""
        return decode_token(text, self.cluster, self.key)
