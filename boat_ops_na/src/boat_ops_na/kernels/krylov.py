"""One iteration of conjugate gradient, and one term of the Neumann series, but for their products with the Hessian."""

from __future__ import annotations

import math
from pathlib import Path

from boat_core import dot, kernel

SOURCE = Path(__file__).with_name("krylov.cu")


@kernel(SOURCE, like=("q", "r", "p"), results=5)
def cg_step(q, r, p, Ap, rr):
    """q + αp, r' = r - αAp, r' + βp; ⟨p, Ap⟩, ⟨p, p⟩, ‖r'‖², α = ‖r‖²/⟨p, Ap⟩, β = ‖r'‖²/‖r‖²"""
    pAp, pp = dot(p, Ap), dot(p, p)
    alpha = rr / pAp if pAp else math.nan
    q, r = q + alpha * p, r - alpha * Ap
    new = dot(r, r)
    return q, r, r + (new / rr) * p, pAp, pp, new, alpha, new / rr


@kernel(SOURCE, like=("term", "total"), results=1)
def neumann_term(term, total, Hterm, eta, damping):
    """term' = (1 - ηδ) term - η ∇²ψ·term, total + term'; ‖term'‖²"""
    term = (1 - eta * damping) * term - eta * Hterm
    return term, total + term, dot(term, term)
