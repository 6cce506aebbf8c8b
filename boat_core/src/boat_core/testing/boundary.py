"""A problem whose lower solution lies on the boundary of its lower set, beside the problem that is left without it.

f = ½ yᵀAy + zᵀCy - yᵀ(Bx + b) + zᵀ(k - Dx)        F = ½‖y - c‖² + ½‖z - e‖² + ½ρ‖x‖²        y, z >= 0

k is so large that z stays at 0, and b so large that y stays inside. The hypergradients of every solver are those of the
problem without z.
"""

from __future__ import annotations

from typing import Any

import jittor as jt
import numpy as np

from ..autodiff.arrays import as_array, constant
from ..bilevel.bounds import Projection
from ..bilevel.problem import Problem
from ..plugins.registry import Registry
from .claims import Claim
from .values import assert_close

N, FREE, HELD = 3, 2, 2


def positive_part(y: Any) -> Any:
    """Project a dictionary of arrays onto the nonnegative ones."""
    return {name: jt.maximum(leaf, jt.zeros_like(leaf)) for name, leaf in y.items()}


#: The same set, as bounds and as a function.
NONNEGATIVE: dict[str, Projection] = {"bounds": (0.0, None), "function": positive_part}


def boundary_problems(projection: Projection) -> tuple[Problem, Problem]:
    """Return the problem with this lower set, and the problem without z and without a set."""
    rng = np.random.default_rng(0)
    x, B, C, D = (rng.normal(size=shape) for shape in ((N,), (FREE, N), (HELD, FREE), (HELD, N)))
    root = rng.normal(size=(FREE, FREE))
    A, b, c, e = root @ root.T / FREE + np.eye(FREE), np.full(FREE, 8.0), rng.normal(size=FREE), np.array([1.0, 2.0])
    A, B, C, D, b, c, e = (as_array(values) for values in (A, B, C, D, b, c, e))
    half, half_rho, k = constant(0.5, c), constant(0.125, c), constant(500.0, c)

    def lower(x: Any, y: Any, batch: Any) -> Any:
        y, z = y["free"], y.get("held")
        value = half * (y * _times(A, y)).sum() - (y * (_times(B, x) + b)).sum()
        return value if z is None else value + (z * (_times(C, y) - _times(D, x) + k)).sum()

    def upper(x: Any, y: Any, batch: Any) -> Any:
        y, z = y["free"], y.get("held")
        value = half * ((y - c) * (y - c)).sum() + half_rho * (x * x).sum()
        return value if z is None else value + half * ((z - e) * (z - e)).sum()

    free, held = np.full(FREE, 3.0), np.zeros(HELD)
    whole = Problem(upper, lower, x, {"free": free, "held": held}, project_lower=projection)
    return whole, Problem(upper, lower, x, {"free": free})


def check_boundary(claim: Claim, registry: Registry) -> None:
    """Check that an active lower set removes what it holds from the hypergradient, or that a concern says otherwise."""
    composition = claim.composition(registry)
    if composition.start_rule(None) == "upper":  # then y has the structure of x, and cannot lose a part of it
        return
    for name, projection in NONNEGATIVE.items():
        solvers = [claim.solver(problem, registry) for problem in boundary_problems(projection)]
        for solver in solvers:
            solver.step(), solver.step()  # operations with a state of their own show its effect later
        found, expected = (solver.hypergradient() for solver in solvers)
        if not found.report.concerns:
            where = f"the hypergradient with entries of y held at the boundary of project_lower ({name})"
            _assert_equal(found.upper, expected.upper, where)


def _assert_equal(found: Any, expected: Any, where: str) -> None:
    try:
        assert_close(found, expected.numpy(), 1e-7)
    except AssertionError as error:
        remedy = 'an estimator that reads the end point alone needs the tag "end-point"'
        message = f"{where} is not that of the free entries, and no concern says so; {remedy}: {error}"
        raise AssertionError(message) from None


def _times(matrix: Any, vector: Any) -> Any:
    return jt.matmul(matrix, vector.reshape((-1, 1))).reshape((-1,))
