"""Random programs: a seed decides the cluster, its clients and its misfortunes, and every promise is checked.

`pytest --seed N --seeds M tests/simulation/test_seeds.py` runs the programs N to N + M - 1, the even and the odd ones as
two tests, which may run beside each other.
"""

import pytest

from tests.simulation.program import run_program
from tests.simulation.simcluster import Broken

ENOUGH_SEEDS = 75  # for every happening below
HAPPENINGS = [
    "acked-lost", "acked-put-aside", "checked", "crash", "fetched", "full-resync", "isolate", "kept", "led", "part",
    "promote", "rewound", "sealed", "served-by-key", "snapshot-written", "stepped-down", "switch", "torn-tail", "transaction-aborted",
    "unsealed",
]  # fmt: skip
MANY_SEEDS = 400  # for these too
RARE_HAPPENINGS = ["handover-refused"]


@pytest.mark.parametrize("remainder", [0, 1])
def test_every_promise_holds_whatever_happens(seed: int, n_seeds: int, remainder: int) -> None:
    failures: list[str] = []
    tally: dict[str, int] = {}
    seeds = [each for each in range(seed, seed + n_seeds) if each % 2 == remainder]
    for each in seeds:
        try:
            happened = run_program(each)
        except Broken as failure:
            failures.append(str(failure))
            if len(failures) == 3:
                break
            continue
        for name, count in happened.items():
            tally[name] = tally.get(name, 0) + count
    assert not failures, "\n\n".join(failures)
    if len(seeds) >= ENOUGH_SEEDS:
        wanted = HAPPENINGS + (RARE_HAPPENINGS if len(seeds) >= MANY_SEEDS else [])
        missing = [name for name in wanted if name not in tally]
        assert not missing, f"these never happened, so nothing was shown about them: {missing}; {tally}"


def test_a_seed_replays_exactly() -> None:
    assert run_program(5) == run_program(5)
