"""Receipts: what an answer says of where it comes from, in words that are kept from one answer to the next."""

from hypothesis import example, given
from hypothesis import strategies as st

from upstash_global.node.clients import Receipt, ReceiptLines
from upstash_global.replication.position import NEVER, Position

POSITIONS = st.builds(Position, st.integers(0, 2), st.integers(0, 3)) | st.builds(
    Position, st.integers(0, 2**64 - 1), st.integers(0, 2**63)
)
REPLIES = st.lists(st.tuples(st.sampled_from(["here", "there"]), POSITIONS, st.sampled_from([0, 0, 7])), max_size=3)
ANSWERS = st.lists(st.tuples(REPLIES, st.sampled_from([b"one", b"two"])))


@example([([("here", NEVER, 0)], b"one")])
@given(ANSWERS)
def test_each_answer_tells_what_is_true_of_its_own_replies(
    answers: list[tuple[list[tuple[str, Position, int]], bytes]],
) -> None:
    lines, receipt = ReceiptLines("here"), Receipt()
    for replies, token in answers:
        receipt.begin()
        for region, position, staleness_ms in replies:
            receipt.note([region], position, staleness_ms)
        told = dict(line.split(b": ") for line in lines.of(receipt, token).split(b"\r\n")[:-1])
        first = replies[0][1] if replies else Position(0, 0)
        assert told == {
            b"upstash-sync-token": token,
            b"upstash-region": ", ".join(dict.fromkeys(region for region, _, _ in replies)).encode(),
            b"upstash-position": b"%d-%d" % (first.epoch, first.lsn),
            b"upstash-staleness-ms": b"%d" % max((ms for _, _, ms in replies), default=0),
        }


def test_between_two_writes_all_answers_share_their_lines() -> None:
    lines, token, head = ReceiptLines("here"), b"token", Position(1, 2)
    told = []
    for _ in range(2):
        receipt = Receipt()
        receipt.note(["here"], head, 0)
        told.append(lines.of(receipt, token))
    assert told[0] is told[1]
