"""Pages that are generated say what the sources say."""

from docs.make_commands import PAGE, page


def test_the_page_of_commands_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"
