"""What one hypergradient is made of: its operations, its lower steps and what is kept of them. Plain and JSON-ready.

Nothing is taken from what operations declare about their work. A hypergradient is computed, and a recorder notes which
lower steps it pulled back, built again or computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from .._util.atomic import plain
from ..autodiff.derivatives import counting
from ..autodiff.graph_operators import Operator, graph_operators
from ..autodiff.memory import Held
from ..autodiff.vectors import Vector, gradients, norm
from .recorder import Recorder

if TYPE_CHECKING:
    from ..autodiff.unrolled import Unrolled
    from ..optimizers.base import Optimizer
    from ..plugins.composition import Composition
    from ..plugins.registry import Registered
    from .outer_step import OuterStep

#: Numbers of steps or iterates as (first, last) stretches, both ends in them.
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Leaf:
    """One array of x or y; `path` is how one would index it, empty where the array is all there is."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.path} {list(self.shape)} {self.dtype}".strip()


@dataclass(frozen=True)
class Stage:
    """One operation of the solver, and what it reported of this hypergradient.

    Args:
        options: those that are its own to set; others of the solver's operations may have set the rest.
        done_by: its own name, or that of the map that does this in its way.
        carries: it keeps a state of its own from one outer step to the next.
        report: empty where it has nothing to say.
    """

    name: str
    stage: str
    role: str
    summary: str
    formula: str
    distribution: str
    version: str
    options: Mapping[str, Any]
    done_by: str
    carries: bool
    report: Mapping[str, Any]


@dataclass(frozen=True)
class LowerSteps:
    """The trajectory y_0 → … → y_T, and what became of it. Step t leads from y_t to y_{t+1}, t = 0 … T-1.

    Args:
        steps: T.
        end: T̄, where the estimator sees the trajectory end: T unless a selector cut it.
        kept: K, how many steps before T̄ a pullback goes through, unless there is none.
        from_upper: y_0 is x.
        learned_optimizer: hyperparameters of the lower optimizer are upper variables.
        second_derivatives: whether a pullback takes those of ψ; without them ∇²ψ counts as zero.
        kept_iterates: of which t y_t stays in memory; every `every`-th.
        kept_graphs: of which steps the graph of the direction stays there too.
        pulled: the steps that were pulled back, by `pulled_by`: the estimator, or the modifier that learns the start.
        rebuilt: those of them whose graph was built again.
        recomputed: of which t y_t was computed again.
        end_point: whether the estimator took derivatives of F or ψ at the end.
        again: how many more trajectories were run, from elsewhere or under another x.
        iterates, graphs: how many are held, as `Solver.held` has it: of the recomputed iterates one stretch counts.
        iterate_bytes, graph_bytes: of one. Where nobody can tell, graphs have 0.
    """

    steps: int
    end: int
    kept: int
    from_upper: bool
    learned_optimizer: bool
    second_derivatives: bool
    kept_iterates: Spans
    kept_graphs: Spans
    pulled: Spans
    pulled_by: tuple[str, ...]
    rebuilt: Spans
    recomputed: Spans
    end_point: bool
    again: int
    every: int
    iterates: int
    graphs: int
    iterate_bytes: int
    graph_bytes: int

    @property
    def bytes(self) -> int:
        """Bytes of all that is held."""
        return Held(self.graphs, self.iterates).bytes(self.iterate_bytes, self.graph_bytes)


