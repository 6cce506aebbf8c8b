"""NYSTROM: hypergradient by implicit differentiation, the Hessian replaced by a matrix of low rank.

    H = ∇²_yy ψ, C = HΩ, W = ΩᵀC        H_k = C W⁺ Cᵀ        at (x, y_T)
    (H_k + ρI) q = ∇_y F                hypergradient = ∇_x F - ∇²_xy ψ · q

Ω has k orthonormal columns, drawn anew in every outer step: unit vectors, so that C is k columns of H, or a Gaussian
sketch. With W = VΛVᵀ and B = C V Λ^(-1/2), H_k = BBᵀ, and by Woodbury

    q = (g - B (ρI + BᵀB)⁻¹ Bᵀg) / ρ        g = ∇_y F

to a relative error of ε‖H‖/ρ; written with C and W instead it would be ε(‖H‖/ρ)².

Sources: Hataya and Yamada, AISTATS 2023, arXiv 2302.09726; the sketch: Frangella, Tropp and Udell, 2023,
arXiv 2110.02820.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from boat_core import Cost, Hypergradient, Operation, norm, option

from .kernels.lowrank import plus, plus_columns, products


@dataclass(frozen=True)
class Options:
    rank: int = option(10, ge=1, doc="k, columns of Ω, one HVP each; at most the number of entries of y is used")
    damping: float = option(0.01, gt=0, doc="ρ added to the Hessian's diagonal")
    sampling: str = option(
        "uniform", choices=("uniform", "gaussian"), doc="Ω: unit vectors drawn without replacement, or a sketch"
    )
    seed: int = option(0, ge=0, doc="seed of Ω, which depends on the outer step as well")


def sketch(size, rank, sampling, seed):
    """Ωᵀ, its min(rank, size) rows orthonormal."""
    import numpy as np  # here, because `boat` imports this file whenever it starts

    rng, rank = np.random.default_rng(seed), min(rank, size)
    if sampling == "gaussian":
        return np.linalg.qr(rng.normal(size=(size, rank)))[0].T
    rows = np.zeros((rank, size))
    rows[np.arange(rank), rng.choice(size, rank, replace=False)] = 1
    return rows


def whitened(C, omega):
    """B of H_k = BBᵀ, the eigenvalues of W, and what rounding makes of one that is 0; B is None for a NaN in C."""
    import numpy as np

    W = np.array([products(column, omega) for column in C])
    epsilon = max(np.spacing(np.ones(1, str(leaf.dtype)))[0] for leaf in C[0].leaves)
    noise = 10 * epsilon * math.hypot(*(norm(column) for column in C))
    if not np.isfinite([*W.ravel(), noise]).all():
        return None, W, noise
    eigenvalues, V = np.linalg.eigh(0.5 * W + 0.5 * W.T)
    # An eigenvalue that may be 0 has a zero column: the number of columns does not depend on the numbers in them.
    kept = eigenvalues > noise
    weights = V * (kept / np.sqrt(np.where(kept, eigenvalues, 1.0)))
    return [plus(C[0].zeros(), C, column) for column in weights.T], eigenvalues, noise


def estimate(trajectory, options):
    import numpy as np

    end, g, rho = trajectory.end, trajectory.end.upper_gradient, options.damping
    rows = sketch(g.size, options.rank, options.sampling, [options.seed, trajectory.k])
    omega = [g.like_flat(row) for row in rows]
    C = [end.hessian_product(column) for column in omega]
    B, eigenvalues, noise = whitened(C, omega)
    if B is None:  # on to where a NaN is reported
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


def concerns(eigenvalues, noise):
    # The residual is none: at a low rank it is large by design, and the directions that H_k has are right all the same.
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
