"""What lies in memory between the way forward through the lower steps and the way back.

A pullback needs every iterate, and the graph of one step's gradient at a time. More graphs kept from the way forward
are less work: what they hold need not be computed again. Fewer iterates kept are less memory: those between are
computed again from the last one kept.

    segment     graphs kept                        iterates kept
    K           of the last K steps, none for 1    all
    all         of all steps                       all
    sqrt        none                               every √T-th, and one stretch between two of them
    auto        of as many of the last steps as fit into the memory allowed beside all iterates; `sqrt` where not even
                those do. What one graph takes is measured at the first step.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import OptionError

WORDS = ("auto", "all", "sqrt")
#: Beside a process that has compiled its kernels this is little; it keeps whole trajectories of small problems.
DEFAULT_ALLOWED = "40 MiB"

_UNITS = {"b": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}


@dataclass(frozen=True)
class Held:
    """Of the last `graphs` steps the graph is kept; of the iterates every `every`-th, counted in `iterates`."""

    graphs: int
    iterates: int
    every: int = 1

    def bytes(self, iterate: int, graph: int) -> int:
        """What all of it takes, given the bytes of one of each: a graph is there while it is pulled back."""
        return self.iterates * iterate + max(1, self.graphs) * graph


@dataclass(frozen=True)
class Memory:
    """How the pullback may use memory: `segment` as above, and the bytes that `auto` may fill.

    Raises:
        OptionError: neither a positive integer nor one of the words; or no size.
    """

    segment: int | str = "auto"
    allowed: int | str = DEFAULT_ALLOWED

    def __post_init__(self) -> None:
        given = self.segment
        if given not in WORDS and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            expected = f"an integer >= 1 or one of {', '.join(WORDS)}"
            raise OptionError(where="segment", expected=expected, got=repr(given))
        read_bytes(self.allowed)

    def plan(self, steps: int, iterate: int, graph: int) -> Held:
        """Decide for `steps` lower steps, given the bytes of one iterate and of one step's graph."""
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
        OptionError: it is neither.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+)\s*", size) if isinstance(size, str) else None
    if match is None or match[2].lower() not in _UNITS:
        expected = "a size such as '256 MiB', or a number of bytes"
        raise OptionError(where="memory", expected=expected, got=repr(size))
    return int(float(match[1]) * _UNITS[match[2].lower()])
