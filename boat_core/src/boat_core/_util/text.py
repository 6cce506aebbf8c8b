"""Numbers as one reads them."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return "1 operation", "3 operations"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def bytes_text(size: float) -> str:
    """Return a size in the unit that suits it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
