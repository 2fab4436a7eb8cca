"""Pages that are generated say what the sources say."""

from docs import make_commands, make_openapi


def test_the_page_of_commands_is_current() -> None:
    assert make_commands.PAGE.read_text() == make_commands.page(), "run `make docs`"


def test_the_description_of_the_rest_api_is_current() -> None:
    assert make_openapi.PAGE.read_text() == make_openapi.page(), "run `make docs`"
