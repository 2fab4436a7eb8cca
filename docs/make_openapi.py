"""Writes docs/openapi.json, the REST API as the admin port describes it: `make docs`. A test says when it is out of date."""

from pathlib import Path
from typing import Final

import upstash_global.node.node  # noqa: F401  # fills the table
from upstash_global.server.openapi import as_text, description

PAGE: Final = Path(__file__).with_name("openapi.json")


def page() -> str:
    """The whole text of docs/openapi.json."""
    return as_text(description())


if __name__ == "__main__":
    PAGE.write_text(page())
