"""The bilevel problem: min over x of F(x, y) where y minimises f(x, ·)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ObjectiveError, StructureError

Objective = Callable[[Any, Any, Any], Any]
#: Bounds (low, high), either of them None, or a function of the pytree that returns the projected pytree.
Projection = tuple[Any, Any] | Callable[[Any], Any]


@dataclass(frozen=True)
class Problem:
    """A bilevel problem. Building one computes nothing.

    Args:
        upper_objective: F, a pure function `(upper, lower, batch) -> scalar`.
        lower_objective: f, likewise.
        upper: x at the start, a pytree of numpy or Jittor floating-point arrays; dtypes are kept.
        lower: y at the start, likewise.
        batches: for `boat run`: `(k, rng) -> (lower_batch, upper_batch)` of outer step k, or `Tasks`; `rng` is a numpy
            Generator that depends on the seed and k alone. Without it both batches are None.
        evaluate: for `boat run`: `(upper, lower) -> dict` of numbers worth reporting; it gets Jittor arrays, `lower` as
            `Solver.lower` gives it.
        project_lower, project_upper: where y and x must stay, see `Projection`.
        panels: for the picture of a run: title -> `(axes, upper, lower) -> None`; they get numpy arrays.
        name: what reports call it.

    Objectives are pure: dropout masks or noise come in with the batch, since a pullback evaluates them again.
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
    """One lower batch for each of the T lower steps, instead of one for all of them."""

    batches: Sequence[Any]


@dataclass(frozen=True)
class Tasks:
    """Several lower problems under one x: a `(lower_batch, upper_batch)` for each, by place or by name.

    `Problem.batches` may return it in place of one pair; `Solver.step(tasks=…)` takes it, or what it is made of.
    """

    pairs: Sequence[tuple[Any, Any]] | Mapping[Any, tuple[Any, Any]]

    @classmethod
    def of(cls, tasks: TasksLike) -> Tasks:
        """Return `tasks` as `Tasks`."""
        return tasks if isinstance(tasks, Tasks) else cls(tasks)

    def by_name(self) -> dict[str, tuple[Any, Any]]:
        """The pairs by name, which is the place in a sequence.

        Raises:
            StructureError: there is no task, one is not a pair, or two have one name.
        """
        if not isinstance(self.pairs, (Mapping, list, tuple)):
            expected = "a list or a mapping of pairs"
            raise StructureError(where="tasks", expected=expected, got=type(self.pairs).__name__)
        named = list(self.pairs.items() if isinstance(self.pairs, Mapping) else enumerate(self.pairs))
        if not named:
            raise StructureError(where="tasks", expected="at least one", got="none")
        found: dict[str, tuple[Any, Any]] = {}
        for key, pair in named:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                got = type(pair).__name__
                raise StructureError(where=f"tasks[{key!r}]", expected="(lower_batch, upper_batch)", got=got)
            if str(key) in found or str(key) == "":
                raise StructureError(where=f"tasks[{key!r}]", expected="a name of its own")
            found[str(key)] = pair[0], pair[1]
        return found


TasksLike = Tasks | Sequence[tuple[Any, Any]] | Mapping[Any, tuple[Any, Any]]
