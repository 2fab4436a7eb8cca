"""What holds for all sources: floors, sizes, docstrings, the command table, and what must never be committed."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from upstash_global.engine.facts import summary_of
from upstash_global.engine.table import all_rows

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "upstash_global"
GENERATED = PACKAGE / "server" / "pb"

# The lowest floor first; what stands on none of them is floor 4, the only one that touches the world.
FLOORS = [
    ("errors", "reply", "floats", "bytestrings"),
    ("engine", "protocol"),
    ("replication",),
    ("node", "edge.cache", "edge.fills", "edge.wishes", "comparison.percentiles", "comparison.staleness"),
]
TOP = len(FLOORS)
PEERS = [{"engine", "protocol"}]  # of one floor, and never imported by each other
WORLD = {"asyncio", "time", "random", "socket", "os", "grpc", "aiohttp", "logging"}
LONGEST_MODULE = 800


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if GENERATED not in path.parents)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    """Dotted, without the package's own name: `engine.table`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def part_of(name: str) -> str | None:
    """The entry of FLOORS that a module belongs to, or None at the top."""
    for floor in FLOORS:
        for part in floor:
            if name == part or name.startswith(part + "."):
                return part
    return None


def floor_of(part: str | None) -> int:
    return next((number for number, floor in enumerate(FLOORS) if part in floor), TOP)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    """Every module that is imported while the program runs; `if TYPE_CHECKING:` is for annotations only."""
    if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
        for other in tree.orelse:
            yield from imports(other, name, is_package)
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        base = tree.module or ""
        if tree.level:
            here = ("upstash_global." + name).rstrip(".").split(".")
            up = here[: len(here) - tree.level + is_package]
            base = ".".join(up + ([base] if base else []))
        yield from (f"{base}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from imports(child, name, is_package)


def imports_of(path: Path) -> list[str]:
    return list(imports(parsed(path), module_name(path), path.name == "__init__.py"))


def wrong_imports(part: str | None, imported: list[str]) -> list[str]:
    """The imports that a module of `part` must not have, each with the reason."""
    found = []
    for name in imported:
        if name.split(".")[0] in WORLD and floor_of(part) < TOP:
            found.append(f"{name}: only the top floor touches the world")
        if not name.startswith("upstash_global."):
            continue
        other = part_of(name.removeprefix("upstash_global."))
        if other is None and name == "upstash_global.__version__":
            continue
        if floor_of(other) > floor_of(part):
            found.append(f"{name}: imports go down only")
        elif part != other and any({part, other} == peers for peers in PEERS):
            found.append(f"{name}: {part} and {other} are peers")
    return found


@pytest.mark.parametrize("path", modules(), ids=named)
def test_imports_go_down_only(path: Path) -> None:
    assert wrong_imports(part_of(module_name(path)), imports_of(path)) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("engine", "from upstash_global.protocol import resp"),
        ("protocol", "from upstash_global.engine.table import lookup"),
        ("engine", "import upstash_global.node.node"),
        ("node", "from upstash_global.server import clock"),
        ("node", "from upstash_global import config"),
        ("reply", "from upstash_global.engine import table"),
        ("replication", "import asyncio"),
        ("edge.cache", "def now():\n    from time import time\n    return time()"),
        ("engine", "from random import Random"),
    ],
)
def test_the_floors_test_finds_a_wrong_import(part: str, source: str) -> None:
    assert wrong_imports(part, list(imports(ast.parse(source), part, False)))


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("engine", "if TYPE_CHECKING:\n    from random import Random"),
        ("node", "from upstash_global.engine import engine\nfrom upstash_global.replication.log import Entry"),
        ("protocol", "from upstash_global.errors import CommandError"),
        (None, "import asyncio\nfrom upstash_global.node.node import Node"),
        ("engine", "from . import table"),
    ],
)
def test_the_floors_test_accepts_what_is_right(part: str | None, source: str) -> None:
    assert wrong_imports(part, list(imports(ast.parse(source), f"{part or 'server'}.some", False))) == []


@pytest.mark.parametrize("path", modules(), ids=named)
def test_every_module_opens_with_a_docstring(path: Path) -> None:
    empty = not path.read_text().strip()
    assert (empty and path.name == "__init__.py") or ast.get_docstring(parsed(path))


@pytest.mark.parametrize("path", modules(), ids=named)
def test_no_module_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_every_command_says_what_it_does() -> None:
    importlib.import_module("upstash_global.engine.commands")  # fills the table
    importlib.import_module("upstash_global.node.commands")
    assert all_rows()
    assert [row.name for row in all_rows() if not summary_of(row).strip()] == []


# -- what must not be committed

HOME = re.compile(r"/(?:home|root|Users)/[a-z]|/work/(?:main|shared)|/opt/(?:wheels|pypi)")
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[abp]-[0-9A-Za-z-]{10,}"
)
BINARY = {".png", ".jpg", ".gif", ".ico", ".woff2", ".rdb"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode != 0:
        pytest.skip("not a git working tree")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in BINARY]


def test_no_path_of_a_machine_and_no_secret_is_committed() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue  # names what it looks for
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if HOME.search(line) or SECRET.search(line):
                found.append(f"{named(path)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_nothing_built_is_committed() -> None:
    built = {".so", ".pyc", ".o", ".whl"}
    assert [named(path) for path in tracked() if path.suffix in built] == []


# -- what is written twice must agree


def test_generated_code_is_current(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    where = "upstash_global/server/pb"
    arguments = [f"-I{where}={ROOT / 'protos'}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    assert protoc.main(["protoc", *arguments, f"--grpc_python_out={tmp_path}", f"{where}/replication.proto"]) == 0
    for fresh in sorted((tmp_path / where).iterdir()):
        assert fresh.read_text() == (GENERATED / fresh.name).read_text(), f"{fresh.name} is out of date: make proto"


def test_the_readme_names_only_make_targets_that_exist() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("no README yet")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    used = re.findall(r"(?:^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*|`)make ([a-z-]+)", readme.read_text(), re.M)
    assert set(used) <= targets


def test_the_readme_names_only_commands_that_exist() -> None:
    readme, cli = ROOT / "README.md", PACKAGE / "cli" / "main.py"
    if not readme.exists() or not cli.exists():
        pytest.skip("no README or no command line yet")
    known = importlib.import_module("upstash_global.cli.main").cli
    used = re.findall(r"(?:^\s*(?:\$ )?|`)(?:\.venv/bin/)?upstash-global ([a-z][a-z-]*)", readme.read_text(), re.M)
    assert set(used) <= set(known.list_commands(known.make_context("upstash-global", [], resilient_parsing=True)))
