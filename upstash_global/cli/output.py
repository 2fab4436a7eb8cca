"""How results are shown: a table for people, JSON or YAML for programs, the same data in all three."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # rich takes a node's whole start-up time to import
    from rich.console import Console, RenderableType
    from rich.table import Table

WIDTH = 240  # nothing is cut, since an address without its port is of no use; a narrow terminal wraps the line

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to show the result.",
)


def show(output: str, data: Any, render: Callable[[], "RenderableType"]) -> None:
    """Print `data` as JSON or YAML, or what `render` makes of it."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        console().print(render())


def console() -> "Console":
    """Standard output for tables."""
    from rich.console import Console

    return Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False)


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> "Table":
    """Headings that begin with > are of numbers, and stand to the right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        is_number = heading.startswith(">")
        made.add_column(heading.lstrip(">"), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    return made


def bytes_text(n_bytes: float | None) -> str | None:
    """12 B, 3.4 KiB, 5.6 MiB…"""
    if n_bytes is None:
        return None
    unit = "B"
    for larger in ("KiB", "MiB", "GiB"):
        if n_bytes >= 1024:
            n_bytes /= 1024
            unit = larger
    return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"


def duration_text(milliseconds: float | None) -> str | None:
    """850 ms, 12 s, 3 min, 5 h, 2 d"""
    if milliseconds is None:
        return None
    if milliseconds < 1000:
        return f"{milliseconds:g} ms"
    seconds = milliseconds / 1000
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def epoch_text(epoch: int | None) -> str | None:
    """An epoch's parts, term.start.node, which say more than the one number that they form."""
    from upstash_global.replication.position import epoch_parts

    return None if epoch is None else ".".join(str(part) for part in epoch_parts(epoch))
