"""What the simulated clients say reaches every family: else their programs would show nothing about it."""

from random import Random

import upstash_global.node.node  # noqa: F401  # fills the table
from tests.differential.grammar import Maker
from tests.simulation.repertoire import SYNTAXES, script_line
from upstash_global.engine.table import BLOCKING, INTERNAL, all_rows, find_row

# Of writes: what runs only where a client waits (see test_blocking.py), what empties all (see program.py), and what is for
# administrators and users, whose state is checked by stories.
LEFT_OUT = {"FLUSHALL", "FLUSHDB", "FUNCTION RESTORE", "RESTORE-ASKING", "SWAPDB"}


def test_every_write_is_among_what_clients_say() -> None:
    random = Random(1)
    maker = Maker(random)
    said = [maker.line(random.choice(SYNTAXES)) for _ in range(20_000)]
    said += [script_line(maker, random) for _ in range(1_000)]
    reached = {row.name for argv in said if (row := find_row(argv)) is not None}
    writes = {
        row.name
        for row in all_rows()
        if row.is_write and row.handler is not None and not row.flags & (INTERNAL | BLOCKING)
    }
    assert writes - reached == LEFT_OUT
    assert {"EVAL", "EVALSHA", "FCALL", "FCALL_RO", "SCRIPT LOAD"} <= reached
