"""`upstash-global bench edge` from end to end: a small run, its figures, and its page as a browser draws it."""

import gzip
import json
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from tests.cluster.running import LIMIT_S, ROOT
from tests.ports import base_port
from upstash_global.cli.main import cli
from upstash_global.comparison.places import TARGETS
from upstash_global.comparison.report import page

CHARTS: Final = {"chart-percentiles", "chart-curve", "chart-places", "chart-staleness"}
INK: Final = 300  # coloured pixels that the least of the charts has at any rate
EDGES: Final = [target.name for target in TARGETS if target.has_edge]


class Run:
    """What one small run has left: figures and page."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "page.html"
        arguments = ["--seconds", "4", "--write-rate", "4", "--place", "us-east-1", "--place", "tokyo"]
        ended = subprocess.run(
            [sys.executable, "-m", "upstash_global", "bench", "edge", *arguments, "-o", "json"]
            + ["--html", str(self.path), "--base-port", str(base_port())],
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_S,
            cwd=ROOT,
        )
        assert ended.returncode == 0, ended.stderr
        self.results: dict[str, Any] = json.loads(ended.stdout)
        self.page = self.path.read_text()

    def reads(self, phase: str, target: str, place: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = next(
            row
            for row in self.results["reads"]
            if (row["phase"], row["target"], row["place"]) == (phase, target, place)
        )
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("bench"))


pytestmark = pytest.mark.cluster


def test_every_target_is_read_in_every_phase_from_every_place(run: Run) -> None:
    for phase in ("cold", "hot", "writes"):
        for target in TARGETS:
            rows = [run.reads(phase, target.name, place) for place in (None, "us-east-1", "tokyo")]
            assert all(row["reads"] > 0 and row["failed"] == 0 for row in rows)
            assert rows[0]["reads"] == rows[1]["reads"] + rows[2]["reads"]


def test_cold_calls_find_nothing_in_a_cache_and_later_ones_do(run: Run) -> None:
    for target in EDGES:
        assert run.reads("cold", target)["hit_share"] == 0
        assert run.reads("hot", target)["hit_share"] > 0
    assert run.reads("hot", "single")["hit_share"] is None


def test_who_asks_the_leader_reads_nothing_stale_and_who_hears_of_no_writes_does(run: Run) -> None:
    assert run.reads("writes", "single")["stale_share"] == 0
    assert run.reads("writes", "edge-ttl")["stale_share"] > 0
    assert run.reads("writes", "edge-ttl")["staleness_max_ms"] > 0


def test_no_answer_is_quicker_than_its_distance(run: Run) -> None:
    """The clients of Tokyo are 150 ms from the leader, and 70 ms from the nearest replica."""
    for phase in ("cold", "hot", "writes"):
        assert run.reads(phase, "single", "tokyo")["latency_ms"]["p50"] >= 150
        assert run.reads(phase, "global", "tokyo")["latency_ms"]["p50"] >= 70
    samples = gzip.decompress(b64decode(element(run.page, "samples"))).decode().splitlines()[1:]
    columns = [line.split(",") for line in samples]
    assert min(float(row[4]) for row in columns if row[:3] == ["writes", "single", "tokyo"]) >= 150
    reads = [row for row in columns if row[0] != "write"]
    assert len(reads) == sum(row["reads"] for row in run.results["reads"] if row["place"] is None)


def test_the_page_asks_nobody_for_anything(run: Run) -> None:
    assert "default-src 'none'" in run.page
    assert set(re.findall(r"https?://[^\s\"'`]*", run.page)) <= {
        "https://github.com/leeoniya/uPlot"
    }  # in its first comment
    assert re.findall(r"(?:src|href)=\"[^#]", run.page) == []


def test_the_page_shows_its_tables_and_draws_its_charts(run: Run, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    seen = Seen()
    seen.feed(drawn(run.path, tmp_path))
    assert set(seen.ink) == CHARTS
    assert all(ink > INK for ink in seen.ink.values()), seen.ink
    for target in TARGETS:
        row = next(row for row in seen.tables["writes"] if row[:1] == [target.label])
        figures = run.reads("writes", target.name)
        assert row[1] == str(figures["reads"])
        assert float(row[2]) == pytest.approx(figures["latency_ms"]["p50"], abs=0.06 if "." in row[2] else 0.6)
    assert ["Tokyo", "150", "70"] in seen.tables["distances"]
    assert seen.offered_bytes == len(b64decode(element(run.page, "samples")))


def test_data_cannot_end_the_element_it_stands_in() -> None:
    made = page({"title": "</script><script>alert(1)</script>{{JS}}"}, b"")
    assert json.loads(element(made, "results"))["title"] == "</script><script>alert(1)</script>{{JS}}"


def test_a_page_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["bench", "edge", "--html", str(tmp_path / "missing" / "page.html")])
    assert refused.exit_code == 1 and "there is no directory" in refused.output


# -- looking at the page


def element(text: str, name: str) -> str:
    return text.partition(f'id="{name}">')[2].partition("</script>")[0]


def drawn(path: Path, directory: Path) -> str:
    """The page as it stands in the browser once its scripts have run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={directory / 'profile'}", "--window-size=1280,3000", "--dump-dom", path.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class Seen(HTMLParser):
    """What a drawn page shows: the cells of its tables, how much its charts have drawn, how much it offers."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ink: dict[str, int] = {}
        self.offered_bytes = 0
        self.table: list[list[str]] | None = None
        self.is_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "table":
            self.table = self.tables.setdefault(known.get("id") or "", [])
        elif tag == "tr" and self.table is not None:
            self.table.append([])
        elif tag == "td" and self.table:
            self.table[-1].append("")
            self.is_cell = True
        elif known.get("id") == "download":
            self.offered_bytes = int(known.get("data-bytes") or 0)
        if "data-ink" in known:
            self.ink[known["id"] or ""] = int(known["data-ink"] or 0)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.table = None
        elif tag == "td":
            self.is_cell = False

    def handle_data(self, data: str) -> None:
        if self.is_cell and self.table:
            self.table[-1][-1] += data
