"""What an author claims of an operation, and the solvers and problems on which it is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bilevel.problem import Problem
from ..bilevel.solver import Solver
from ..optimizers.adam import adam
from ..optimizers.base import Optimizer
from ..optimizers.sgd import sgd
from ..plugins.composition import Composition, compose
from ..plugins.registry import Registry
from .network import network_problem
from .quadratic import QuadraticCase

STEPS, RATE = 4, 0.1
#: (n, m, nested, dtype) of the quadratic problems. Each new rank, structure or dtype is a set of kernels to compile.
PROBLEMS = (
    *((n, m, False, "float64") for n, m in ((4, 3), (1, 1), (3, 6))),
    (4, 3, True, "float64"),
    *((n, m, False, "float32") for n, m in ((4, 3), (3, 6))),
)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: sgd(RATE),
    "momentum": lambda: sgd(RATE, momentum=0.9, weight_decay=0.1),
    "adam": lambda: adam(RATE),
}


@dataclass(frozen=True)
class KernelClaim:
    """A kernel computes what its plain operators do, for vectors of leaves of several sizes.

    Args:
        numbers: the numbers with which it is tried, after the vectors.
        vectors: how many vectors it takes; by default all of its parameters but the numbers.
        nonnegative: names of the parameters that hold no negative entries.
    """

    numbers: Sequence[float] = ()
    vectors: int | None = None
    nonnegative: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One row of the table: an operation and what its author claims of it.

    Args:
        operation: its name.
        options: options in these tests, by operation.
        chain: what stands around it, as `Solver` takes it (`map`, `approximate`); by default its own stage alone.
        truth: `(case, steps, rate) -> array`: the hypergradient (of a first-order method the direction for x) on a
            `QuadraticCase` with plain SGD, flat. Where y starts at x, it starts at `case.x`.
        lower_truth: likewise y after the step.
        exact: the hypergradient is the derivative of F(x, y_T(x)); for a selector that cuts the trajectory, of
            F(x, y_T̄(x)), where `exact` is a function that finds T̄ in its report.
        kernels: each kernel that the operation declares, by name.
    """

    operation: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chain: Mapping[str, Any] | None = None
    truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    lower_truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    exact: bool | Callable[[Mapping[str, Any]], int] = False
    kernels: Mapping[str, KernelClaim] = field(default_factory=dict)

    def composition(self, packs: Registry) -> Composition:
        """The solver in which the operation is tried."""
        stage = packs.find(self.operation).operation.stage
        alone = {"first_order": self.operation} if stage == "first-order" else {stage: [self.operation]}
        return compose(packs, **(alone if self.chain is None else dict(self.chain)), options=self.options)

    def solver(self, problem: Problem, packs: Registry, **more: Any) -> Solver:
        """That solver of a problem, with plain SGD on both levels."""
        return make_solver(self.composition(packs), problem, packs, options=self.options, **more)

    def __str__(self) -> str:
        return self.operation + "".join(
            f"-{value}" for options in self.options.values() for value in options.values() if isinstance(value, str)
        )


def lower_steps(composition: Composition) -> int:
    """A few, or as many as the solver insists on."""
    only = [o.operation.lower_steps for o in composition.operations if o.operation.lower_steps]
    return only[0] if only else STEPS


def make_solver(composition: Composition, problem: Problem, packs: Registry, **more: Any) -> Solver:
    """A solver of that composition with plain SGD on both levels."""
    settings: dict[str, Any] = {
        "lower_optimizer": sgd(RATE),
        "upper_optimizer": sgd(RATE),
        "lower_steps": lower_steps(composition),
        "segment": 1,  # nothing kept: all of the way back is computed there
    }
    return Solver(problem, **composition.as_config(), registry=packs, **(settings | more))


def quadratic_for(composition: Composition, n: int, m: int, dtype: str, nested: bool = False) -> QuadraticCase:
    """A random quadratic problem; square where y starts at x."""
    return QuadraticCase(seed=n, n=m if composition.start_rule(None) == "upper" else n, m=m, dtype=dtype, nested=nested)


def network_for(composition: Composition) -> tuple[Problem, tuple[Any, Any]]:
    """The small network problem that suits where y starts, and its batches."""
    problem = network_problem(upper="start" if composition.start_rule(None) == "upper" else "weights")
    assert problem.batches is not None
    batches: Any = problem.batches(0, None)
    return problem, batches
