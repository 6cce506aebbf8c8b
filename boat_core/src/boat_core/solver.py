"""The solver: one outer step, from batches to new x and the next start of y.

1 bind the batches      2 map: roll the lower trajectory forward      3 approximate: trajectory → hypergradient
(or one first-order method in place of 2 and 3)      4 upper optimizer: x ← x'      5 next start      6 report
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .autodiff import arrays
from .autodiff.pullback import detached
from .bilevel import Bilevel, check_reproducible, prepare_batch, project
from .composition import Composition, compose
from .errors import CompositionError, DoubtfulError, NonFiniteError, OptionError
from .optimizers.base import Optimizer, apply_updates
from .outer import Outcome, OuterStep
from .problem import Problem
from .registry import Registry
from .registry import registry as installed
from .report import HypergradientResult, Report, StepResult
from .trees import Vector, first_nonfinite, norm, tree_from_numpy, tree_to_numpy

_CHOICES = {
    "start": ("warm", "cold", "upper"),
    "lower_state": ("fresh", "carry"),
    "on_nonfinite": ("error", "report"),
}


class Solver:
    """Composes operations into a solver of one problem, and holds what changes from step to step.

    Args:
        problem: the bilevel problem.
        map, approximate: the chains, as names in any order; their defaults complete them.
        first_order: one first-order method instead.
        method: the field's name for a whole chain instead, such as "RHG".
        lower_steps: T >= 1.
        lower_optimizer, upper_optimizer: such as `boat.sgd(0.1)`.
        options: by operation, such as `{"CG": {"max_iterations": 20}}`.
        start: where y starts in every outer iteration: "warm" (where the last one ended), "cold" (the given start),
            "upper" (x itself; x and y must then have the same structure).
        lower_state: "fresh" starts the lower optimizer's state anew in every outer iteration, "carry" keeps it.
        segment: lower steps whose graph the pullback holds at once, or "all".
        strict: an operation's concern (an unconverged solve, say) is an error instead of a line of the report.
        on_nonfinite: "error" raises on NaN or infinity; "report" puts a concern into the report and lets it pass.
        registry: where operations are looked up; by default what is installed.

    Raises:
        CompositionError, OptionError, StructureError: with the place and what was expected.
    """

    def __init__(
        self,
        problem: Problem,
        map: Sequence[str] | str | None = None,
        approximate: Sequence[str] | str | None = None,
        first_order: str | None = None,
        method: str | None = None,
        *,
        lower_steps: int,
        lower_optimizer: Optimizer,
        upper_optimizer: Optimizer,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        start: str = "warm",
        lower_state: str = "fresh",
        segment: int | str = 1,
        strict: bool = False,
        on_nonfinite: str = "error",
        registry: Registry | None = None,
    ) -> None:
        self.problem = problem
        self.composition: Composition = compose(registry or installed(), map, approximate, first_order, method, options)
        for name, value in (("start", start), ("lower_state", lower_state), ("on_nonfinite", on_nonfinite)):
            valid = _CHOICES[name]
            if value not in valid:
                raise OptionError(f"{name}: expected one of {', '.join(valid)} (got {value!r})")
        for name, count in (("lower_steps", lower_steps), ("segment", 1 if segment == "all" else segment)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise OptionError(f"{name}: expected an integer >= 1 (got {count!r})")
        for name, optimizer in (("lower_optimizer", lower_optimizer), ("upper_optimizer", upper_optimizer)):
            if not isinstance(optimizer, Optimizer):
                raise OptionError(f"{name}: expected an Optimizer such as boat.sgd(0.1) (got {optimizer!r})")
        first = self.composition.first_order
        if first and start != "warm":
            raise CompositionError(f'{first.name} moves y on from where it is: expected start="warm" (got {start!r})')
        self.lower_steps, self._segment = lower_steps, None if segment == "all" else int(segment)
        self.lower_optimizer, self.upper_optimizer = lower_optimizer, upper_optimizer
        self._start_rule, self._strict, self._on_nonfinite = start, strict, on_nonfinite
        self._x = Vector.of(problem.upper, "upper").sync()
        self._y0 = Vector.of(problem.lower, "lower").sync()
        if start == "upper":
            self._y0.match(problem.upper, 'start="upper": upper')
        for vector, role in ((self._x, "upper"), (self._y0, "lower")):
            if path := first_nonfinite(vector):
                raise NonFiniteError(f"the given {role} variables: leaf {path}")
        self.iteration = 0
        self._y = self._y0
        self._start = self._x if start == "upper" else self._y0
        self._upper_state = upper_optimizer.init(self._x.tree)
        self._lower_state = lower_optimizer.init(self._y0.tree) if first or lower_state == "carry" else None
        self._method_state = None
        if first and first.operation.init:
            self._method_state = first.operation.init(self._x, self._y0, self.composition.options[first.name])
        self._checked = False

    # What a user reads

    @property
    def upper(self) -> Any:
        """x now, in the structure given."""
        return self._x.detach().sync().tree

    @property
    def lower(self) -> Any:
        """The last iterate y_T, in the structure given."""
        return self._y.detach().sync().tree

    @property
    def start(self) -> Any:
        """Where y will start in the next outer iteration."""
        return self._start.detach().sync().tree

    @property
    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as one pytree of numpy arrays and numbers."""
        return tree_to_numpy(self._state_tree())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state` taken from a solver composed in the same way; the next step is then the same.

        Raises:
            StructureError: it is not a state of such a solver; nothing is changed.
        """
        read = tree_from_numpy(state, self._state_tree(), "state")
        x, y, start = (v.match(read[k], k) for v, k in ((self._x, "upper"), (self._y, "lower"), (self._start, "start")))
        self._x, self._y, self._start = x, y, start
        self.iteration = int(read["iteration"])
        self._upper_state, self._lower_state = read["upper_optimizer"], read["lower_optimizer"]
        self._method_state = read["method"]

    def _state_tree(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "upper": self._x.tree,
            "lower": self._y.tree,
            "start": self._start.tree,
            "upper_optimizer": self._upper_state,
            "lower_optimizer": self._lower_state,
            "method": self._method_state,
        }

    # What a user does

    def hypergradient(
        self, lower_batch: Any = None, upper_batch: Any = None, estimate_batch: Any = None
    ) -> HypergradientResult:
        """Return the hypergradient at the current point (first-order: the direction for x). Changes nothing.

        Args:
            lower_batch: any pytree, or `PerStep` with one batch for each lower step.
            upper_batch: any pytree.
            estimate_batch: the lower batch on which estimators at the end point take ∇ψ; the last step's by default.

        Raises:
            NonFiniteError, DoubtfulError, ObjectiveError, StructureError.
        """
        bilevel = self._bind(lower_batch, upper_batch)
        outcome = self._solve(bilevel, estimate_batch)
        y0 = outcome.start_cotangent
        return HypergradientResult(
            upper=outcome.direction.sync().tree,
            start=None if y0 is None else y0.sync().tree,
            report=Report(norm(outcome.direction), outcome.reports, outcome.concerns),
        )

    def step(self, lower_batch: Any = None, upper_batch: Any = None, estimate_batch: Any = None) -> StepResult:
        """Do one outer iteration; arguments and errors as for `hypergradient`. After an error nothing has changed."""
        bilevel = self._bind(lower_batch, upper_batch)
        outcome = self._solve(bilevel, estimate_batch)
        upper_loss = arrays.scalar(bilevel.upper(self._x, outcome.y))
        lower_loss = arrays.scalar(bilevel.lower(self._x, outcome.y, self.lower_steps - 1))
        report = Report(norm(outcome.direction), outcome.reports, outcome.concerns)
        for role, loss in (("upper", upper_loss), ("lower", lower_loss)):
            if not math.isfinite(loss) and self._on_nonfinite == "error":
                raise NonFiniteError(f"outer step {self.iteration}: {role}_objective at (x, y_T) is {loss}")

        updates, upper_state = self.upper_optimizer.update(outcome.direction.tree, self._upper_state, self._x.tree)
        moved = self._x.like_tree(apply_updates(self._x.tree, updates))
        x = project(moved, self.problem.project_upper, "project_upper").detach().sync()
        x.check_like(self._x, "upper optimizer: x")
        if (path := first_nonfinite(x)) and self._on_nonfinite == "error":
            raise NonFiniteError(f"upper optimizer: x is not finite after the update, leaf {path}")

        self._x, self._y = x, outcome.y
        self._start = {"warm": outcome.y, "cold": self._y0, "upper": x}[self._start_rule]
        self._upper_state = detached(upper_state)
        if self._lower_state is not None:
            self._lower_state = detached(outcome.optimizer_state)
        self._method_state = outcome.method_state
        self.iteration += 1
        return StepResult(self.iteration - 1, upper_loss, lower_loss, report)

    # Inside one outer step

    def _bind(self, lower_batch: Any, upper_batch: Any) -> Bilevel:
        bilevel = Bilevel(
            self.problem,
            prepare_batch(lower_batch, "lower_batch", self.lower_steps),
            prepare_batch(upper_batch, "upper_batch", self.lower_steps),
            self.lower_steps,
            self.lower_optimizer.plain_rate,
        )
        if not self._checked:
            check_reproducible(bilevel, self._x, self._start)
            self._checked = True
        return bilevel

    def _solve(self, bilevel: Bilevel, estimate_batch: Any) -> Outcome:
        estimate = bilevel
        if estimate_batch is not None:
            batch = prepare_batch(estimate_batch, "estimate_batch", self.lower_steps)
            estimate = replace(bilevel, lower_batch=batch)
        outer = OuterStep(
            self.composition,
            self.lower_optimizer,
            self._segment,
            bilevel,
            estimate,
            self._x,
            self._start,
            self.iteration,
            self.lower_optimizer.init(self._start.tree) if self._lower_state is None else self._lower_state,
            self._method_state,
        )
        outcome = outer.solve()
        if place := outer.nonfinite(outcome):
            if self._on_nonfinite == "error":
                raise NonFiniteError(f"outer step {self.iteration}: NaN or infinity in {outer.first_nonfinite(place)}")
            outcome = replace(outcome, concerns=(*outcome.concerns, f"NaN or infinity in {place}"))
        if self._strict and outcome.concerns:
            raise DoubtfulError(f"outer step {self.iteration}: {'; '.join(outcome.concerns)}")
        return outcome
