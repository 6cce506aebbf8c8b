"""NYSTROM: implicit differentiation with a matrix of low rank in place of the Hessian.

    H = ∇²_yy ψ, C = HΩ, W = ΩᵀC        H_k = C W⁺ Cᵀ        at (x, y_T)
    (H_k + ρI) q = ∇_y F                hypergradient = ∇_x F - ∇²_xy ψ · q

Ω has k orthonormal columns, drawn anew in every outer step. They are unit vectors, so that C consists of k columns of
H, or a Gaussian sketch. With W = VΛVᵀ and B = C V Λ^(-1/2), H_k = BBᵀ, and Woodbury's identity gives

    q = (g - B (ρI + BᵀB)⁻¹ Bᵀg) / ρ        g = ∇_y F

to a relative error of ε‖H‖/ρ. The same formula written with C and W would have a relative error of ε(‖H‖/ρ)².

Sources: Hataya and Yamada, AISTATS 2023, arXiv 2302.09726; for the sketch Frangella, Tropp and Udell, 2023,
arXiv 2110.02820.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boat_core import Cost, Hypergradient, Operation, Point, Trajectory, Vector, norm, option

from .kernels.lowrank import plus, plus_columns, products

if TYPE_CHECKING:
    from numpy import ndarray as Array


@dataclass(frozen=True)
class Options:
    rank: int = option(10, ge=1, doc="k, columns of Ω, one HVP each; no more than y has entries")
    damping: float = option(0.01, gt=0, doc="ρ added to the Hessian's diagonal")
    sampling: str = option(
        "uniform", choices=("uniform", "gaussian"), doc="Ω: unit vectors drawn without replacement, or a sketch"
    )
    seed: int = option(0, ge=0, doc="seed of Ω; Ω also depends on the outer step")


def sketch(size: int, rank: int, sampling: str, seed: Sequence[int], held: Sequence[int] = ()) -> Array:
    """Return Ωᵀ. Its rows are orthonormal: `rank` of them, or as many as there are entries that are not `held`."""
    import numpy as np  # here, because `boat` imports this file whenever it starts

    entries = np.setdiff1d(np.arange(size), held)
    rng, rank = np.random.default_rng(seed), min(rank, entries.size)
    if sampling == "gaussian":
        rows = np.zeros((rank, size))
        rows[:, entries] = np.linalg.qr(rng.normal(size=(entries.size, rank)))[0].T
        return rows
    rows = np.zeros((rank, size))
    rows[np.arange(rank), rng.choice(entries, rank, replace=False)] = 1
    return rows


def held_entries(end: Point) -> list[int]:
    """Return the entries of y that a lower set holds. Columns drawn there would be zero."""
    import numpy as np

    if not end.restricted:
        return []
    probe = end.y.like_flat(np.random.default_rng(0).normal(size=end.y.size))
    entries = np.concatenate([leaf.numpy().ravel() for leaf in end.restrict(probe).leaves])
    return [int(place) for place in np.flatnonzero(entries == 0)]


def whitened(C: list[Vector], omega: list[Vector]) -> tuple[list[Vector] | None, Array, float]:
    """Return B of H_k = BBᵀ, the eigenvalues of W, and the size that rounding may give an eigenvalue that is 0.

    B is None if C contains a NaN.
    """
    import numpy as np

    W = np.array([products(column, omega) for column in C])
    epsilon = max(np.spacing(np.ones(1, str(leaf.dtype)))[0] for leaf in C[0].leaves)
    noise = 10 * epsilon * math.hypot(*(norm(column) for column in C))
    if not np.isfinite([*W.ravel(), noise]).all():
        return None, W, noise
    eigenvalues, V = np.linalg.eigh(0.5 * W + 0.5 * W.T)
    # An eigenvalue that may be 0 gets a zero column, so that the number of columns never depends on numerical values.
    kept = eigenvalues > noise
    weights = V * (kept / np.sqrt(np.where(kept, eigenvalues, 1.0)))
    return [plus(C[0].zeros(), C, column) for column in weights.T], eigenvalues, noise


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    import numpy as np

    end, g, rho = trajectory.end, trajectory.end.upper_gradient, options.damping
    held = held_entries(end)
    if len(held) == g.size:  # y does not move with x
        return Hypergradient(end.direct, report={"rank": 0})
    rows = sketch(g.size, options.rank, options.sampling, [options.seed, trajectory.k], held)
    omega = [g.like_flat(row) for row in rows]
    C = [end.hessian_product(column) for column in omega]
    B, eigenvalues, noise = whitened(C, omega)
    if B is None:  # return NaN, so that the solver reports it
        return Hypergradient(end.direct - end.mixed_product(plus(g, C, [math.nan] * len(C))))

    # (ρI + BᵀB) z = Bᵀg        q = (g - Bz) / ρ
    z = np.linalg.solve(rho * np.eye(len(B)) + [products(b, B) for b in B], products(g, B))
    q = plus((1 / rho) * g, B, -z / rho)
    mixed, Hq = end.products(q)
    residual, length = norm(plus(Hq, [q, g], [rho, -1.0])), norm(g)
    report = {
        "rank": int((eigenvalues > noise).sum()),
        "dropped": int((eigenvalues <= noise).sum()),
        "smallest_eigenvalue": float(eigenvalues[0]),
        "largest_eigenvalue": float(eigenvalues[-1]),
        "relative_residual": residual / length if length else 0.0,
    }
    return Hypergradient(end.direct - mixed, report=report, concerns=concerns(eigenvalues, noise))


def concerns(eigenvalues: Array, noise: float) -> tuple[str, ...]:
    # A large residual is no concern: a low rank makes it large by design, and H_k is right in the directions it has.
    negative = int((eigenvalues < -noise).sum())
    if not negative:
        return ()
    return (
        f"the Hessian is not positive semidefinite: {negative} of {len(eigenvalues)} eigenvalues of its sample W are"
        f" negative, down to {eigenvalues[0]:.3g}, and were dropped",
    )


NYSTROM = Operation(
    name="NYSTROM",
    stage="approximate",
    role="estimator",
    summary="implicit differentiation with a low-rank Nyström approximation of the Hessian",
    formula="∇_x F - ∇²_xy ψ · q, (C W⁺ Cᵀ + ρI) q = ∇_y F, C = ∇²_yy ψ Ω, W = ΩᵀC",
    source="Hataya and Yamada 2023, arXiv 2302.09726",
    apply=estimate,
    options=Options,
    tags=("end-point",),
    # ∇F and ∇ψ at the end; one product for each column, and one for the mixed product and the residual together.
    cost=lambda options, work: Cost(gradients=2, hvps=options.rank + 1),
    kernels=(plus_columns,),
)
