"""What verbs print: JSON, tables that fit the terminal, and lines for the reader."""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from .._util.atomic import json_text


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(printable_json(value, indent=2))


def printable_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that stdout can hold: in ASCII alone, unless its encoding is one of Unicode."""
    text = json_text(value, indent)
    encoding = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name
    return text if encoding.startswith("utf") else json.dumps(json.loads(text), indent=indent)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under headings: a rich table on a terminal, aligned text elsewhere."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in columns:
            table.add_column(heading, overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    for row in [list(columns), *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def print_options(rows: Sequence[dict[str, Any]]) -> None:
    """Print options as `describe_options` gives them."""
    if not rows:
        print("It has no options.")
        return
    table = [(row["name"], row["takes"], row.get("default", "required"), row["doc"]) for row in rows]
    print_table(("option", "takes", "default", "meaning"), table)


def print_facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print `name  value` lines, names aligned, long values wrapped under themselves on a terminal."""
    width = max((len(name) for name, _ in pairs), default=0) + 2
    columns = max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 10_000
    for name, value in pairs:
        lines = [part for line in str(value).splitlines() for part in textwrap.wrap(line, columns - width) or [""]]
        for i, line in enumerate(lines or [""]):
            print(f"{name if i == 0 else '':<{width}}{line}".rstrip())
