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
    from ..plugins.entries import Registered
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
        options: its options, without those that other operations of the solver set.
        done_by: its own name, or that of the map that does its work in another way.
        carries: whether it keeps a state from one outer step to the next.
        report: its figures; empty where it reports none.
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
    """The trajectory y_0 → … → y_T, and what was done with it. Step t leads from y_t to y_{t+1}, t = 0 … T-1.

    Args:
        steps: T.
        end: T̄, the index at which the estimator sees the trajectory end: T unless a selector cut it.
        kept: K, the number of steps before T̄ that a pullback goes through.
        from_upper: whether y_0 is x.
        learned_optimizer: whether hyperparameters of the lower optimizer are upper variables.
        second_derivatives: whether a pullback takes the second derivatives of ψ. Without them ∇²ψ counts as zero.
        kept_iterates: the indices t whose iterate y_t stays in memory (every `every`-th one).
        kept_graphs: the steps whose graph of the direction stays in memory too.
        pulled: the steps that were pulled back.
        pulled_by: the operations that pulled them back: the estimator, or the modifier that learns the start.
        rebuilt: the pulled steps whose graph was built again.
        recomputed: the indices t whose iterate y_t was computed again.
        end_point: whether the estimator took derivatives of F or ψ at the end.
        again: the number of further trajectories that were run, from another start or under another x.
        every: the distance between two kept iterates.
        iterates, graphs: the numbers that are held, as `Solver.held` counts them. Recomputed iterates count as one
            stretch between two kept ones.
        iterate_bytes, graph_bytes: the bytes of one iterate and of one graph; 0 for graphs that cannot be measured.
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
        """The bytes of everything that is held."""
        return Held(self.graphs, self.iterates).bytes(self.iterate_bytes, self.graph_bytes)


@dataclass(frozen=True)
class HypergradientGraph:
    """What one hypergradient is made of; `Solver.graph` makes it, `boat_core.draw` draws it.

    Args:
        problem: the problem's name.
        solver: the operations as `boat solvers` writes them.
        iteration: the number of outer steps done before.
        task: the name of this lower problem; "" where there are no tasks.
        tasks: the number of lower problems.
        stages: the operations in the order in which they act.
        upper, lower: the leaves of x and of y.
        start: where y starts: "warm", "cold", "upper" or "learned".
        lower_steps: T.
        lower_optimizer, upper_optimizer: name and options of each.
        trajectory: the lower steps; None where an operation computes the hypergradient without them.
        operators: the operators of one direction, in the order in which they were made; None without a compiler.
        operators_of: a label that says which direction that is.
        gradients, hvps: the numbers of gradients and of products with second derivatives that were taken.
        norm: ‖hypergradient‖; for a first-order method the norm of its direction for x.
        concerns: sentences that each say why the number may be wrong.
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
        """Return the same in the types of strict JSON; `trajectory` also has the `bytes` of everything that is held."""
        content: dict[str, Any] = plain(self)
        if self.trajectory is not None:
            content["trajectory"]["bytes"] = self.trajectory.bytes
        return content


def spans(numbers: Iterable[int]) -> Spans:
    """Return numbers, in any order, as stretches of consecutive ones."""
    stretches: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if stretches and stretches[-1][1] == number - 1:
            stretches[-1] = stretches[-1][0], number
        else:
            stretches.append((number, number))
    return tuple(stretches)


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
    assert outcome.direction is not None
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
        done_by=composition.executed_by(entry),
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
    """Return a value as one would write it; of arrays and functions, say what they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}"
    return "by step" if callable(value) else "by leaf"