@dataclass(frozen=True)
class HypergradientGraph:
    """What one hypergradient is made of; `Solver.graph` makes it, `boat_core.draw` draws it.

    Args:
        problem, solver: the name of one, and the operations of the other as `boat solvers` writes them.
        iteration: outer steps done before.
        task, tasks: which lower problem this is, and of how many; "" and 1 where there are no tasks.
        stages: the operations in the order in which they act.
        upper, lower: the leaves of x and of y.
        start: where y starts: "warm", "cold", "upper" or "learned".
        lower_steps: T.
        lower_optimizer, upper_optimizer: name and options of each.
        trajectory: the lower steps; None where an operation that makes the hypergradient itself has its own way there.
        operators: those of one direction, in the order in which they were made; None where no compiler is there.
        operators_of: which direction that is.
        gradients, hvps: gradients and products with second derivatives that were taken.
        norm: ‖hypergradient‖, or that of the direction for x.
        concerns: sentences that say why the number may be wrong.
    """

    problem: str
    solver: str
    iteration: int
    task: str
    tasks: int
    stages: tuple[Stage, ...]
    upper: tuple[Leaf, ...]
    lower: tuple[Leaf, ...]
    start: str
    lower_steps: int
    lower_optimizer: Mapping[str, Any]
    upper_optimizer: Mapping[str, Any]
    trajectory: LowerSteps | None
    operators: tuple[Operator, ...] | None
    operators_of: str
    gradients: int
    hvps: int
    norm: float
    concerns: tuple[str, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """The same in the types that strict JSON has; `trajectory` with the bytes of all that is held."""
        found: dict[str, Any] = plain(self)
        if self.trajectory is not None:
            found["trajectory"]["bytes"] = self.trajectory.bytes
        return found


def spans(numbers: Iterable[int]) -> Spans:
    """Return numbers, in any order, as stretches."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)


def graph_of(step: OuterStep, start: str, upper: Optimizer, tasks: int) -> HypergradientGraph:
    """Solve one outer step with a recorder, and return what that was made of.

    Args:
        step: of one lower problem; its errors are raised here.
        start: the rule by which y starts.
        upper: the upper optimizer.
        tasks: how many lower problems there are.
    """
    composition = step.composition
    learns_start = next((entry.name for entry in composition.map if entry.operation.start == "learned"), "")
    recorder = Recorder(after=learns_start)
    with counting() as counted:
        outcome = step.solve(recorder)
    operators, operators_of = _operators(step, recorder.unrolled)
    return HypergradientGraph(
        problem=step.bilevel.problem.name,
        solver=str(composition),
        iteration=step.k,
        task=step.task,
        tasks=tasks,
        stages=tuple(_stage(composition, entry, outcome.reports) for entry in composition.operations),
        upper=_leaves(step.x),
        lower=_leaves(step.start),
        start=start,
        lower_steps=step.settings.lower_steps,
        lower_optimizer=_optimizer(step.optimizer),
        upper_optimizer=_optimizer(upper),
        trajectory=_lower_steps(recorder, step.learned is not None),
        operators=operators,
        operators_of=operators_of,
        gradients=counted.gradients,
        hvps=counted.hvps,
        norm=norm(outcome.direction),
        concerns=outcome.concerns,
    )


def _lower_steps(recorder: Recorder, learned_optimizer: bool) -> LowerSteps | None:
    """Return what was recorded of the lower steps; None where no trajectory was estimated from."""
    unrolled, view = recorder.unrolled, recorder.view
    if unrolled is None or view is None:
        return None
    steps, held = unrolled.steps, unrolled.held
    return LowerSteps(
        steps=steps,
        end=view.steps,
        kept=view.kept,
        from_upper=view.from_upper,
        learned_optimizer=learned_optimizer,
        second_derivatives=not view.frozen,
        kept_iterates=spans([*range(0, steps, held.every), steps]),
        kept_graphs=spans(range(steps - held.graphs, steps)),
        pulled=spans(recorder.pulled),
        pulled_by=tuple(recorder.pulled_by),
        rebuilt=spans(recorder.rebuilt),
        recomputed=spans(recorder.recomputed),
        end_point=recorder.end_point,
        again=recorder.reruns,
        every=held.every,
        iterates=held.iterates,
        graphs=held.graphs,
        iterate_bytes=unrolled.iterate_bytes,
        graph_bytes=unrolled.graph_bytes,
    )


def _operators(step: OuterStep, unrolled: Unrolled | None) -> tuple[tuple[Operator, ...] | None, str]:
    """Build, but do not run, the graph of one lower-step direction; return its operators and a label."""
    if unrolled is None:
        return graph_operators(_lower_gradients(step)), "∇f in x and y"
    direction = unrolled.step.direction(0, unrolled.iterate(0), unrolled.parameters)
    return graph_operators(direction), "the direction of a lower step"


def _lower_gradients(step: OuterStep) -> Sequence[Any]:
    x, y = step.x.detach().sync(), step.start.detach().sync()
    of_x, of_y = gradients(step.bilevel.lower(x, y), x, y)
    return of_x.leaves + of_y.leaves


def _stage(composition: Composition, entry: Registered, reports: Mapping[str, Mapping[str, Any]]) -> Stage:
    operation = entry.operation
    return Stage(
        name=entry.name,
        stage=operation.stage,
        role=operation.role,
        summary=operation.summary,
        formula=operation.formula,
        distribution=entry.distribution,
        version=entry.version,
        options={key: _value(value) for key, value in composition.own_options(entry).items()},
        done_by=composition.done_by(entry),
        carries=operation.init is not None,
        report=dict(reports.get(entry.name, {})),
    )


def _leaves(vector: Vector) -> tuple[Leaf, ...]:
    return tuple(
        Leaf(path, tuple(int(n) for n in leaf.shape), str(leaf.dtype))
        for path, leaf in zip(vector.paths, vector.leaves)
    )


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
    known = {} if optimizer.rate is None else {"rate": optimizer.rate}
    return {"name": optimizer.name, **(_options(optimizer.options) if is_dataclass(optimizer.options) else known)}


def _options(options: Any) -> dict[str, Any]:
    return {option.name: _value(getattr(options, option.name)) for option in fields(options)}


def _value(value: Any) -> Any:
    """A value as one would write it; arrays and functions, of which optimizers have some, by what they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}"
    return "by step" if callable(value) else "by leaf"
