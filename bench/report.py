"""Results as tables: on the terminal by rich, in RESULTS.md as Markdown; and what they are measured by."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable

NONE: Final = "-"


class Aim:
    """A bound that a figure shall keep: a least, or else a most."""

    def __init__(self, what: str, bound: float, is_least: bool = True, unit: str = "") -> None:
        self.what = what  # of the row is bounded
        self.bound = bound
        self.is_least = is_least
        self.unit = unit

    def __str__(self) -> str:
        return f"{self.what} {'≥' if self.is_least else '≤'} {self.bound:g}{self.unit}"

    def is_met(self, value: float) -> bool:
        """By the figure itself, not by what is left of it when it is rounded."""
        return value >= self.bound if self.is_least else value <= self.bound


def at_least(what: str, bound: float, unit: str = "") -> Aim:
    return Aim(what, bound, True, unit)


def at_most(what: str, bound: float, unit: str = "") -> Aim:
    return Aim(what, bound, False, unit)


class Judged:
    """One figure beside its aim."""

    def __init__(self, where: str, aim: Aim, value: float) -> None:
        self.where = where  # the table and the row
        self.aim = aim
        self.value = value

    @property
    def is_met(self) -> bool:
        return self.aim.is_met(self.value)


class Table:
    """A title, how it was measured, and rows; headings that begin with > are of numbers and stand to the right.

    With a judged row the columns "aim" and "met" appear.
    """

    def __init__(self, title: str, method: str, headings: list[str]) -> None:
        self.title = title
        self.method = method
        self.headings = headings
        self.rows: list[list[str]] = []
        self.judged: list[list[Judged]] = []  # of each row
        self.notes: list[str] = []

    def add(self, *cells: object, aims: Sequence[tuple[Aim, float]] = ()) -> None:
        """A row, and the figures in it that have an aim."""
        assert len(cells) == len(self.headings)
        row = [str(cell) for cell in cells]
        self.rows.append(row)
        self.judged.append([Judged(f"{self.title}: {row[0]}", aim, value) for aim, value in aims])

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """(headings, rows), with the aims where there are any."""
        if not any(self.judged):
            return self.headings, self.rows
        verdicts = [
            [", ".join(str(each.aim) for each in row) or NONE, _verdict([each.is_met for each in row])]
            for row in self.judged
        ]
        return [*self.headings, "aim", "met"], [row + judged for row, judged in zip(self.rows, verdicts, strict=True)]

    def show(self, console: Console) -> None:
        if not self.headings:
            console.print(f"{self.title}: {self.method}")
            return
        headings, rows = self.shown()
        shown = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            is_number = heading.startswith(">")
            shown.add_column(heading.lstrip(">"), justify="right" if is_number else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
        for note in self.notes:
            console.print(note)
        console.print()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.method]
        if not self.headings:
            return "\n".join(lines) + "\n"
        headings, rows = self.shown()
        lines.append("")
        lines.append("| " + " | ".join(heading.lstrip(">") for heading in headings) + " |")
        lines.append("|" + "|".join("--:" if heading.startswith(">") else "---" for heading in headings) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def _verdict(met: list[bool]) -> str:
    if not met:
        return NONE
    return "yes" if all(met) else "NO"


def missing(title: str, reason: str) -> Table:
    """Stands for a part that could not be measured."""
    return Table(title, f"Not measured: {reason}", [])


def summary(tables: Sequence[Table]) -> str:
    """How many aims were met, and each one that was not, in Markdown."""
    judged = [each for table in tables for row in table.judged for each in row]
    missed = [each for each in judged if not each.is_met]
    lines = [f"{len(judged) - len(missed)} of {len(judged)} aims are met." if judged else "Nothing here has an aim."]
    if missed:
        lines += [
            "Not met:",
            "",
            *(f"- {each.where}: {each.value:.3g}{each.aim.unit}, aim: {each.aim}" for each in missed),
        ]
    unmeasured = [f"{table.title}: {table.method}" for table in tables if not table.headings]
    if unmeasured:
        lines += ["", *unmeasured]
    return "\n".join(lines) + "\n"
