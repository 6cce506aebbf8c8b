"""Random numbers of a loss function, such as dropout masks: drawn once for each lower step of an iteration.

A pullback evaluates a step again and must meet the same numbers. So the first evaluation draws, and later ones of the
same step get what it drew. Every iteration, and within it every lower step, draws anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Draws:
    """What was drawn, in the order of the calls."""

    def __init__(self) -> None:
        self._drawn: dict[str, list[Any]] = {}

    @contextmanager
    def of(self, role: str) -> Iterator[None]:
        """Inside this block `jittor.random`, on which dropout and Jittor's other generators rest, repeats itself."""
        import jittor

        drawn, own = self._drawn.setdefault(role, []), jittor.random
        calls = 0

        def random(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            if calls == len(drawn):
                drawn.append(own(*arguments, **keywords).stop_grad())
            calls += 1
            return drawn[calls - 1]

        jittor.random = random
        try:
            yield
        finally:
            jittor.random = own
