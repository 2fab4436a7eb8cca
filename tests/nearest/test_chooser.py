"""Which node is used, and when it is left: stories with given times, the same for Python and JavaScript; and a small world."""

import heapq
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster.sdk import run_alone
from upstash_global.nearest import Chooser, Place, preference

STORIES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("stories.json").read_text())
HELPER = Path(__file__).parents[2] / "upstash_global" / "clients" / "nearest.mjs"


def told_by(name: str, step: dict[str, Any], url: str) -> dict[str, Any]:
    """What a node answers: about itself what the step says, about others that they exist."""
    me = {
        "name": name,
        "url": f"http://{name}",
        "region": "r",
        "resp": "h:1",
        "edges": [],
        "role": step.get("role", {}).get(url, "replica"),
        "state": step.get("state", {}).get(url, "streaming"),
        "staleness_ms": step.get("staleness_ms", {}).get(url, 0),
        "lag_ms": 0,
    }
    others = [me | {"name": other, "url": f"http://{other}"} for other in step.get("tells_of", []) if other != name]
    return {"node": name, "nodes": [me, *others]}


def play(story: dict[str, Any]) -> None:
    chooser = Chooser(
        [f"http://{name}/" for name in story["urls"]], story.get("lag_budget_ms"), story.get("discover", True)
    )

    def place(name: str) -> Place:
        return chooser.places[f"http://{name}"]

    for step in story["steps"]:
        now_ms = step["at"]
        for name, rtt_ms in step.get("up", {}).items():
            for _ in range(2):
                chooser.answered(place(name), told_by(name, step, name), rtt_ms, now_ms)
        if "answered" in step:
            url = step["answered"]
            chooser.answered(place(url), told_by(step.get("name", url), step, url), step["rtt_ms"], now_ms)
        if "failed" in step:
            chooser.failed(place(step["failed"]), now_ms)
        if "unanswered" in step:
            chooser.unanswered(place(step["unanswered"]), now_ms, "no answer in time")
        if "due" in step:
            assert [each.url.removeprefix("http://") for each in chooser.due(now_ms)] == step["due"], step
        if "wait_ms" in step:
            assert chooser.wait_ms(now_ms) == step["wait_ms"], step
        if "current" in step:
            assert chooser.current.url == f"http://{step['current']}", step
        if "known" in step:
            assert [url.removeprefix("http://") for url in chooser.places] == step["known"], step
        for name, patience_ms in step.get("patience_ms", {}).items():
            assert place(name).patience_ms == patience_ms, step


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["claim"])
def test_story(story: dict[str, Any]) -> None:
    play(story)


def test_the_same_stories_in_javascript() -> None:
    report = run_alone(Path(__file__).with_name("stories.mjs"), helper=HELPER.as_uri(), stories=STORIES)
    assert report == {"played": [story["claim"] for story in STORIES], "wrong": []}


def test_the_order_of_preference() -> None:
    """Well and fresh; well; answering; silent. Then near, with a handicap for the leader; then lag."""
    order = [
        preference("streaming", True, "replica", 3.0, 0),
        preference("streaming", True, "replica", 3.0, 9),
        preference("streaming", True, "leader", 1.5, 0),
        preference("streaming", True, "replica", None, 0),
        preference("streaming", False, "replica", 1.0, 0),
        preference("disconnected", True, "replica", 0.1, 0),
        preference("unreachable", True, "replica", 0.1, 0),
    ]
    assert order == sorted(order)
    assert preference(None, True, None, None, None)[0] == 3, "of whom nothing is known"


# -- a small world ----------------------------------------------------------------------------------------------------


class World:
    """Nodes at fixed distances that hang and come back, and a chooser that asks them, on a clock of their own."""

    def __init__(self, rtts_ms: dict[str, float]) -> None:
        self.rtts_ms = rtts_ms
        self.hung: set[str] = set()
        self.chooser = Chooser([f"http://{name}" for name in rtts_ms])
        self.now_ms = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()

    @property
    def current(self) -> str:
        return self.chooser.current.url.removeprefix("http://")

    def run(self, for_ms: float, until: Callable[[], bool] = lambda: False) -> float:
        """Let time pass, at most so much; how much it was until it came to hold."""
        began_ms = self.now_ms
        while not until():
            for place in self.chooser.due(self.now_ms):
                self._ask(place)
            next_ms = self.now_ms + self.chooser.wait_ms(self.now_ms)
            if self.events:
                next_ms = min(next_ms, self.events[0][0])
            if next_ms > began_ms + for_ms:
                self.now_ms = began_ms + for_ms
                break
            self.now_ms = next_ms
            while self.events and self.events[0][0] <= self.now_ms:
                heapq.heappop(self.events)[2]()
        return self.now_ms - began_ms

    def _ask(self, place: Place) -> None:
        name = place.url.removeprefix("http://")
        rtt_ms = self.rtts_ms[name]
        asked_ms, deadline_ms = self.now_ms, self.now_ms + place.patience_ms

        def arrive() -> None:
            """The node answers now, or, while it hangs, looks again a little later; in the end nobody waits for it."""
            if self.now_ms >= deadline_ms:
                self.chooser.unanswered(place, self.now_ms, "no answer in time")
            elif name in self.hung:
                self._at(min(self.now_ms + 10, deadline_ms), arrive)
            else:
                self._at(self.now_ms + rtt_ms / 2, hear)

        def hear() -> None:
            self.chooser.answered(place, told_by(name, {}, name), self.now_ms - asked_ms, self.now_ms)

        self._at(self.now_ms + rtt_ms / 2, arrive)

    def _at(self, time_ms: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time_ms, next(self.numbers), event))


def test_a_node_that_hangs_is_left_in_under_a_second_and_used_again_when_it_is_back(seed: int) -> None:
    """Nothing is sent but the chooser's own questions; the moment and the length of each outage are random."""
    random = Random(seed)
    for _ in range(40):
        world = World({f"n{n}": random.uniform(1, 3) * 8**n for n in range(3)})
        world.run(5_000)
        nearest = "n0"
        for _ in range(3):
            world.run(random.uniform(0, 2_000))
            assert world.current == nearest
            world.hung.add(nearest)
            assert world.run(3_000, lambda: world.current != nearest) < 1_000, f"seed {seed}"  # noqa: B023
            world.run(random.uniform(0, 5_000))
            world.hung.clear()
            assert world.run(3_000, lambda: world.current == nearest) < 1_000, f"seed {seed}"  # noqa: B023
