"""What the clients do: cold calls, reads of what stands still, reads of what is written.

Reads come at random, at a mean rate, whether earlier ones have been answered or not (a Poisson process). A target that is slow for
a moment is asked as often as one that is quick, so its slowness is counted as often as clients would meet it.

    cold     each key for the first time, on a connection of its own: nothing is in any cache
    hot      kept connections, nothing is written
    writes   the same, while one writer per key writes beside the leader; and each place writes keys of its own through each target,
             for the time a write takes

Readers show the read-only token: what an edge owes to those who write through it (its reads pass the cache by until the write has
come back) would otherwise be charged to the readers.
"""

import asyncio
import json
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from upstash_global.comparison.client import Answer, Server, clock_ms
from upstash_global.comparison.places import TARGETS
from upstash_global.comparison.staleness import FRESH, History
from upstash_global.comparison.world import World

N_COLD: Final = 10  # keys that each place asks each target for once
LAST_ANSWERS_S: Final = 5.0  # a read that is unanswered so long after its phase is a failure

COLD: Final = "cold"
HOT: Final = "hot"
WRITES: Final = "writes"
PHASES: Final = (COLD, HOT, WRITES)

NO_CACHE: Final = 0  # no edge took part
HIT: Final = 1
MISS: Final = 2
FAILED: Final = 3
STATES: Final = ("none", "hit", "miss", "failed")
_STATE_OF: Final = {b"": NO_CACHE, b"hit": HIT, b"miss": MISS, b"bypass": MISS}


@dataclass(frozen=True)
class Settings:
    keys: int
    read_rate: float  # reads a second of each key, from each place, at each target
    write_rate: float  # writes a second of each key
    probe_rate: float  # writes a second from each place through each target
    hot_s: float
    seconds: float  # of the phase with writes
    seed: int


class Samples:
    """The reads of one place at one target in one phase, as columns."""

    def __init__(self) -> None:
        self.started_ms = array("d")  # since the comparison began
        self.latency_ms = array("d")
        self.state = bytearray()
        self.staleness_ms = array("d")  # FRESH if it was not stale
        self.most_ms = array("d")  # the same since the newer value was sent
        self.told_ms = array("d")  # the answer's own receipt: how old the state may be that it shows
        self.n_refused = 0  # not asked, since too many waited for a connection

    def __len__(self) -> int:
        return len(self.state)


