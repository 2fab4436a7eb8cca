"""One unit of Redis's tests against a node of its own, and what became of each test in it."""

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.ports import free_port
from tests.redis_suite.sources import unpack
from tests.server.serving import OwnProcess
from upstash_global.engine import engine

LIMIT_S: Final = 240  # for one unit; what hangs fails after this
BELOW_BASE_PORT: Final = 32  # so much lower is the port where it listens itself; it looks for others only in IPv6
HERE: Final = Path(__file__).parent
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_LINE: Final = re.compile(r"^\[(ok|err|exception|ignore|skip|TIMEOUT)\]: (.*)$", re.M)
EVERYTHING: Final = "everything"  # all of a unit that is tagged external:skip is run; see anyway.tcl
_OUTSIDE: Final = "outside of a test: "  # begins the name of what failed between two tests


@dataclass(frozen=True)
class Unit:
    """A section of differences.yaml, as far as it concerns one version."""

    name: str  # "unit/type/list"
    version: str
    is_long: bool
    with_slow: bool  # tests that are tagged so run, too
    not_skipped: str  # tags that do not keep a test from being run here, "external:skip" among them; or EVERYTHING
    expected: dict[str, str]  # test that is known to fail -> why
    left_out: dict[str, str]  # test that is not run -> why


@dataclass
class Outcome:
    """What a unit's run said."""

    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # name -> what was said
    is_whole: bool = False  # the unit ran to its end
    output: str = ""
    bugs: list[str] = field(default_factory=list)  # that the node has noted, where a test may have expected any error


def parameters(version: str) -> list[Any]:
    """The units of a version, for pytest.mark.parametrize.

    What runs them in `make test` is the compiled build, which users run and which is faster; the sources have --long.
    """
    is_pure = (engine.__file__ or "").endswith(".py")
    return [
        pytest.param(unit, id=unit.name, marks=pytest.mark.long if unit.is_long or is_pure else ())
        for unit in units(version)
    ]


def units(version: str) -> list[Unit]:
    """All units that are run for this version."""
    sections: dict[str, Any] = yaml.safe_load((HERE / "differences.yaml").read_text())
    found = []
    for name, section in sections.items():
        if version not in section.get("versions", ["7.0", "8.0"]):
            continue
        known = [one for one in section.get("differs", []) if version == one.get("in", version)]
        found.append(
            Unit(
                name,
                version,
                version in (["7.0", "8.0"] if section.get("long") is True else section.get("long", [])),
                section.get("slow", False),
                section.get("not_skipped", ""),
                {one["test"]: one["why"] for one in known if one.get("run", True)},
                {one["test"]: one["why"] for one in known if not one.get("run", True)},
            )
        )
    return found


def run(unit: Unit, directory: Path) -> Outcome:
    """Run the unit against a fresh node without credentials."""
    tree = unpack(unit.version, directory / "tree")
    if unit.not_skipped == EVERYTHING:
        with (tree / "tests" / "support" / "server.tcl").open("a") as support:
            support.write("\n" + (HERE / "anyway.tcl").read_text())
    elif unit.not_skipped:
        _run_in_spite_of(unit.not_skipped, tree / "tests" / f"{unit.name}.tcl")
    tags = "-needs:repl" if unit.with_slow else "-needs:repl -slow"
    words = ["--host", "127.0.0.1", "--singledb", "--durable", "--tags", tags, "--single", unit.name]
    for test in unit.left_out:
        words += ["--skiptest", test]
    said = directory / "runtest.log"
    logins = {"failed_logins_per_minute": 0, "failed_login_delay_ms": 0}
    with OwnProcess(directory, insecure=True, **logins) as node, said.open("wb") as log:
        words += ["--port", str(node.resp), "--baseport", str(free_port() + BELOW_BASE_PORT)]
        process = subprocess.Popen(
            ["./runtest", *words],
            cwd=tree,
            env=os.environ | {"NODE_LOG": str(node.log)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            pass  # what it has said until now shows where it hangs
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children, too
            process.wait()
            shutil.rmtree(tree)  # pytest keeps the directory for a while
    outcome = read(said.read_text(errors="replace"), unit.name)
    outcome.bugs = [line for line in node.log.read_text(errors="replace").splitlines() if " bug: " in line]
    return outcome


def read(output: str, unit: str) -> Outcome:
    """The outcome that the suite's words tell.

    A test of one name may run more than once; it has passed if it never failed.
    """
    outcome = Outcome(output=_COLOURS.sub("", output))
    body = outcome.output.partition("The End")[0]  # the failures are repeated after that
    lines = list(_LINE.finditer(body))
    for at, line in enumerate(lines):
        kind, text = line.groups()
        if kind == "ok":
            outcome.passed.add(re.sub(r" \(\d+ ms\)$", "", text))
        elif kind == "err":
            end = lines[at + 1].start() if at + 1 < len(lines) else len(body)
            name, inside, _ = text.partition(f" in tests/{unit}.tcl")
            if not inside:
                name = _OUTSIDE + text.partition(" (context:")[0]
            outcome.failed[name] = body[line.start() : end].strip()
    outcome.passed -= outcome.failed.keys()
    outcome.is_whole = f"done]: {unit} " in body
    return outcome


def faults(unit: Unit, outcome: Outcome) -> str:
    """Everything that differs from what differences.yaml says; empty if nothing does."""
    found = []
    for name in sorted(outcome.failed.keys() - unit.expected.keys()):
        found.append(f"failed, and is not listed: {name}\n{_indented(outcome.failed[name])}")
    for name in sorted(unit.expected.keys() & outcome.passed):
        found.append(f"is listed, and passed: {name}")
    for name in sorted(unit.expected.keys() - outcome.failed.keys() - outcome.passed):
        found.append(f"is listed, and was not run: {name}")
    found += [f"the node noted {bug}" for bug in outcome.bugs]
    if not outcome.is_whole:
        found.append("the unit was not run to its end:\n" + _indented(outcome.output[-2000:]))
    return "\n".join(found)


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines()[-40:])


def _run_in_spite_of(tags: str, unit: Path) -> None:
    """Take `external:skip` from where the unit's tags read so: what it configures there comes by CONFIG SET."""
    text = unit.read_text()
    assert tags in text, f"{unit} has no {tags}"
    unit.write_text(text.replace(tags, tags.replace("external:skip", "").strip()))
