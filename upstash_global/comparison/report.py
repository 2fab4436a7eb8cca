"""The page: one file that needs nothing else, with charts (uPlot), tables, and every sample to be taken away."""

import gzip
import json
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from upstash_global.comparison.load import Load
from upstash_global.comparison.results import samples_csv

PAGE: Final = "page.html"
# What stands in the page as {{NAME}}, and the file beside it that takes its place.
PARTS: Final = {
    "UPLOT_CSS": "uPlot.min.css",
    "CSS": "page.css",
    "UPLOT_JS": "uPlot.iife.min.js",
    "UPLOT_LICENSE": "uPlot.LICENSE.txt",
    "JS": "page.js",
}


def write_page(path: Path, results: dict[str, Any], load: Load) -> None:
    csv = gzip.compress("".join(samples_csv(load)).encode(), mtime=0)
    path.write_text(page(results, csv), "utf-8")


def page(results: dict[str, Any], compressed_csv: bytes) -> str:
    """The whole text. Nothing in the data can end the element it stands in."""
    place = files("upstash_global.comparison") / "page"
    text = (place / PAGE).read_text("utf-8")
    values = {name: (place / file).read_text("utf-8") for name, file in PARTS.items()}
    values["RESULTS"] = json.dumps(results, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    values["SAMPLES"] = b64encode(compressed_csv).decode()
    before, *rest = text.split("{{")
    made = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        made += [values[name], after]
    return "".join(made)
