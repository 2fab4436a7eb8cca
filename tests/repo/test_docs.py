"""Pages that are generated say what the sources say."""

from docs.make_commands import PAGE, SUMMARIES, page, summaries_text


def test_the_page_of_commands_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_summaries_of_commands_are_the_docstrings_of_their_functions() -> None:
    assert SUMMARIES.read_text() == summaries_text(), "run `make docs`"
