"""Results as tables: on the terminal by rich, in RESULTS.md as Markdown."""

from rich.console import Console
from rich.table import Table as RichTable


class Table:
    """A title, how it was measured, and rows; headings that begin with > are of numbers and stand to the right."""

    def __init__(self, title: str, method: str, headings: list[str]) -> None:
        self.title = title
        self.method = method
        self.headings = headings
        self.rows: list[list[str]] = []
        self.notes: list[str] = []

    def add(self, *cells: object) -> None:
        assert len(cells) == len(self.headings)
        self.rows.append([str(cell) for cell in cells])

    def show(self, console: Console) -> None:
        shown = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for heading in self.headings:
            is_number = heading.startswith(">")
            shown.add_column(heading.lstrip(">"), justify="right" if is_number else "left", no_wrap=True)
        for row in self.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in self.notes:
            console.print(note)
        console.print()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.method, ""]
        lines.append("| " + " | ".join(heading.lstrip(">") for heading in self.headings) + " |")
        lines.append("|" + "|".join("--:" if heading.startswith(">") else "---" for heading in self.headings) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"
