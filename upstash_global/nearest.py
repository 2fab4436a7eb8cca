"""Nearest: which node a client shall use now, and when it shall leave it.

    async with AsyncNearest([URL, URL], TOKEN, client=make, lag_budget_ms=500) as nearest:
        await nearest.run(lambda db: db.get("greeting"))

Two URLs of the cluster are enough: every node tells of all others (`GET /v1/nearest`). What others say of a node only makes
it known. Its distance is measured from here, and its state is what it says itself:

    asked ──2 answers in a row──▶ steady: ranked by preference() ──a failure, of a question or a request──▶ down
      ▲                                                                                                     │
      └──────────────── asked again after 250 ms, later every second ──────────────────────────────────────┘

The node in use is asked every 250 ms and given 500 ms to answer, the others every second: one that dies or hangs is left in
under a second also if nothing else is sent, and at once if a request fails. The first answer after being down says only
that somebody is there, since its time may include that of connecting; the second is the first sample.

`Chooser` decides, from times and samples that it is given. `AsyncNearest` and, for threads, `Nearest` do the asking. The
same in JavaScript: clients/nearest.mjs.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

import aiohttp

PATH: Final = "/v1/nearest"
STEADY: Final = 2  # answers in a row after which a node is used
SAMPLES: Final = 5  # the shortest of so many round trips counts: noise only adds
LEADER_HANDICAP_MS: Final = 2.0
STAY_FACTOR: Final = 0.8  # another node must be so much nearer, and
STAY_MS: Final = 1.0  # so much more, before a good one is left for it
FRESH_FACTOR: Final = 0.8  # of the lag budget: what a node that is not in use must keep
CURRENT_MS: Final = 250.0  # between questions to the node in use
OTHERS_MS: Final = 1_000.0
AGAIN_MS: Final = 250.0  # after a failure, and so much more after each further one, up to OTHERS_MS
PATIENCE_MS: Final = 500.0  # for an answer, if two round trips are not longer
FIRST_PATIENCE_MS: Final = 2_000.0  # for one that may have to wait for a connection

STREAMING: Final = "streaming"
UNREACHABLE: Final = "unreachable"

C = TypeVar("C")
R = TypeVar("R")


# -- the order --------------------------------------------------------------------------------------------------------


def preference(
    state: str | None, is_fresh: bool, role: str | None, rtt_ms: float | None, lag_ms: float | None
) -> tuple[int, float, float]:
    """What nodes are sorted by, the best first: well and within the lag budget; well; only answering; not even that. Then by
    round trip, then by lag.

    A node that does not follow the leader serves reads but no writes, so it comes after every one that does. The leader is
    ranked as any other: it is never behind, so it is what remains when all replicas are over the budget, and the nearest node
    of those who live beside it. As it has the writes of all to do, a replica may be 2 ms farther away and is still preferred.
    """
    if state == STREAMING:
        tier = 0 if is_fresh else 1
    else:
        tier = 3 if state is None or state == UNREACHABLE else 2
    far_ms = float("inf") if rtt_ms is None else rtt_ms + (LEADER_HANDICAP_MS if role == "leader" else 0.0)
    return tier, far_ms, lag_ms or 0.0


class Place:
    """A node as this client knows it."""

    def __init__(self, url: str, is_given: bool, due_ms: float) -> None:
        self.url = url  # of REST
        self.is_given = is_given  # by the user; else another node has told of it
        self.name = ""  # this and what follows: as the node says itself
        self.region = ""
        self.role: str | None = None
        self.state: str | None = None
        self.resp = ""  # host:port
        self.edges: tuple[str, ...] = ()  # URLs of the edge caches of its region
        self.lag_ms: float | None = None
        self.staleness_ms: float | None = None
        self.samples: deque[float] = deque(maxlen=SAMPLES)  # round trips in ms
        self.n_answers = 0  # since the last failure
        self.n_failures = 0  # since the last answer
        self.problem = ""  # why it is down
        self.is_asked = False  # and has not answered yet
        self.due_ms = due_ms  # when it is to be asked

    @property
    def is_up(self) -> bool:
        return self.n_answers >= STEADY

    @property
    def rtt_ms(self) -> float | None:
        return min(self.samples, default=None)

    @property
    def patience_ms(self) -> float:
        """How long an answer may take."""
        if self.n_answers == 0 or self.rtt_ms is None:
            return FIRST_PATIENCE_MS
        return max(PATIENCE_MS, 2 * self.rtt_ms)

    @property
    def host(self) -> str:
        return self.resp.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.resp.rpartition(":")[2])

    def __repr__(self) -> str:
        rtt = "no round trip yet" if self.rtt_ms is None else f"{self.rtt_ms:.1f} ms away"
        return f"<{self.name or self.url}: {self.problem or self.state or 'not asked yet'}, {rtt}>"


class Chooser:
    """Decides whom to ask when, and which node to use. Times are milliseconds of any clock that does not go back."""

    def __init__(
        self, urls: Sequence[str], lag_budget_ms: float | None = None, discover: bool = True, now_ms: float = 0.0
    ) -> None:
        """`discover` false: use no node but those of `urls`."""
        if not urls:
            raise ValueError("at least one URL is needed")
        self.lag_budget_ms = lag_budget_ms
        self.discover = discover
        self.places = {url: Place(url, True, now_ms) for url in [url.rstrip("/") for url in urls]}
        self.current = next(iter(self.places.values()))

    @property
    def is_settled(self) -> bool:
        """Whether every known node has had its chance to be chosen."""
        return all(place.is_up or place.n_failures for place in self.places.values())

    # -- asking

    def due(self, now_ms: float) -> list[Place]:
        """Whom to ask now; each is waited for until it has answered or failed."""
        places = [place for place in self.places.values() if not place.is_asked and place.due_ms <= now_ms]
        for place in places:
            place.is_asked = True
        return places

    def wait_ms(self, now_ms: float) -> float:
        """How long nobody is due, if nothing is heard meanwhile."""
        waits = [place.due_ms - now_ms for place in self.places.values() if not place.is_asked]
        return max(0.0, min(waits, default=OTHERS_MS))

    def answered(self, place: Place, told: dict[str, Any], rtt_ms: float, now_ms: float) -> None:
        """A node has answered with the body of GET /v1/nearest."""
        place.is_asked = False
        place.n_answers += 1
        place.n_failures = 0
        place.problem = ""
        if place.n_answers > 1:
            place.samples.append(rtt_ms)
        for each in told["nodes"]:
            if each["name"] == told["node"]:
                place.name, place.region, place.role = each["name"], each["region"], each["role"]
                place.state, place.resp, place.edges = each["state"], each["resp"], tuple(each["edges"])
                place.lag_ms, place.staleness_ms = each["lag_ms"], each["staleness_ms"]
        place.due_ms = now_ms + (OTHERS_MS if place.is_up else 0.0)
        if self.discover:
            self._learn(told, now_ms)
        self._choose(now_ms)

    def unanswered(self, place: Place, now_ms: float, problem: str) -> None:
        """A node did not answer its question, or not in time."""
        place.is_asked = False
        self.failed(place, now_ms, problem)

    def failed(self, place: Place, now_ms: float, problem: str = "a request failed") -> None:
        """A node is down, at once."""
        place.n_answers = 0
        place.n_failures += 1
        place.problem = problem
        place.samples.clear()
        place.due_ms = now_ms + min(AGAIN_MS * place.n_failures, OTHERS_MS)
        self._choose(now_ms)

    def _learn(self, told: dict[str, Any], now_ms: float) -> None:
        """Take in the nodes of an answer. One that answers at a URL which was given is not also used at the one it tells."""
        given = {place.name for place in self.places.values() if place.is_given}
        for each in told["nodes"]:
            url = each["url"].rstrip("/")
            known = self.places.get(url)
            if known is None and each["name"] not in given:
                self.places[url] = Place(url, False, now_ms)
            elif known is not None and not known.is_given and each["name"] in given:
                del self.places[url]

    # -- choosing

    def ranked(self) -> list[Place]:
        """All nodes, the best first."""
        return sorted(self.places.values(), key=self._preference)

    def _choose(self, now_ms: float) -> None:
        self.current = min(self.places.values(), key=self._preference)
        if self.current.is_up:
            self.current.due_ms = min(self.current.due_ms, now_ms + CURRENT_MS)

    def _preference(self, place: Place) -> tuple[int, float, float]:
        if not place.is_up:
            return 3, float(place.n_failures), 0.0
        tier, far_ms, lag_ms = preference(place.state, self._is_fresh(place), place.role, place.rtt_ms, place.lag_ms)
        if place is self.current:
            far_ms = far_ms * STAY_FACTOR - STAY_MS
        return tier, far_ms, lag_ms

    def _is_fresh(self, place: Place) -> bool:
        if self.lag_budget_ms is None:
            return True
        factor = 1.0 if place is self.current else FRESH_FACTOR
        return place.staleness_ms is not None and place.staleness_ms <= self.lag_budget_ms * factor


# -- asking for real --------------------------------------------------------------------------------------------------


class Lost(ConnectionError):
    """The node went down while a request was under way."""


class AsyncNearest(Generic[C]):
    """Follows the nearest node; `async with` starts and ends the asking."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str | None = None,
        *,
        client: Callable[[Place], C] | None = None,
        failures: tuple[type[BaseException], ...] = (OSError,),
        lag_budget_ms: float | None = None,
        discover: bool = True,
    ) -> None:
        """`urls`: REST addresses of some nodes. `token`: any that may read. `client(place)` makes what `run` is given, once per
        node. `failures`: its exceptions that mean that a node is lost (redis.ConnectionError, httpx.TransportError).
        """
        self.chooser = Chooser(urls, lag_budget_ms, discover, _now_ms())
        self.failures: tuple[type[BaseException], ...] = (Lost, *failures)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._make = client
        self._clients: dict[str, C] = {}
        self._lost: dict[str, asyncio.Future[None]] = {}  # URL → of requests under way there: ends when it goes down
        self._heard = asyncio.Event()
        self._settled = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> Place:
        """The node to use now."""
        return self.chooser.current

    @property
    def url(self) -> str:
        return self.chooser.current.url

    def places(self) -> list[Place]:
        """All known nodes, the best first."""
        return self.chooser.ranked()

    def client(self, place: Place) -> C:
        """The client for a node, made at its first use."""
        if place.url not in self._clients:
            if self._make is None:
                raise ValueError("say `client=`: a function that makes one for a place")
            self._clients[place.url] = self._make(place)
        return self._clients[place.url]

    def failed(self, place: Place) -> None:
        """A request to a node failed: use another one until this one answers again."""
        self.chooser.failed(place, _now_ms())
        self._note_heard()

    async def run(self, use: Callable[[C], Awaitable[R]], *, again: bool = True) -> R:
        """What `use(client)` answers at the nearest node; if that is lost meanwhile, at the next one.

        `again` false is for what must not run twice: it may have run although no answer came, so the failure is raised.
        """
        n_tries = 0
        while True:
            place = self.place
            n_tries += 1
            try:
                return await self._unless_lost(place, use(self.client(place)))
            except self.failures as failure:
                if not isinstance(failure, Lost):
                    self.failed(place)
                if not again or n_tries > len(self.chooser.places):
                    raise

    async def _unless_lost(self, place: Place, request: Awaitable[R]) -> R:
        """Raises Lost if the node goes down before it has answered."""
        lost = self._lost.get(place.url)
        if lost is None:
            lost = self._lost[place.url] = asyncio.get_running_loop().create_future()
        running = asyncio.ensure_future(request)
        either: set[asyncio.Future[Any]] = {running, lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if running.done():
            return running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise Lost(f"{place.name or place.url} went away before it answered: {place.problem}")

    # -- beginning and ending

    async def __aenter__(self) -> "AsyncNearest[C]":
        """Returns when every node had its chance to be chosen, at most after two seconds."""
        self._session = aiohttp.ClientSession(headers=self._headers)
        self._spawn(self._ask_for_ever())
        try:
            async with asyncio.timeout(FIRST_PATIENCE_MS / 1000):
                await self._settled.wait()
        except TimeoutError:
            pass  # what has answered is used
        return self

    async def __aexit__(self, *failure: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    # -- asking

    async def _ask_for_ever(self) -> None:
        while True:
            self._heard.clear()
            for place in self.chooser.due(_now_ms()):
                self._spawn(self._ask(place))
            try:
                async with asyncio.timeout(self.chooser.wait_ms(_now_ms()) / 1000):
                    await self._heard.wait()
            except TimeoutError:
                pass  # somebody is due

    async def _ask(self, place: Place) -> None:
        assert self._session is not None
        began_ms = _now_ms()
        try:
            async with asyncio.timeout(place.patience_ms / 1000):
                async with self._session.get(place.url + PATH, allow_redirects=False) as response:
                    told = await response.json()
            now_ms = _now_ms()
            if response.status != 200:
                self.chooser.unanswered(place, now_ms, f"{response.status} {told}")
            else:
                self.chooser.answered(place, told, now_ms - began_ms, now_ms)
        except TimeoutError:
            self.chooser.unanswered(place, _now_ms(), "no answer in time")
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
        ) as failure:  # or an answer that is none
            self.chooser.unanswered(place, _now_ms(), str(failure) or type(failure).__name__)
        self._note_heard()

    def _note_heard(self) -> None:
        """Something has changed: whom to ask next, and perhaps who is lost."""
        for url, lost in list(self._lost.items()):
            place = self.chooser.places.get(url)
            if place is None or place.n_failures:
                del self._lost[url]
                lost.set_result(None)
        if self.chooser.is_settled:
            self._settled.set()
        self._heard.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Nearest(Generic[C]):
    """The same for threads: the asking runs in a thread of its own, requests in that of the caller.

    So a node that hangs is left for the next request; the one under way waits as long as its client does. Give clients a
    timeout (redis-py: `socket_timeout`).
    """

    def __init__(self, urls: Sequence[str], token: str | None = None, **options: Any) -> None:
        """As AsyncNearest."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nearest", daemon=True)
        self._making = threading.Lock()
        self._nearest: AsyncNearest[C] = AsyncNearest(urls, token, **options)

    @property
    def place(self) -> Place:
        """The node to use now."""
        return self._nearest.place

    @property
    def url(self) -> str:
        return self._nearest.url

    def places(self) -> list[Place]:
        """All known nodes, the best first."""

        async def places() -> list[Place]:
            return self._nearest.places()

        return self._await(places())

    def client(self, place: Place) -> C:
        """The client for a node, made at its first use."""
        with self._making:
            return self._nearest.client(place)

    def failed(self, place: Place) -> None:
        """A request to a node failed: use another one until this one answers again."""

        async def fail() -> None:
            self._nearest.failed(place)

        self._await(fail())

    def run(self, use: Callable[[C], R], *, again: bool = True) -> R:
        """What `use(client)` answers at the nearest node; if that fails with one of `failures`, at the next one.

        `again` false is for what must not run twice: it may have run although no answer came, so the failure is raised.
        """
        n_tries = 0
        while True:
            place = self.place
            n_tries += 1
            try:
                return use(self.client(place))
            except self._nearest.failures:
                self.failed(place)
                if not again or n_tries > len(self._nearest.chooser.places):
                    raise

    def __enter__(self) -> "Nearest[C]":
        self._thread.start()
        self._await(self._nearest.__aenter__())
        return self

    def __exit__(self, *failure: object) -> None:
        self._await(self._nearest.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _now_ms() -> float:
    return time.monotonic() * 1000
