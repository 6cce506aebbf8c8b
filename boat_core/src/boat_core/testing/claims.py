"""What the author of an operation claims about it, and the solvers and problems that test the claim."""

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
#: (n, m, nested, dtype) of the quadratic problems. Each new rank, structure or dtype adds a set of kernels to compile.
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
    """The claim that a kernel computes the same as its plain operators, on vectors with leaves of several sizes.

    Args:
        numbers: The numbers that the kernel receives after the vectors.
        vectors: How many vectors the kernel takes. By default it takes one for each parameter that is not a number.
        nonnegative: The names of the parameters that must not have negative entries.
    """

    numbers: Sequence[float] = ()
    vectors: int | None = None
    nonnegative: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One row of the table: an operation and what its author claims about it.

    Args:
        operation: The name of the operation.
        options: The options that the tests use, by operation.
        chain: The operations of the solver, as `Solver` takes them (`map`, `approximate`). By default the operation
            stands alone in its stage.
        truth: A function `(case, steps, rate) -> array` that returns the expected hypergradient on a `QuadraticCase`
            with plain SGD, as a flat array. For a first-order method this is the direction for x. If the operation
            starts y at x, y starts at `case.x`.
        lower_truth: A function like `truth` that returns the expected y after the step.
        exact: Whether the hypergradient is the derivative of F(x, y_T(x)). For a selector that cuts the trajectory at
            T̄, give a function that reads T̄ from its report; the claim is then about F(x, y_T̄(x)).
        kernels: The claim for each kernel that the operation declares, by its name.
    """

    operation: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chain: Mapping[str, Any] | None = None
    truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    lower_truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    exact: bool | Callable[[Mapping[str, Any]], int] = False
    kernels: Mapping[str, KernelClaim] = field(default_factory=dict)

    def composition(self, registry: Registry) -> Composition:
        """Return the composition that the tests use."""
        stage = registry.find(self.operation).operation.stage
        alone = {"first_order": self.operation} if stage == "first-order" else {stage: [self.operation]}
        return compose(registry, **(alone if self.chain is None else dict(self.chain)), options=self.options)

    def solver(self, problem: Problem, registry: Registry, **more: Any) -> Solver:
        """Return a solver of the problem with this composition and plain SGD on both levels."""
        return make_solver(self.composition(registry), problem, registry, options=self.options, **more)

    def __str__(self) -> str:
        return self.operation + "".join(
            f"-{value}" for options in self.options.values() for value in options.values() if isinstance(value, str)
        )


def lower_steps(composition: Composition) -> int:
    """Return the number of lower steps that the composition requires, or `STEPS`."""
    only = [o.operation.lower_steps for o in composition.operations if o.operation.lower_steps]
    return only[0] if only else STEPS


def make_solver(composition: Composition, problem: Problem, registry: Registry, **more: Any) -> Solver:
    """Return a solver of the problem with this composition and plain SGD on both levels."""
    settings: dict[str, Any] = {
        "lower_optimizer": sgd(RATE),
        "upper_optimizer": sgd(RATE),
        "lower_steps": lower_steps(composition),
        "segment": 1,  # keep no graph between steps, so that the pullback computes every step anew
    }
    return Solver(problem, **composition.as_config(), registry=registry, **(settings | more))


def quadratic_for(composition: Composition, n: int, m: int, dtype: str, nested: bool = False) -> QuadraticCase:
    """Return a random quadratic problem. If y starts at x, both have m entries."""
    return QuadraticCase(seed=n, n=m if composition.start_rule(None) == "upper" else n, m=m, dtype=dtype, nested=nested)


def network_for(composition: Composition) -> tuple[Problem, tuple[Any, Any]]:
    """Return the small network problem that suits the composition's start of y, and its batches."""
    problem = network_problem(upper="start" if composition.start_rule(None) == "upper" else "weights")
    assert problem.batches is not None
    batches: Any = problem.batches(0, None)
    return problem, batches
