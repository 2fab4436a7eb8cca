"""Two nodes that take turns in leading, with real links between them."""

from dataclasses import replace
from pathlib import Path

from tests.server.serving import Served, config, wait_for
from upstash_global.config import Durability


def test_a_former_leader_forwards_to_the_one_that_it_followed_before(tmp_path: Path) -> None:
    """Hand the lead over, and back, and over once more; each time the other one must reach it."""
    settings = replace(config(names=("one", "two")), durability=Durability(fsync="always"))
    with Served(tmp_path / "one", settings) as one, Served(tmp_path / "two", settings, "two") as two:
        leader, follower = one, two
        for n in range(3):
            leader, follower = follower, leader
            wait_for(lambda: len(follower.ask(lambda node: node.roles.feeds)) == 1)  # noqa: B023
            target = leader.name
            follower.ask(lambda node: node.roles.switch(target))  # noqa: B023
            wait_for(lambda: leader.ask(lambda node: node.is_leader))  # noqa: B023
            wait_for(lambda: follower.ask(lambda node: node.can_forward))  # noqa: B023
            with follower.redis() as client:
                assert client.set("led", n)
