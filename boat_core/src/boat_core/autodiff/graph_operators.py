"""The operators of Jittor's graph that lead to some arrays, as far as a reader wants to know them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .operators import library

#: How x and y come in: the same values under another name.
_COPIES = "clone|"


@dataclass(frozen=True)
class Operator:
    """A node of Jittor's graph, before any are fused: its name, shapes and dtypes of what it gives, and how often."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    count: int


def graph_operators(ends: Sequence[Any]) -> tuple[Operator, ...] | None:
    """Return the operators that lead to these arrays, in the order in which they were made, equal ones once.

    Nothing is computed. Returns None where the library that reads the graph cannot be had.
    """
    operators = library.operators()
    if operators is None:
        return None
    lines = [line for line in operators.graph_operators(list(ends)) if not line.startswith(_COPIES)]
    return tuple(_operator(line, count) for line, count in Counter(lines).items())


def _operator(line: str, count: int) -> Operator:
    name, shapes, dtypes = line.split("|")
    return Operator(name, tuple(tuple(shape) for shape in json.loads(shapes)), tuple(dtypes.split()), count)
