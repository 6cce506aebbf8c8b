"""GMRES with restarts, for any A. Each iteration takes one product, and the residual never rises.

    A M⁻¹ V_j = V_{j+1} H_j    u = V_j argmin_c ‖β e_1 - H_j c‖    q ← q + M⁻¹u        β = ‖b - Aq‖, V_j orthonormal

Source: Saad and Schultz, SIAM J. Sci. Stat. Comput. 7, 1986; V_j is made by modified Gram-Schmidt. Each
restart computes the residual from q, so the reported residual is the true one. The method holds `restart` vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...autodiff.vectors import Vector, dot, norm
from ...declare.options import option, read_options
from .base import (
    Iterative,
    LinearSolve,
    LinearSolver,
    Preconditioner,
    Product,
    classify_stop,
    computed,
    epsilon,
    preconditioned,
    ridged,
)


@dataclass(frozen=True)
class Options(Iterative):
    restart: int = option(20, ge=1, doc="vectors held; as many iterations between two restarts")


def gmres(
    max_iterations: int = 100,
    tolerance: float = 1e-6,
    ridge: float = 0.0,
    preconditioner: Preconditioner | None = None,
    restart: int = 20,
) -> LinearSolver:
    """The generalised minimal residual method, for any A.

    Args:
        max_iterations: the largest number of iterations, each with one product. Each restart takes one more.
        tolerance: the relative residual at which the solve ends, in (0, 1).
        ridge: δ >= 0, which is added to the diagonal of A.
        preconditioner: maps a pytree of residuals to M⁻¹ times it, where M ≈ A + δI.
        restart: the number of iterations between two restarts, and of vectors in memory. The method may stall if the
            inverse needs more.

    Raises:
        OptionError: a value is out of range.
    """
    values = {"max_iterations": max_iterations, "tolerance": tolerance, "ridge": ridge, "restart": restart}
    o = read_options(Options, values, "gmres")
    M = preconditioned(preconditioner, "gmres") or (lambda v: v)

    def run(product: Product, b: Vector, _: Product | None) -> tuple[Vector, LinearSolve]:
        matrix = ridged(product, o.ridge)
        q, r = b.zeros(), b
        size = beta = norm(b)
        stopped, k = "max_iterations", 0
        while k < o.max_iterations:
            length = min(o.restart, o.max_iterations - k)
            u, taken, closed = _minimised(matrix, M, r, beta, length, o.tolerance * size, epsilon(b))
            k += taken
            (q_new,) = computed(q + M(u))
            (r_new,) = computed(b - matrix(q_new))
            before, now = beta, norm(r_new)
            if not math.isfinite(now):
                return q_new, LinearSolve("gmres", k, math.nan, "not finite")
            if now < beta:
                q, r, beta = q_new, r_new, now
            if beta <= o.tolerance * size:
                stopped = "tolerance"
            elif now > 0.999 * before:
                stopped = "breakdown" if closed else "stalled"
            if stopped != "max_iterations":
                break
        return q, classify_stop(LinearSolve("gmres", k, beta / size, stopped), o.tolerance, b)

    return LinearSolver("gmres", o, run)


def _minimised(
    matrix: Product, M: Product, r: Vector, beta: float, length: int, target: float, tiny: float
) -> tuple[Vector, int, bool]:
    """Return the u of the Krylov space that minimises ‖r - A M⁻¹u‖, the iterations, and whether the space ended."""
    import numpy as np

    V, H = [r / beta], np.zeros((length + 1, length))
    c, closed = np.zeros(0), False
    for j in range(length):
        (w,) = computed(matrix(M(V[j])))
        whole = norm(w)
        if not math.isfinite(whole):
            return w, j + 1, True
        for i, v in enumerate(V):
            H[i, j] = dot(w, v)
            (w,) = computed(w - H[i, j].item() * v)
        H[j + 1, j] = norm(w)
        right = np.eye(j + 2, 1)[:, 0] * beta
        c = np.linalg.lstsq(H[: j + 2, : j + 1], right, rcond=None)[0]
        closed = bool(H[j + 1, j] <= 10 * tiny * whole)
        if closed or np.linalg.norm(right - H[: j + 2, : j + 1] @ c) <= target:
            break
        V += computed(w / H[j + 1, j].item())
    (u,) = computed(r.zeros())
    for coefficient, v in zip(c.tolist(), V):
        (u,) = computed(u + coefficient * v)
    return u, len(c), closed
