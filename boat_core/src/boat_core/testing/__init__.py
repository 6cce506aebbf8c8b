"""Problems with known answers, and the truth to hold an operation to. For the tests of any pack.

case = QuadraticCase(seed=0)
solver = boat.Solver(case.problem, approximate=["MINE"], lower_steps=5, lower_optimizer=boat.sgd(0.1), …)
assert_close(solver.hypergradient().upper, case.unrolled_hypergradient(steps=5, rate=0.1))
"""

from __future__ import annotations

from .differences import central_differences, upper_value
from .network import network_problem
from .quadratic import QuadraticCase
from .values import assert_close, flat

__all__ = [
    "QuadraticCase",
    "assert_close",
    "central_differences",
    "flat",
    "network_problem",
    "upper_value",
]