class Load:
    """One run of the comparison in a world that is up."""

    def __init__(self, world: World, settings: Settings, standard_token: str, read_token: str) -> None:
        self.world = world
        self.settings = settings
        self.pairs = [(target.name, place.name) for target in TARGETS for place in world.places]
        self.readers = {pair: Server(world.urls[pair], read_token) for pair in self.pairs}
        self.writers = {pair: Server(world.urls[pair], standard_token) for pair in self.pairs}
        self.leader = Server(world.leader_url(), standard_token)
        self.samples = {(phase, *pair): Samples() for phase in PHASES for pair in self.pairs}
        self.write_ms: dict[tuple[str, str], array[float]] = {pair: array("d") for pair in self.pairs}
        self.leader_write_ms = array("d")  # of the writers beside the leader
        self.histories = [History() for _ in range(settings.keys)]
        self.n_failed_writes = 0
        self.lateness_ms = array(
            "d"
        )  # of reads: how long after its time each was sent, for want of this process's own time
        self.cpu_s = 0.0  # of this process, in the phases hot and writes
        self.wall_s = 0.0
        self.began_ms = clock_ms()
        self.writes_began_ms = 0.0  # after `began_ms`
        self.random = Random(settings.seed)

    async def run(self, on_phase: Callable[[str], None], on_progress: Callable[[float], None]) -> None:
        """All phases. `on_progress` is told how many seconds of the phases hot and writes have passed."""
        try:
            await self._prepare()
            on_phase(COLD)
            await self._run_cold()
            cpu_s, wall_ms = time.process_time(), clock_ms()
            on_phase(HOT)
            await self._run_reads(HOT, self.settings.hot_s, on_progress)
            on_phase(WRITES)
            self.writes_began_ms = clock_ms() - self.began_ms
            writers = [
                asyncio.create_task(self._write(history, f"key:{n}")) for n, history in enumerate(self.histories)
            ]
            writers += [asyncio.create_task(self._probe(pair)) for pair in self.pairs]
            try:
                await self._run_reads(WRITES, self.settings.seconds, on_progress)
            finally:
                for task in writers:
                    task.cancel()
            failures = [each for each in await asyncio.gather(*writers, return_exceptions=True) if each is not None]
            for failure in failures:
                if not isinstance(failure, asyncio.CancelledError):
                    raise failure
            self.cpu_s, self.wall_s = time.process_time() - cpu_s, (clock_ms() - wall_ms) / 1e3
        finally:
            for server in (*self.readers.values(), *self.writers.values(), self.leader):
                server.close()

    # -- the phases -------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Write every key once, and wait until every node has all of it: nothing is asked that is not there."""
        for n in range(N_COLD):
            await self._set(self.leader, f"cold:{n}", 0)
        for n, history in enumerate(self.histories):
            value = history.next_value(clock_ms())
            await self._set(self.leader, f"key:{n}", value)
            history.acknowledge(clock_ms())
        last = f"key:{len(self.histories) - 1}"
        for place in self.world.places:
            server = self.readers["global", place.name]
            while (await server.answer(server.get(f"/get/{last}"))).body != b'{"result":"1"}':
                await asyncio.sleep(0.05)

    async def _run_cold(self) -> None:
        async def call(pair: tuple[str, str]) -> None:
            server, samples = self.readers[pair], self.samples[COLD, *pair]
            for n in range(N_COLD):
                self._note(samples, await server.answer_to_a_stranger(server.get(f"/get/cold:{n}")), None)

        await asyncio.gather(*[call(pair) for pair in self.pairs])

    async def _run_reads(self, phase: str, seconds: float, on_progress: Callable[[float], None]) -> None:
        until_ms = clock_ms() + seconds * 1e3
        reads = [
            Reads(self, self.readers[pair], self.samples[phase, *pair], until_ms, Random(self.random.random()))
            for pair in self.pairs
        ]
        while (left_ms := until_ms - clock_ms()) > 0:
            on_progress(seconds - left_ms / 1e3)
            await asyncio.sleep(min(0.25, left_ms / 1e3))
        on_progress(seconds)
        deadline_ms = clock_ms() + LAST_ANSWERS_S * 1e3
        while any(each.n_unanswered for each in reads) and clock_ms() < deadline_ms:
            await asyncio.sleep(0.01)

    def _note(self, samples: Samples, answer: Answer, history: History | None) -> None:
        """One read more."""
        samples.started_ms.append(answer.started_ms - self.began_ms)
        samples.latency_ms.append(answer.ended_ms - answer.started_ms)
        staleness_ms = most_ms = FRESH
        state = FAILED
        if answer.status == 200:
            state = _STATE_OF[answer.header(b"upstash-edge-cache")]
            if history is not None:
                value = int(answer.body[len(b'{"result":"') : -len(b'"}')])
                staleness_ms = history.staleness_ms(value, answer.started_ms)
                most_ms = history.most_ms(value, answer.started_ms) if staleness_ms != FRESH else FRESH
        samples.state.append(state)
        samples.staleness_ms.append(staleness_ms)
        samples.most_ms.append(most_ms)
        samples.told_ms.append(float(answer.header(b"upstash-staleness-ms") or 0))

    # -- writing ----------------------------------------------------------------------------------------------------

    async def _write(self, history: History, key: str) -> None:
        """Write one key again and again, beside the leader. If one fails, so does the comparison."""
        while True:
            await asyncio.sleep(self.random.expovariate(self.settings.write_rate))
            value = history.next_value(clock_ms())
            answer = await self._set(self.leader, key, value)
            history.acknowledge(answer.ended_ms)
            self.leader_write_ms.append(answer.ended_ms - answer.started_ms)

    async def _probe(self, pair: tuple[str, str]) -> None:
        """Write a key that nobody reads, through one target from one place."""
        server, key = self.writers[pair], "probe:" + ":".join(pair)
        n = 0
        while True:
            await asyncio.sleep(self.random.expovariate(self.settings.probe_rate))
            n += 1
            answer = await server.answer(server.post(json.dumps(["SET", key, n])))
            if answer.status == 200:
                self.write_ms[pair].append(answer.ended_ms - answer.started_ms)
            else:
                self.n_failed_writes += 1

    async def _set(self, server: Server, key: str, value: int) -> Answer:
        answer = await server.answer(server.post(json.dumps(["SET", key, value])))
        if answer.status != 200:
            raise ConnectionError(f"the leader did not take a write: {answer.body.decode('utf-8', 'replace')}")
        return answer


class Reads:
    """The reads of one place at one target, until a time."""

    def __init__(self, load: Load, server: Server, samples: Samples, until_ms: float, random: Random) -> None:
        self.load = load
        self.server = server
        self.samples = samples
        self.until_ms = until_ms
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.requests = [server.get(f"/get/key:{n}") for n in range(load.settings.keys)]
        self.rate_per_ms = load.settings.read_rate * load.settings.keys / 1e3
        self.next_ms = clock_ms()
        self.n_unanswered = 0
        self._schedule()

    def _schedule(self) -> None:
        self.next_ms += self.random.expovariate(self.rate_per_ms)
        if self.next_ms < self.until_ms:
            self.loop.call_later(max(0.0, self.next_ms - clock_ms()) / 1e3, self._read)

    def _read(self) -> None:
        now_ms = clock_ms()
        self.load.lateness_ms.append(now_ms - self.next_ms)
        if now_ms >= self.until_ms:  # this process is so late that the rest is not asked for
            return
        self._schedule()
        n = self.random.randrange(len(self.requests))
        history = self.load.histories[n]

        def note(answer: Answer) -> None:
            self.n_unanswered -= 1
            self.load._note(self.samples, answer, history)

        self.n_unanswered += 1
        if not self.server.ask(self.requests[n], note):
            self.n_unanswered -= 1
            self.samples.n_refused += 1
