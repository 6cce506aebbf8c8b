"""The run that is going on, as its observers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.schema import Config
from ..plugins.observers import Observers
from .observers.metrics import Metrics

if TYPE_CHECKING:
    from ..bilevel.problem import Problem
    from ..bilevel.solver import Solver


@dataclass
class Run:
    """What observers see of a run. `kernels` counts the kernels that Jittor compiled since the solver was made."""

    config: Config
    folder: Path
    problem: Problem
    solver: Solver
    steps: int
    kernels: Any
    events: Observers = field(repr=False)
    batches: Callable[[int], dict[str, Any]] = field(repr=False)
    resumed_from: int | None = None
    progress: dict[str, Any] = field(default_factory=lambda: {"upper_loss": None, "lower_loss": None, "concerns": 0})
    #: The outer step after which the latest checkpoint was written.
    saved: int | None = None
    metrics: Metrics = field(default_factory=Metrics, repr=False)

    @property
    def switched_off(self) -> list[str]:
        """The observers that raised and were switched off in this run, with the reasons."""
        return list(self.events.switched_off)
