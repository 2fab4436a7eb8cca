"""A duel: the same lines on both sides, in pipelines, until a reply differs; then the shortest story that shows it."""

from collections.abc import Iterator
from random import Random
from typing import Final

from tests.differential.families import FAMILIES, command_of, lines_of, mixture_of
from tests.differential.grammar import KEYS, Argv, Maker, parse
from tests.differential.normalise import questions
from tests.differential.scripts import same_script, script_lines
from tests.differential.sides import SCANS, EngineSide, Side
from tests.differential.wire import Reply

SCRIPTS: Final = "scripts"  # a family without a table of its own: see scripts.py
BATCH: Final = 300
CHECK_EVERY: Final = 500  # lines between two comparisons of the whole keyspace
ROUND: Final = 2500  # lines between two fresh starts
SHRINK_RUNS: Final = 400

CONTENT: Final = ["TYPE {}", "OBJECT ENCODING {}", "PTTL {}", "GET {}", "LRANGE {} 0 -1", "HGETALL {}", "SMEMBERS {}",
                  "ZRANGE {} 0 -1 WITHSCORES", "XRANGE {} - +", "XINFO STREAM {} FULL COUNT 0"]  # fmt: skip


class Mismatch:
    def __init__(self, at: int, argv: Argv, ours: Reply, theirs: list[Reply]) -> None:
        self.at = at  # in the lines of its round
        self.argv = argv
        self.ours = ours
        self.theirs = theirs


def lines(ours: Side, family: str, seed: int, version: int) -> Iterator[Argv]:
    """Endless lines of a family that `ours` has built, mixed with other families; with what compares the keyspace."""
    random = Random(f"{family} {version} {seed}")
    maker, foreign = Maker(random), Maker(random, foreign=True)
    own = [parse(line) for line in lines_of(FAMILIES[family]) if ours.has(command_of(line))]
    mixture = [parse(line) for line in mixture_of(family) if ours.has(command_of(line))]
    content = [line for line in CONTENT if ours.has(command_of(line))]
    mixture_share = 0 if not mixture else 0.4 if family == "keys" else 0.15
    while True:
        for _ in range(CHECK_EVERY):
            if random.random() < mixture_share:
                yield (
                    foreign.line(random.choice(mixture))
                    if random.random() < 0.5
                    else maker.line(random.choice(mixture))
                )
            else:
                yield maker.line(random.choice(own))
        if ours.has(["KEYS"]):
            yield [b"KEYS", b"*"]
        for key in KEYS:
            for line in content:
                yield [key if word == "{}" else word.encode() for word in line.split()]


def duel(ours: Side, oracle: Side, family: str, seed: int, version: int, commands: int) -> str | None:
    """Run that many lines; None if all replies were the same, else the story of the first difference."""
    source = script_lines(ours, seed, version) if family == SCRIPTS else lines(ours, family, seed, version)
    for number in range(-(-commands // ROUND)):
        story = [next(source) for _ in range(ROUND)]
        mismatch = play(ours, oracle, story)
        if mismatch is None and isinstance(ours, EngineSide) and not ours.replica_agrees():
            ours.checks_every_line = True
            mismatch = play(ours, oracle, story)
        if mismatch is not None:
            short = shrink(ours, oracle, story[: mismatch.at + 1])
            return report(
                ours, oracle, short, f"family {family}, seed {seed}, RESP{version}, round {number}, line {mismatch.at}"
            )
    return None


def play(ours: Side, oracle: Side, story: list[Argv]) -> Mismatch | None:
    """Both sides from an empty keyspace through a story; its first difference."""
    ours.reset()
    oracle.reset()
    start = 0
    while start < len(story):
        end = start
        while end < len(story) and end < start + BATCH and not is_scan(story[end]):
            end += 1
        if end == start:
            end += 1
            answers = [ours.scan(story[start])]
            results = [[oracle.scan(story[start])]]
        else:
            answers = ours.run(story[start:end])
            asked = [questions(argv, answer) for argv, answer in zip(story[start:end], answers, strict=True)]
            replies = iter(oracle.run([question for each in asked for question in each]))
            results = [[next(replies) for _ in each] for each in asked]
        for at, (answer, result) in enumerate(zip(answers, results, strict=True), start):
            if not same_script(story[at], answer, result):
                return Mismatch(at, story[at], answer, result)
        start = end
    return None


def is_scan(argv: Argv) -> bool:
    """A SCAN from its beginning, which is driven to its end."""
    name = argv[0].upper()
    at = 1 if name == b"SCAN" else 2
    return name in SCANS and len(argv) > at and argv[at] in (b"0", b"")


def shrink(ours: Side, oracle: Side, story: list[Argv]) -> list[Argv]:
    """A shorter story whose last line still differs; the same story if chance had a part in it."""
    keys = {word for word in story[-1][1:] if word in KEYS}
    related = [argv for argv in story[:-1] if keys & {*argv[1:]}]
    runs = 0

    def differs(candidate: list[Argv]) -> bool:
        nonlocal runs
        runs += 1
        mismatch = play(ours, oracle, candidate)
        return mismatch is not None and mismatch.at == len(candidate) - 1

    if differs([*related, story[-1]]):
        story = [*related, story[-1]]
    elif not differs(story):
        return story
    step = max(1, len(story) // 2)
    while runs < SHRINK_RUNS:
        at = 0
        while at < len(story) - 1 and runs < SHRINK_RUNS:
            candidate = story[:at] + story[min(at + step, len(story) - 1) :]
            if differs(candidate):
                story = candidate
            else:
                at += step
        if step == 1:
            break
        step //= 2
    return story


def report(ours: Side, oracle: Side, story: list[Argv], where: str) -> str:
    mismatch = play(ours, oracle, story)
    text = [where, *(f"    {shown(argv)}" for argv in story[-40:])]
    if mismatch is None:
        return "\n".join([*text, "    (differed once, not in a second run)"])
    return "\n".join([*text, f"  ours:  {mismatch.ours!r}", f"  redis: {mismatch.theirs!r}"])


def shown(argv: Argv) -> str:
    return " ".join(word.decode() if word.isalnum() and word.isascii() else repr(word)[1:] for word in argv)
