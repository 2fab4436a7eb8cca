"""Texts that clients carry for us: the sync token (where they have been) and the access token (who they are).

A sync token is a position in the log of one cluster, so that any node can wait until it has seen as much. To the client
it is opaque. It is signed, by a keyed BLAKE2b, not secret: a made-up position would only cost a wait, but must not pass for one of
ours. An ETag is the sync token of what a reply was read from, in quotes.

    version 1 | cluster 4 | stream 2 | epoch 8 | LSN 8 | (key hash 8 | LSN 8) x 0..16 | signature 8     bytes, base64url

A leader is asked for the token of one position after the other, and the hash is most of the work. So a token without keys is signed
together with its seven neighbours: BLAKE2b gives 64 bytes for the first of eight LSNs in a row, 8 for each of them.

An access token of the configuration is kept as its hash only, and looked up in a time that does not depend on what it is
compared with. One that ACL RESTTOKEN or GENTOKEN made is kept nowhere: it holds the name and password of its user, so every
node knows it, and it ends with the password or the user.

    version 1 | length of the name 2 | name | password     bytes, base64url
"""

import hmac
import struct
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b, sha256
from typing import Any, Final

from librt.base64 import urlsafe_b64encode

MAX_KEYS: Final = 16
MAX_TEXT: Final = 512

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">B4sHQQ")
_PART: Final = struct.Struct(">QQ")
_SIGNATURE_BYTES: Final = 8
_NEIGHBOURS: Final = 8  # LSNs that are signed together
_LSN_BYTES: Final = 8
_POSITION_SIGNS: Final = 42  # of the text of a token without keys
_CREDENTIALS: Final = struct.Struct(">BH")
_to_base64: Final = urlsafe_b64encode  # compiled code finds it here without a dictionary


class SyncToken:
    """A reader with this token must be shown at least the state at `lsn` of the history that led to `epoch`.

    `keys` holds (key hash, LSN) of up to 16 keys for which it must be a later one, on the same history
    (`Upstash-Consistency: session; scope=key`; see node/scope.py). Immutable by convention.
    """

    __slots__ = ("epoch", "lsn", "stream", "keys")

    def __init__(self, epoch: int, lsn: int, stream: int = 0, keys: tuple[tuple[int, int], ...] = ()) -> None:
        self.epoch = epoch
        self.lsn = lsn
        self.stream = stream
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SyncToken) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __repr__(self) -> str:
        return f"SyncToken{self._parts}"

    @property
    def _parts(self) -> tuple[int, int, int, tuple[tuple[int, int], ...]]:
        return self.epoch, self.lsn, self.stream, self.keys

    @property
    def newest_lsn(self) -> int:
        """The LSN at which all of it has been seen."""
        return max([self.lsn, *[lsn for _, lsn in self.keys]])


def encode_token(token: SyncToken, cluster: str, key: bytes) -> str:
    """`token` as URL-safe text of at most 512 bytes, signed with the cluster's `key`; another position, another text."""
    assert len(token.keys) <= MAX_KEYS
    data = _HEAD.pack(_VERSION, _cluster_hash(cluster), token.stream, token.epoch, token.lsn)
    for hashed, lsn in token.keys:
        data += _PART.pack(hashed, lsn)
    return _to_text(data + _signature(data, key))


class PositionTokens:
    """Writes the tokens of positions, as `encode_token` does; it keeps what the next ones are likely to share."""

    def __init__(self, cluster: str, key: bytes) -> None:
        self.cluster: Final = cluster
        self.key: Final = key
        self.epoch = -1
        self.first_lsn = -1  # of the eight that `signatures` are of
        self.signatures = b""
        self.start = b""  # of every token of the epoch

    def write(self, epoch: int, lsn: int) -> bytes:
        nth = lsn % _NEIGHBOURS
        if epoch != self.epoch or lsn - nth != self.first_lsn:
            self._sign(epoch, lsn - nth)
        data = b"%b%b%b" % (self.start, lsn.to_bytes(_LSN_BYTES, "big"), _signature_of(nth, self.signatures))
        return _to_base64(data)[:_POSITION_SIGNS]

    def _sign(self, epoch: int, first_lsn: int) -> None:
        first = _HEAD.pack(_VERSION, _cluster_hash(self.cluster), 0, epoch, first_lsn)
        self.signatures = _signatures(first, self.key)
        self.start = first[:-_LSN_BYTES]
        self.epoch = epoch
        self.first_lsn = first_lsn


