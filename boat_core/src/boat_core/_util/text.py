"""Numbers as one reads them."""

from __future__ import annotations

import re

#: A number as YAML 1.2 writes it: no underscores, no sexagesimals, and ASCII digits only.
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


def read_number(text: str) -> float:
    """Return the floating-point number that a text is in YAML 1.2.

    Raises:
        ValueError: it is none, such as `1_000` or `infinity`, which Python's `float` reads.
    """
    if not NUMBER.match(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text.replace(".", "", 1) if text.lower().endswith((".inf", ".nan")) else text)


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
