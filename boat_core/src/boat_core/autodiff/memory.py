"""Decides what stays in memory between the lower steps and their pullback.

The pullback needs every iterate, and the graph of one step's gradient at a time. Keeping more graphs from the way
forward saves work, because they need not be computed again. Keeping fewer iterates saves memory: an iterate that was
dropped is computed again from the last one kept before it.

    segment     kept graphs                          kept iterates
    K           those of the last K steps; 1: none   all
    all         those of all steps                   all
    sqrt        none                                 every √T-th, and one stretch between two of them
    auto        as many of the last steps as fit into the allowed memory beside all iterates. If not even the iterates
                fit, the same as `sqrt`. The size of one graph is measured at the first step.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .._util.integers import as_integer
from ..errors import OptionError, shown

MODES = ("auto", "all", "sqrt")
#: Small beside a process that has compiled its kernels, and enough to keep whole trajectories of small problems.
DEFAULT_ALLOWED = "40 MiB"

_UNITS = {"b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}


@dataclass(frozen=True)
class Held:
    """What is kept.

    Args:
        graphs: how many of the last steps keep their graph.
        iterates: the number of iterates in memory.
        every: the distance between two kept iterates; 1 means that all are kept.
    """

    graphs: int
    iterates: int
    every: int = 1

    def bytes(self, iterate: int, graph: int) -> int:
        """Return the bytes of everything that is kept.

        Args:
            iterate: the bytes of one iterate.
            graph: the bytes of one graph. At least one exists while its step is pulled back.
        """
        return self.iterates * iterate + max(1, self.graphs) * graph


@dataclass(frozen=True)
class Memory:
    """How the pullback may use memory.

    Args:
        segment: what to keep, see the module.
        allowed: the memory that `auto` may fill, in bytes or as a text such as "40 MiB".

    Raises:
        OptionError: `segment` is neither a positive integer nor one of the modes, or `allowed` is not a size.
    """

    segment: int | str = "auto"
    allowed: int | str = DEFAULT_ALLOWED

    def __post_init__(self) -> None:
        segment, number = self.segment, as_integer(self.segment)
        if (number is None or number < 1) and (not isinstance(segment, str) or segment not in MODES):
            expected = f"an integer >= 1 or one of {', '.join(MODES)}"
            raise OptionError(where="segment", expected=expected, got=shown(segment))
        read_bytes(self.allowed)

    def plan(self, steps: int, iterate: int, graph: int) -> Held:
        """Decide what to keep of `steps` lower steps, from the bytes of one iterate and of one step's graph."""
        if self.segment == "sqrt":
            return _checkpoints(steps)
        if self.segment != "auto":
            kept = steps if self.segment == "all" else min(int(self.segment), steps)
            return Held(0 if self.segment == 1 else kept, steps + 1)
        left = read_bytes(self.allowed) - (steps + 1) * iterate
        if left < 0:
            return _checkpoints(steps)
        return Held(min(steps, left // graph) if graph else 0, steps + 1)


def _checkpoints(steps: int) -> Held:
    every = math.isqrt(steps - 1) + 1
    kept = steps // every + 1 + (steps % every > 0)
    return Held(0, min(steps + 1, kept + every - 1), every)


def read_bytes(size: int | str) -> int:
    """Read a number of bytes, or a text such as "256 MB" or "1.5 GiB".

    Raises:
        OptionError: `size` is neither.
    """
    number = as_integer(size)
    if number is not None and number >= 0:
        return number
    expected = "a size such as '256 MiB', or a number of bytes"
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*", size) if isinstance(size, str) else None
    if match is None or match[2].lower() not in _UNITS:
        raise OptionError(where="memory", expected=expected, got=shown(size))
    size_in_bytes = float(match[1]) * _UNITS[match[2].lower()]
    if not math.isfinite(size_in_bytes):
        raise OptionError(where="memory", expected=expected, got=shown(size))
    return int(size_in_bytes)
