"""The bilevel problem: min over x of F(x, y) where y minimises f(x, ·)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ObjectiveError, StructureError

Objective = Callable[[Any, Any, Any], Any]
#: Bounds (low, high), where either may be None, or a function that takes a pytree and returns the projected pytree.
Projection = tuple[Any, Any] | Callable[[Any], Any]


@dataclass(frozen=True)
class Problem:
    """A bilevel problem. Building one computes nothing.

    Args:
        upper_objective: F, a pure function `(upper, lower, batch) -> scalar`.
        lower_objective: f, a pure function with the same signature.
        upper: The initial x, a pytree of floating-point arrays of numpy or Jittor. Dtypes are kept.
        lower: The initial y, a pytree of the same kind.
        batches: A function for `boat run`. `(k, rng)` returns the pair `(lower_batch, upper_batch)` of outer step k, or
            `Tasks`. `rng` is a numpy Generator that depends on the seed and k alone. Without this function both batches
            are None.
        evaluate: A function for `boat run`. `(upper, lower)` returns a dict of numbers worth reporting. It receives
            Jittor arrays, `lower` in the form of `Solver.lower`.
        project_lower, project_upper: The sets in which y and x must stay, see `Projection`.
        panels: Panels for the picture of a run: a mapping from a title to a function `(axes, upper, lower) -> None`.
            The functions receive numpy arrays.
        name: The name in reports.

    Objectives must be pure, since a pullback evaluates them again. Dropout masks and noise come in with the batch.
    """

    upper_objective: Objective
    lower_objective: Objective
    upper: Any
    lower: Any
    batches: Callable[[int, Any], tuple[Any, Any] | Tasks] | None = None
    evaluate: Callable[[Any, Any], Mapping[str, Any]] | None = None
    project_lower: Projection | None = None
    project_upper: Projection | None = None
    panels: Mapping[str, Callable[[Any, Any, Any], None]] = field(default_factory=dict)
    name: str = "problem"

    def __post_init__(self) -> None:
        for role in ("upper_objective", "lower_objective"):
            if not callable(getattr(self, role)):
                raise ObjectiveError(where=role, expected="a function (upper, lower, batch) -> scalar")


@dataclass(frozen=True)
class PerStep:
    """One lower batch for each of the T lower steps, in place of a single batch for all of them."""

    batches: Sequence[Any]


@dataclass(frozen=True)
class Tasks:
    """Several lower problems under one x: a pair `(lower_batch, upper_batch)` for each, by place or by name.

    `Problem.batches` may return `Tasks` in place of one pair. `Solver.step(tasks=…)` takes `Tasks`, or the sequence or
    mapping of pairs itself.
    """

    pairs: Sequence[tuple[Any, Any]] | Mapping[Any, tuple[Any, Any]]

    @classmethod
    def of(cls, tasks: TasksLike) -> Tasks:
        """Return `tasks` as `Tasks`."""
        return tasks if isinstance(tasks, Tasks) else cls(tasks)

    def by_name(self) -> dict[str, tuple[Any, Any]]:
        """Return the pairs by name. In a sequence, the name of a pair is its place.

        Raises:
            StructureError: There is no task, a task is not a pair, or two tasks have the same name.
        """
        if not isinstance(self.pairs, (Mapping, list, tuple)):
            expected = "a list or a mapping of pairs"
            raise StructureError(where="tasks", expected=expected, got=type(self.pairs).__name__)
        named = list(self.pairs.items() if isinstance(self.pairs, Mapping) else enumerate(self.pairs))
        if not named:
            raise StructureError(where="tasks", expected="at least one", got="none")
        pairs: dict[str, tuple[Any, Any]] = {}
        for key, pair in named:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                got = type(pair).__name__
                raise StructureError(where=f"tasks[{key!r}]", expected="(lower_batch, upper_batch)", got=got)
            if str(key) in pairs or str(key) == "":
                raise StructureError(where=f"tasks[{key!r}]", expected="a unique name that is not empty")
            pairs[str(key)] = pair[0], pair[1]
        return pairs


TasksLike = Tasks | Sequence[tuple[Any, Any]] | Mapping[Any, tuple[Any, Any]]