def decode_token(text: str, cluster: str, key: bytes) -> SyncToken | None:
    """The token behind `text`, or None for anything that this cluster did not write; never raises."""
    signed = _from_text(text)
    if signed is None:
        return None
    data, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
    n_keys, remainder = divmod(len(data) - _HEAD.size, _PART.size)
    if n_keys < 0 or n_keys > MAX_KEYS or remainder:
        return None
    if not hmac.compare_digest(signature, _signature(data, key)):
        return None
    version, cluster_hash, stream, epoch, lsn = _HEAD.unpack_from(data)
    if version != _VERSION or cluster_hash != _cluster_hash(cluster):
        return None
    return SyncToken(epoch, lsn, stream, tuple(_PART.iter_unpack(data[_HEAD.size :])))


def key_hash(key: bytes) -> int:
    """The 64 bits by which a token names a key; the same on every node and in every process."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def sync_token_key(secret: str) -> bytes:
    """What sync tokens are signed with, derived from the secret that the nodes of the cluster share."""
    return sha256(f"sync token {secret}".encode()).digest()


def edge_proof(secret: str) -> bytes:
    """What an edge shows a node in `Upstash-Edge`, so that it is told on what a reply depends; derived likewise."""
    return sha256(f"edge {secret}".encode()).hexdigest().encode()


class AccessTokens:
    """Which user a bearer token stands for. Only hashes are kept."""

    def __init__(self, users: Mapping[str, bytes]) -> None:
        """`users` maps each token to the name of its user."""
        self._users = [(token_hash(token), user) for token, user in users.items()]

    def find(self, token: str) -> bytes | None:
        """The user of `token`; every entry is compared, so the time tells nothing about which one was near."""
        hashed = token_hash(token)
        found: bytes | None = None
        for known, user in self._users:
            if hmac.compare_digest(known, hashed):
                found = user
        return found


def encode_credentials(name: bytes, password: bytes) -> str:
    """A name of at most 65535 bytes and a password as one URL-safe text."""
    return _to_text(_CREDENTIALS.pack(_VERSION, len(name)) + name + password)


def decode_credentials(token: str) -> tuple[bytes, bytes] | None:
    """(name, password) in a text that `encode_credentials` may have made; None for any other. Never raises."""
    data = _from_text(token)
    if data is None or len(data) < _CREDENTIALS.size:
        return None
    version, length = _CREDENTIALS.unpack_from(data)
    end = _CREDENTIALS.size + length
    return (data[_CREDENTIALS.size : end], data[end:]) if version == _VERSION and end <= len(data) else None


def token_hash(token: str) -> bytes:
    """What an access token is known by where it need not be kept."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()  # whatever a header holds has a hash


@cache
def _cluster_hash(cluster: str) -> bytes:
    return sha256(cluster.encode()).digest()[:4]


@cache
def _hasher(key: bytes, n_bytes: int) -> Any:
    """A keyed BLAKE2b that has read the key and nothing else yet; of another length it is another function."""
    return blake2b(key=key, digest_size=n_bytes)


def _hash(data: bytes, key: bytes, n_bytes: int) -> bytes:
    hasher = _hasher(key, n_bytes).copy()
    hasher.update(data)
    hashed: bytes = hasher.digest()
    return hashed


def _signature(data: bytes, key: bytes) -> bytes:
    """What stands behind `data`, a token without its signature."""
    if len(data) > _HEAD.size:
        return _hash(data, key, _SIGNATURE_BYTES)
    nth = data[-1] % _NEIGHBOURS
    return _signature_of(nth, _signatures(data[:-1] + bytes([data[-1] - nth]), key))


def _signatures(first: bytes, key: bytes) -> bytes:
    """Those of `first`, a token without keys whose LSN is a multiple of eight, and of the seven behind it."""
    return _hash(first, key, _NEIGHBOURS * _SIGNATURE_BYTES)


def _signature_of(nth: int, signatures: bytes) -> bytes:
    at = nth * _SIGNATURE_BYTES
    return signatures[at : at + _SIGNATURE_BYTES]


def _to_text(data: bytes) -> str:
    return _to_base64(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes | None:
    if len(text) > MAX_TEXT or not text.isascii():
        return None
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except Base64Error:
        return None
    return data if _to_text(data) == text else None  # one text per token: the decoder skips what it does not know
