"""A dense solve with numpy, for any A of a few hundred unknowns. Each column of the matrix takes one product.

This is the reference for the other methods. A singular matrix is reported, and q is then the least-squares solution of
smallest norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...autodiff import arrays
from ...autodiff.vectors import Vector
from ...declare.options import option, read_options
from ...errors import OptionError
from .base import LinearSolve, LinearSolver, Product, classify_stop, epsilon


@dataclass(frozen=True)
class Options:
    max_size: int = option(1000, ge=1, doc="unknowns at most")
    ridge: float = option(0.0, ge=0, doc="δ")


def direct(max_size: int = 1000, ridge: float = 0.0) -> LinearSolver:
    """Solve with the dense matrix, in float64. It takes as many products as there are unknowns.

    Args:
        max_size: the largest number of unknowns. A larger system is refused.
        ridge: δ >= 0, which is added to the diagonal of A.

    Raises:
        OptionError: a value is out of range; in a solve: the system is too large.
    """
    o = read_options(Options, {"max_size": max_size, "ridge": ridge}, "direct")

    def run(product: Product, b: Vector, _: Product | None) -> tuple[Vector, LinearSolve]:
        import numpy as np

        if b.size > o.max_size:
            raise OptionError(
                f"direct.max_size: expected at most {o.max_size} unknowns (got {b.size}); a larger max_size allows"
                " more, gmres() needs no matrix"
            )
        matrix = np.stack([_flat(product(b.like_flat(unit))) for unit in np.eye(b.size)], axis=1)
        matrix += o.ridge * np.eye(b.size)
        right = _flat(b)
        if not np.isfinite(matrix.sum() + right.sum()):
            return b * math.nan, LinearSolve("direct", b.size, math.nan, "not finite")
        q, _residuals, rank, _values = np.linalg.lstsq(matrix, right, rcond=b.size * epsilon(b))
        solution = b.like_flat(q)
        residual = float(np.linalg.norm(right - matrix @ _flat(solution)) / np.linalg.norm(right))
        stopped = "singular" if rank < b.size else "stalled"
        return solution, classify_stop(LinearSolve("direct", b.size, residual, stopped), 1e-12, b)

    return LinearSolver("direct", o, run)


def _flat(vector: Vector) -> Any:
    """Return the entries of a vector as one numpy array of float64."""
    import numpy as np

    return np.concatenate([arrays.to_numpy(leaf).astype(np.float64).ravel() for leaf in vector.leaves])
