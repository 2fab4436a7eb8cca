"""A reply of two shapes: each protocol shows its own, REST that of RESP2."""

from librt.strings import BytesWriter

from upstash_global.protocol.resp import encode
from upstash_global.protocol.rest import Call, Mode, render
from upstash_global.reply import ByProtocol, Reply

REPLY = ByProtocol(b"[2,null]", [2, None])


def encoded(reply: Reply, version: int) -> bytes:
    out = BytesWriter()
    encode(out, reply, version)
    return out.getvalue()


def test_each_protocol_shows_its_own_shape() -> None:
    assert encoded(REPLY, 2) == b"$8\r\n[2,null]\r\n"
    assert encoded(REPLY, 3) == b"*2\r\n:2\r\n_\r\n"
    assert encoded([REPLY], 3) == b"*1\r\n*2\r\n:2\r\n_\r\n"


def test_rest_shows_the_shape_of_resp2() -> None:
    assert render(Call(Mode.SINGLE, [[b"JSON.NUMINCRBY"]]), [REPLY]).body == b'{"result":"[2,null]"}'
