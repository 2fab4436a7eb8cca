"""The turn of a node's event loop: what the node asks for is done."""

from tests.server.serving import Served, wait_for


def test_a_sweep_that_gave_way_goes_on_before_the_next_tick(served: Served) -> None:
    shell = served.running.shell

    async def turn_that_left_something() -> bool:
        shell.node.sweeping.has_more = True
        shell.turn()
        return shell.is_sweeping

    assert served.await_(turn_that_left_something())
    wait_for(lambda: not shell.is_sweeping)  # only the stretch that was planned ends that
    assert not served.ask(lambda node: node.sweeping.has_more)


def test_config_get_tells_where_the_data_is(served: Served) -> None:
    with served.redis() as client:
        assert client.config_get("dir") == {"dir": str(served.directory)}
        assert client.config_get("dbfilename") == {"dbfilename": "dump.rdb"}
