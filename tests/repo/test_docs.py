"""Pages that are generated say what the sources say, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from docs import make_openapi
from docs.make_commands import PAGE, SUMMARIES, page, summaries_text

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
        *ROOT.glob("upstash_global/**/*.md"),
    ]
)


def test_the_page_of_commands_is_current() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_summaries_of_commands_are_the_docstrings_of_their_functions() -> None:
    assert SUMMARIES.read_text() == summaries_text(), "run `make docs`"


def test_the_description_of_the_rest_api_is_current() -> None:
    assert make_openapi.PAGE.read_text() == make_openapi.page(), "run `make docs`"


def anchors(text: str) -> set[str]:
    """What a link to a heading of a page may say behind its #, as GitHub and GitLab make it of the heading."""
    headings = re.findall(r"^#+ +(.+?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of one."""
    found = []
    for link in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue  # another site's
        place, _, heading = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists() or (heading and heading not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    assert broken_links(path) == []


def test_the_links_test_finds_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("## A heading, here\n")
    one = tmp_path / "page.md"
    one.write_text(
        "[a](there.md) [b](there.md#a-heading-here) [c](https://x/y) [d](gone.md) [e](there.md#none) [f](#up)\n"
    )
    assert broken_links(one) == ["gone.md", "there.md#none", "#up"]
