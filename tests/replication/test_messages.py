"""Messages come back as they were, and what is none is refused."""

from dataclasses import MISSING, fields
from typing import Any

import msgpack
import pytest

from upstash_global.errors import ClusterError
from upstash_global.replication import messages
from upstash_global.replication.messages import Ack, Cancel, Forward, Message, StatusReply, decode, encode
from upstash_global.replication.position import Position

SAMPLES: dict[Any, Any] = {
    int: 1 << 60,
    str: "ü",
    bytes: b"\xff\x00",
    bool: True,
    Position: Position((1 << 64) - 1, 5),
    list: [b"a", "b", 3, [Position(1, 2), None, True]],
    dict: {"a": b"b", "c": {"d": [1]}},
}


@pytest.mark.parametrize("message_type", messages._TYPES, ids=lambda each: each.__name__)
def test_every_message_comes_back_as_it_was(message_type: type[Message]) -> None:
    described = fields(message_type)  # type: ignore[arg-type]
    full = message_type(*[SAMPLES[getattr(each.type, "__origin__", each.type)] for each in described])
    assert decode(encode(full)) == full
    required = [each for each in described if each.default is MISSING and each.default_factory is MISSING]
    short = message_type(*[SAMPLES[getattr(each.type, "__origin__", each.type)] for each in required])
    plain = msgpack.unpackb(encode(short), strict_map_key=False)
    assert decode(msgpack.packb(plain[: 2 + len(required)])) == short, "fields of later versions have defaults"


def test_extra_trailing_fields_are_ignored() -> None:
    plain = msgpack.unpackb(encode(Cancel(7, 8)))
    assert decode(msgpack.packb([*plain, "from the future", 1])) == Cancel(7, 8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb(1),
        msgpack.packb([]),
        msgpack.packb(["x", 1]),
        msgpack.packb([99, 1]),
        msgpack.packb([10, 2, 7]),
        msgpack.packb([10, 1]),
        msgpack.packb([10, 1, "seven"]),
        msgpack.packb([10, 1, True]),
        msgpack.packb([12, 1, msgpack.ExtType(9, b"")]),
        encode(Ack(1, 2, Position(1, 2), 3, 4, 5))[:-3],
    ],
)
def test_what_is_no_message_is_a_cluster_error(data: bytes) -> None:
    with pytest.raises(ClusterError):
        decode(data)


def test_watches_carry_positions_and_status_is_any_plain_structure() -> None:
    forward = Forward("sa", "boot", 1, 2, "default", "exec", [[b"GET", b"k"]], [[b"k", Position(3, 4), True]])
    assert decode(encode(forward)) == forward
    assert decode(encode(StatusReply({"lag": {"sa": 1.5}}))) == StatusReply({"lag": {"sa": 1.5}})
