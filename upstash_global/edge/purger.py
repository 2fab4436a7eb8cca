"""The purger: follows the log for a cache that is not ours, and has it drop what entries change.

A standard cache (Varnish, with deploy/varnish.vcl) keeps the replies of a node whose configuration says `surrogate: true`, each
with the hashes of the keys it depends on. For each entry that changes keys, the purger sends `BAN` with their hashes, and
once more AGAIN_S later: a ban does not touch what the cache inserts after it, and a reply may have been on its way just then.

What is pending for a cache that does not answer is kept, and becomes a ban of everything if it is too much. At the start, at a new
place in the log, at a new epoch, and again and again while the log is too far behind, everything is banned. The rest is
bounded by s-maxage: nothing is kept for longer than that, whatever happens to the purger.
"""

import asyncio
import logging
import signal
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final

import aiohttp

import upstash_global.engine.commands  # noqa: F401  (fills the table)
from upstash_global.config import Config
from upstash_global.edge.following import Following
from upstash_global.engine.footprint import keys_changed
from upstash_global.node.edges import SURROGATE_OF_ALL, surrogate_of
from upstash_global.replication.codec import EPOCH, Entry
from upstash_global.replication.position import Position

AGAIN_S: Final = 2.0  # a reply takes no longer from the node into the cache, as a rule
BAN_TIMEOUT_S: Final = 5.0
SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
TAGS_PER_BAN: Final = 100  # of 17 bytes each in one header
MAX_PENDING: Final = 10_000
TOO_OLD_EVERY_S: Final = 1.0

log = logging.getLogger("upstash_global")


def run_purger(config: Config, upstream: str, varnish: Sequence[str]) -> int:
    """Run a purger until SIGTERM or Ctrl-C; the exit code: 0 stopped cleanly, 1 failed."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    return asyncio.run(_run(config, upstream, varnish))


async def _run(config: Config, upstream: str, varnish: Sequence[str]) -> int:
    purger = Purger(config, upstream, varnish)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, purger.stopping.set)
    purger.start()
    await purger.stopping.wait()
    await purger.stop()
    return 1 if purger.failed else 0


class Target:
    """One cache, and what it has not been told yet."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tags: dict[bytes, None] = {}
        self.everything = True  # what it kept before is not known
        self.filled = asyncio.Event()
        self.filled.set()
        self.n_bans = 0

    def ban(self, tags: Sequence[bytes]) -> None:
        self.tags.update(dict.fromkeys(tags))
        if len(self.tags) > MAX_PENDING:
            self.ban_everything()
        self.filled.set()

    def ban_everything(self) -> None:
        self.everything = True
        self.tags.clear()
        self.filled.set()

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Tell the cache, again and again until it has heard."""
        pause_s = SHORTEST_PAUSE_S
        while True:
            await self.filled.wait()
            everything, tags = self._take()
            try:
                await self._tell(http, everything, tags)
            except (aiohttp.ClientError, TimeoutError) as failure:
                if everything:
                    self.ban_everything()
                self.ban(tags)
                if pause_s == SHORTEST_PAUSE_S:
                    log.warning("%s cannot be told what to drop: %s", self.url, failure)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.n_bans += 1
                pause_s = SHORTEST_PAUSE_S

    def _take(self) -> tuple[bool, list[bytes]]:
        """What to tell next: whether everything, and which tags."""
        everything, tags = self.everything, list(self.tags)[:TAGS_PER_BAN]
        self.everything = False
        for tag in tags:
            del self.tags[tag]
        if not self.tags:
            self.filled.clear()
        return everything, tags

    async def _tell(self, http: aiohttp.ClientSession, everything: bool, tags: list[bytes]) -> None:
        """Raises ClientError or TimeoutError unless the cache has done it."""
        headers = {} if everything else {"Surrogate-Key": b"|".join(tags).decode()}
        async with http.request("BAN", self.url, headers=headers) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"it answers BAN with {response.status}")


class Purger:
    def __init__(self, config: Config, upstream: str, varnish: Sequence[str], again_s: float = AGAIN_S) -> None:
        """To be made on the loop that runs it."""
        node = config.node(upstream)
        self.upstream = upstream
        self.address = node.advertised("grpc")
        self.again_s = again_s
        self.loop = asyncio.get_running_loop()
        self.targets = [Target(url) for url in varnish]
        self.said: deque[tuple[float, list[bytes]]] = deque()  # (when to say it again, tags)
        self.too_old_at = 0.0  # when everything is banned next, while the log is too far behind
        self.following = Following(config, "purger", node.region, self._apply, self._restart, self._tick)
        self.following.on_failure = self._fail
        self.http: aiohttp.ClientSession | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.stopping = asyncio.Event()
        self.failed = False

    def start(self) -> None:
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=BAN_TIMEOUT_S))
        self.tasks = [asyncio.create_task(target.run(self.http)) for target in self.targets]
        self.following.start(self.upstream, self.address)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.following.stop()
        if self.http is not None:
            await self.http.close()

    def _apply(self, entry: Entry) -> None:
        keys = None if entry.kind == EPOCH else keys_changed(entry.commands)
        if keys is None:
            self._restart(entry.position)
        elif keys:
            tags = [SURROGATE_OF_ALL, *[surrogate_of(key) for key in keys]]
            self._ban(tags)
            self.said.append((self.loop.time() + self.again_s, tags))

    def _restart(self, position: Position) -> None:
        """Everything may have changed; it is said again like anything else."""
        self._ban([])
        self.said.append((self.loop.time() + self.again_s, []))

    def _ban(self, tags: list[bytes]) -> None:
        """Have these dropped everywhere; [] for everything."""
        for target in self.targets:
            if tags:
                target.ban(tags)
            else:
                target.ban_everything()

    def _tick(self) -> None:
        now = self.loop.time()
        while self.said and self.said[0][0] <= now:
            self._ban(self.said.popleft()[1])
        if not self.following.is_near() and now >= self.too_old_at:
            self.too_old_at = now + TOO_OLD_EVERY_S
            self._ban([])

    def _fail(self) -> None:
        self.failed = True
        self.stopping.set()
