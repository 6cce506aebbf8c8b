"""What packs declare beside operations: optimizers and problems that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .options import NoOptions


@dataclass(frozen=True)
class OptimizerDeclaration:
    """An optimizer by name: `build(options) -> Optimizer`. `build` may import Jittor, the declaration may not."""

    name: str
    summary: str
    source: str
    options: type
    build: Callable[[Any], Any]


@dataclass(frozen=True)
class ProblemDeclaration:
    """A bilevel problem by name: `build(options, seed) -> Problem`."""

    name: str
    summary: str
    build: Callable[[Any, int], Any]
    options: type = NoOptions
