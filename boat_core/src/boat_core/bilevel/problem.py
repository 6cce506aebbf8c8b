"""The bilevel problem: min over x of F(x, y) where y minimises f(x, ·)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ObjectiveError, StructureError, shown
from .bounds import Projection, read_projection

Objective = Callable[[Any, Any, Any], Any]


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
        project_lower, project_upper: The sets in which y and x must stay: bounds `(low, high)`, where None is no bound,
            or a function that takes a pytree and returns the projected pytree. A bound is a number, or an array that is
            broadcast against each leaf.
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
        for role, arguments in (("batches", "(k, rng)"), ("evaluate", "(upper, lower)")):
            value = getattr(self, role)
            if value is not None and not callable(value):
                raise StructureError(where=role, expected=f"a function {arguments}, or None", got=shown(value))
        if not isinstance(self.panels, Mapping) or not all(map(callable, self.panels.values())):
            expected = "a mapping from titles to functions (axes, upper, lower)"
            raise StructureError(where="panels", expected=expected, got=shown(self.panels))
        for role in ("project_lower", "project_upper"):
            object.__setattr__(self, role, read_projection(getattr(self, role), role))


@dataclass(frozen=True)
class PerStep:
    """One lower batch for each of the T lower steps, in place of a single batch for all of them."""

    batches: Sequence[Any]

    def __post_init__(self) -> None:
        # An iterator would be at its end after one pass, and the keys of a mapping are no batches.
        batches = self.batches
        is_sequence = hasattr(batches, "__len__") and hasattr(batches, "__getitem__")
        if not is_sequence or isinstance(batches, (Mapping, str, bytes)):
            got, hint = type(batches).__name__, "write PerStep(list(…)) around an iterator"
            raise StructureError(where="PerStep", expected="a list with one batch per lower step", got=got, hint=hint)


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

    @classmethod
    def on_demand(cls, names: Iterable[Any], draw: Callable[[str], tuple[Any, Any]]) -> Tasks:
        """Return tasks whose batches are drawn when they are needed, and where: in a worker of an executor, say.

        Args:
            names: The names of the tasks, in order. Each is taken as text.
            draw: A function of a name that returns the pair `(lower_batch, upper_batch)`. It returns the same pair
                whenever and wherever it is called, so its random numbers depend on the name, k and the seed alone.
        """
        return cls(_OnDemand(names, draw))

    def by_name(self) -> Mapping[str, tuple[Any, Any]]:
        """Return the pairs by name. In a sequence, the name of a pair is its place.

        Raises:
            StructureError: There is no task, a task is not a pair, or two tasks have the same name.
        """
        if isinstance(self.pairs, _OnDemand):
            return self.pairs
        if not isinstance(self.pairs, (Mapping, list, tuple)):
            expected, hint = "a list or a mapping of pairs", "write list(…) around an iterator"
            raise StructureError(where="tasks", expected=expected, got=type(self.pairs).__name__, hint=hint)
        named = list(self.pairs.items() if isinstance(self.pairs, Mapping) else enumerate(self.pairs))
        if not named:
            raise StructureError(where="tasks", expected="at least one", got="none")
        pairs: dict[str, tuple[Any, Any]] = {}
        for key, pair in named:
            pairs[_new_name(key, pairs)] = _pair(key, pair)
        return pairs


class _OnDemand(Mapping[str, tuple[Any, Any]]):
    """Pairs by name, each drawn when it is asked for."""

    def __init__(self, names: Iterable[Any], draw: Callable[[str], tuple[Any, Any]]) -> None:
        self._names: dict[str, None] = {}
        for name in names:
            self._names[_new_name(name, self._names)] = None
        if not self._names:
            raise StructureError(where="tasks", expected="at least one", got="none")
        self._draw = draw

    def __getitem__(self, name: str) -> tuple[Any, Any]:
        if name not in self._names:
            raise KeyError(name)
        return _pair(name, self._draw(name))

    def __contains__(self, name: object) -> bool:
        return name in self._names  # the method of `Mapping` would draw

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _new_name(key: Any, names: Container[str]) -> str:
    if str(key) in names or str(key) == "":
        raise StructureError(where=f"tasks[{key!r}]", expected="a unique name that is not empty")
    return str(key)


def _pair(key: Any, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        got = type(pair).__name__
        raise StructureError(where=f"tasks[{key!r}]", expected="(lower_batch, upper_batch)", got=got)
    return pair[0], pair[1]


TasksLike = Tasks | Sequence[tuple[Any, Any]] | Mapping[Any, tuple[Any, Any]]
