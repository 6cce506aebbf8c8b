"""Numbers as a reader expects them."""

from __future__ import annotations

from typing import Any


def count(number: int, noun: str) -> str:
    """Return "1 operation", "3 operations"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def bytes_text(size: float) -> str:
    """Return a size in a suitable unit."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def figure(value: Any) -> str:
    """Return a number with four digits, and anything else as at most sixty letters."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
