"""Problems with known answers, the truth to hold an operation to, and the conformance kit. For the tests of any pack.

case = QuadraticCase(seed=0)
solver = boat.Solver(case.problem, approximate=["MINE"], lower_steps=5, lower_optimizer=boat.sgd(0.1), …)
assert_close(solver.hypergradient().upper, case.unrolled_hypergradient(steps=5, rate=0.1))

An author's whole test is a class that inherits `OperationSuite`, with one `Claim` for each operation.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("boat_core.testing.conformance", "boat_core.testing.values")

from .conformance import Claim, KernelClaim, OperationSuite, check_solver  # noqa: E402
from .differences import central_differences, upper_value  # noqa: E402
from .network import network_problem  # noqa: E402
from .quadratic import QuadraticCase  # noqa: E402
from .second_order import assert_twice_differentiable  # noqa: E402
from .values import assert_close, flat  # noqa: E402

__all__ = [
    "Claim",
    "KernelClaim",
    "OperationSuite",
    "QuadraticCase",
    "assert_close",
    "assert_twice_differentiable",
    "central_differences",
    "check_solver",
    "flat",
    "network_problem",
    "upper_value",
]
