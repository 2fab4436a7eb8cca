"""The parser beside a real redis-server: the same bytes, the same answers, the same goodbye.

Only commands whose answer the parser alone decides are sent: ECHO gives back what was read. What Redis answers is
compared with what a shell around our parser would: each ECHO, then the error, then the close.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from librt.strings import BytesWriter

from tests.ports import free_port
from upstash_global.protocol.resp import Parser, encode

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]

PASSWORD = b"secret"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A redis-server of our own that asks for no password."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--logfile", "/dev/null"]
    server = subprocess.Popen(["redis-server", *options])
    try:
        wait_until_it_listens(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def wait_until_it_listens(port: int, server: "subprocess.Popen[bytes]") -> None:
    while True:
        assert server.poll() is None, "redis-server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except ConnectionRefusedError:
            continue


def redis_answers(port: int, data: bytes) -> bytes:
    """Everything redis-server says to `data` until it or we have no more to say."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass  # it closed with bytes of ours unread
        return answer


def our_answers(data: bytes, authenticated: bool = True) -> bytes:
    parser = Parser(authenticated=authenticated, max_bulk=512 * 1024 * 1024, max_arguments=2**31 - 1)
    out = BytesWriter()
    for argv in parser.feed(data):
        assert argv[0].upper() == b"ECHO" and len(argv) == 2, argv
        encode(out, argv[1], 2)
    if parser.error is not None and not parser.cross_protocol:
        encode(out, parser.error, 2)
    return out.getvalue()


ECHO = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"


@pytest.mark.parametrize(
    "data",
    [
        ECHO * 3,
        b"ECHO hi\r\nECHO hi\n" + ECHO,
        b"\r\n\n  \r\n" + ECHO,
        b"*0\r\n*-1\r\n*-5\r\n" + ECHO,
        b"*2\rX$4\rXECHOxx$2\rXhiyy" + ECHO,
        b'ECHO "a\\x41\\n\\q\\""\r\n',
        b"ECHO 'it\\'s \\n'\r\n",
        b"ECHO pre'fix'\r\n",
        b"ECHO a\\b\r\n",
        b"ECHO \xff\xfe\r\n",
        b"ECHO 'a'b\r\n",
        b"ECHO 'a\r\n",
        b'ECHO "a\\"\r\n',
        b"*x\r\n",
        b"*\r\n",
        b"*+1\r\n",
        b"* 1\r\n",
        b"*01\r\n",
        b"*-0\r\n",
        b"*1_0\r\n",
        b"*-01\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*-9223372036854775808\r\n" + ECHO,
        b"*-9223372036854775809\r\n",
        b"*1\r\n+OK\r\n",
        b"*1\r\n\r\n",
        b"*1\r\n\xff1\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$-0\r\n",
        b"*1\r\n$01\r\n",
        b"*1\r\n$ 1\r\n",
        b"*1\r\n$1 \r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*2\r\n$4\r\nECHO\r\n*1\r\n",
        b"*2\r\n$4\r\nECHO\r\n$5\r\nhi",
        b"*1" + b"1" * 70000,
        b"*1\r\n$1" + b"1" * 70000,
        b"E" * 70000,
    ],
)
def test_the_same_bytes_get_the_same_answers(port: int, data: bytes) -> None:
    for stream in (data, ECHO + data):
        assert our_answers(stream) == redis_answers(port, stream)


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\n" + ECHO,
        b"post\r\n" + ECHO,
        b"hOsT: x\r\n" + ECHO,
        b"*1\r\n$5\r\nHost:\r\n" + ECHO,
    ],
)
def test_http_is_cut_off_without_a_word(port: int, data: bytes) -> None:
    """Redis also drops answers that it has not sent yet; ours leave."""
    assert our_answers(data) == redis_answers(port, data) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"*11\r\n",
        b"*10\r\n$16385\r\n",
        b"*1\r\n$16385\r\n",
        b"*2\r\n$1\r\nx\r\n$16385\r\n",
    ],
)
def test_a_stranger_gets_the_same_answers(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as admin:
        admin.sendall(b"CONFIG SET requirepass %b\r\n" % PASSWORD)
        assert admin.recv(100) == b"+OK\r\n"
        try:
            assert our_answers(data, authenticated=False) == redis_answers(port, data)
        finally:
            admin.sendall(b"CONFIG SET requirepass ''\r\n")
            assert admin.recv(100) == b"+OK\r\n"
