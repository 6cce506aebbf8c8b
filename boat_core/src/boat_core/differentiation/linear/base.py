"""The interface of linear solvers, the report of a solve, and what the solvers have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ...autodiff import arrays
from ...autodiff.vectors import Vector, dot, norm
from ...declare.options import option
from ...errors import OptionError

#: v ↦ A v, in the space of v.
Product = Callable[[Vector], Vector]
#: v ↦ M⁻¹ v with M ≈ A, from a pytree to one of the same structure, shapes and dtypes.
Preconditioner = Callable[[Any], Any]

#: A Neumann series diverges if a term grows by more than this factor. Rounding may grow it by half of float32's digits.
GROWTH = 1 + 1e-4

_WHY = {
    "curvature": "met curvature {curvature:.3g} <= 0",
    "breakdown": "broke down",
    "stalled": "stalled",
    "singular": "met a singular matrix",
    "inconsistent": "met a singular matrix, and a right-hand side outside its range",
    "diverged": "diverged, a term of the series grew by the factor {growth:.6g}",
    "terms": "diverged, a term of the series grew by the factor {growth:.6g}",
}
_REMEDY = {
    "max_iterations": "more iterations, a preconditioner or a ridge helps",
    "curvature": "gmres(), bicgstab() or normal_cg() needs no positive definite matrix, a ridge makes it definite",
    "breakdown": "gmres() or normal_cg() can solve this system, a ridge makes a singular matrix regular",
    "stalled": "float64, a larger tolerance, a longer restart, a preconditioner or a ridge helps",
    "singular": "the solution is not unique; a ridge makes it unique",
    "inconsistent": "there is no solution; a ridge makes one",
    "diverged": "a smaller step_size or a ridge helps, gmres() needs neither",
    "terms": "a smaller step_size or a ridge helps, gmres() needs neither",
}


@dataclass(frozen=True)
class LinearSolve:
    """How a solve ended.

    Args:
        method: the name of the solver.
        iterations: the number of iterations.
        residual: ‖b - (A + δI) q‖/‖b‖ for the returned q. It is computed from q, unless the solver has `check=False`.
        stopped: why the solve ended: "tolerance", "terms" (a Neumann series with a fixed number of terms), or a
            problem: "max_iterations", "curvature" (zero or negative, although the method needs a positive definite
            matrix), "breakdown" (the method cannot go on), "stalled" (because of rounding, or restarts that no longer
            help), "singular", "inconsistent" (there is no solution; q has the smallest residual), "diverged", "not
            finite" (then q is not finite either).
        curvature: the smallest ⟨p, Ap⟩/⟨p, p⟩ that conjugate gradient met.
        growth: the largest factor between consecutive terms of a Neumann series.
    """

    method: str
    iterations: int
    residual: float
    stopped: str
    curvature: float | None = None
    growth: float | None = None

    @property
    def concern(self) -> str:
        """What makes q doubtful, in one sentence with the figures. It is empty if nothing does."""
        if self.stopped == "tolerance" or (self.stopped == "terms" and (self.growth or 0) <= GROWTH):
            return ""
        why = _WHY.get(self.stopped, "did not converge").format(curvature=self.curvature, growth=self.growth)
        return f"the solve {why}: relative residual {self.residual:.3g} after {self.iterations} iterations"

    @property
    def remedy(self) -> str:
        """What helps. It is empty if no help is needed or known."""
        return _REMEDY.get(self.stopped, "") if self.concern else ""


@dataclass(frozen=True, eq=False)
class LinearSolver:
    """A method with its options: `q, solve = solver(product, b)`. The factories make them.

    Args:
        name: the name of the method.
        options: the values of its options.
        run: the method, a function `(product, b, transposed) -> (q, LinearSolve)`.
        transpose: whether the method needs products with Aᵀ.
    """

    name: str
    options: Any
    run: Callable[[Product, Vector, Product | None], tuple[Vector, LinearSolve]] = field(repr=False)
    transpose: bool = False

    def __call__(self, product: Product, b: Vector, transposed: Product | None = None) -> tuple[Vector, LinearSolve]:
        """Solve (A + δI) q = b.

        Args:
            product: the map v ↦ A v.
            b: the right-hand side. If b = 0, then q = 0 and no product is taken.
            transposed: the map v ↦ Aᵀ v, if the method needs it.

        Returns:
            q, and how the solve ended. If the tolerance was not met, q is the iterate with the smallest residual. It
            contains a NaN if a product did.

        Raises:
            OptionError: the method needs `transposed`, or does not accept a system of this size.
            StructureError: a preconditioner returned another structure, shape or dtype.
        """
        if self.transpose and transposed is None:
            raise OptionError(f"{self.name}: expected products with the transpose as well (got none)")
        if 1e-30 < dot(b, b) < 1e30:
            return self.run(product, b, transposed)
        # Squares of float32 numbers under- and overflow long before the numbers do, so solve for b / max |b|.
        largest = max(float(abs(arrays.to_numpy(leaf)).max(initial=0)) for leaf in b.leaves)
        if largest == 0:
            return b.zeros(), LinearSolve(self.name, 0, 0.0, "tolerance")
        if not math.isfinite(largest):
            return self.run(product, b, transposed)
        q, solve = self.run(product, b / largest, transposed)
        return largest * q, solve


@dataclass(frozen=True)
class Iterative:
    """Options that all iterative methods have."""

    max_iterations: int = option(100, ge=1, doc="iterations at most")
    tolerance: float = option(1e-6, gt=0, lt=1, doc="relative residual at which the solve ends")
    ridge: float = option(0.0, ge=0, doc="δ")


def ridged(product: Product, ridge: float) -> Product:
    """Return the map v ↦ (A + δI) v."""
    return (lambda v: product(v) + ridge * v) if ridge else product


def computed(*vectors: Vector) -> tuple[Vector, ...]:
    """Compute the vectors that the next iteration uses.

    Without this the vectors of each iteration would be an expression of all iterations before, and Jittor would compile
    a new kernel for each of them.
    """
    arrays.sync([leaf for vector in vectors for leaf in vector.leaves])
    return vectors


def preconditioned(preconditioner: Preconditioner | None, where: str) -> Product | None:
    """Return the map v ↦ M⁻¹ v on vectors, or None without a preconditioner.

    Raises:
        OptionError: `preconditioner` is not a function.
    """
    if preconditioner is None:
        return None
    if not callable(preconditioner):
        raise OptionError(f"{where}.preconditioner: expected a function of a pytree (got {preconditioner!r})")
    return lambda v: v.match(preconditioner(v.tree), f"{where}.preconditioner")


def epsilon(b: Vector) -> float:
    """Return the rounding unit of the coarsest dtype in b."""
    return max({"float64": 2.0**-52, "float32": 2.0**-23}.get(str(leaf.dtype), 2.0**-7) for leaf in b.leaves)


def with_true_residual(
    solve: LinearSolve, tolerance: float, matrix: Product, q: Vector, b: Vector
) -> tuple[Vector, LinearSolve]:
    """Recompute the true residual of q, since the recursive one drifts by rounding, and classify the solve from it.

    It takes one product with (A + δI). If zeros have a smaller residual, they are returned in place of q.
    """
    solve = replace(solve, residual=residual(matrix, q, b))
    if solve.residual > 1:
        q, solve = q.zeros(), replace(solve, residual=1.0)
    return q, classify_stop(solve, tolerance, b)


def residual(matrix: Product, q: Vector, b: Vector) -> float:
    """Return ‖b - (A + δI) q‖/‖b‖."""
    return norm(b - matrix(q)) / norm(b)


def classify_stop(solve: LinearSolve, tolerance: float, b: Vector) -> LinearSolve:
    """Classify a finished solve from its true residual.

    A solve that ended by itself becomes "tolerance" if its residual is as small as the dtype allows, else "stalled".
    """
    if not math.isfinite(solve.residual):
        return replace(solve, stopped="not finite")
    if solve.stopped in ("tolerance", "stalled", "breakdown"):
        met = solve.residual <= 10 * max(tolerance, 100 * epsilon(b))
        otherwise = "stalled" if solve.stopped == "tolerance" else solve.stopped
        return replace(solve, stopped="tolerance" if met else otherwise)
    return solve
