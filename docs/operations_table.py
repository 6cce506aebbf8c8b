"""README's table of operations, made from the registry.

python docs/operations_table.py                    print it
python docs/operations_table.py --write README.md  put it between the two marks in that file
"""

from __future__ import annotations

import sys
from pathlib import Path

from boat_core.registry import registry

BEGIN, END = "<!-- operations: begin -->", "<!-- operations: end -->"


def table() -> str:
    """One Markdown row for each installed operation."""
    rows = ["| operation | stage | what it is | source | distribution |", "|---|---|---|---|---|"]
    for entry in registry().operations():
        o = entry.operation
        rows.append(f"| {o.name} | {o.stage}, {o.role} | {o.summary} | {o.source} | {entry.distribution} |")
    return "\n".join(rows)


def replaced(text: str) -> str:
    """Return `text` with the table between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        path = Path(sys.argv[2])
        path.write_text(replaced(path.read_text("utf-8")), "utf-8")
    else:
        print(table())
