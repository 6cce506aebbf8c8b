"""One iteration of conjugate gradient and one term of the Neumann series, each fused into one kernel.

The core's formulas define them. The products with the Hessian are not part of them.
"""

from __future__ import annotations

from pathlib import Path

import boat_core as boat

SOURCE = Path(__file__).with_name("krylov.cu")

cg_step = boat.kernel(SOURCE, like=("q", "r", "p"), results=5)(boat.cg_step)
neumann_term = boat.kernel(SOURCE, like=("term", "total"), results=1)(boat.neumann_term)
