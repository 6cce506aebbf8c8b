"""Problems with known answers, the truth to hold an operation to, and the conformance kit. For the tests of any pack.

case = QuadraticCase(seed=0)
solver = boat.Solver(case.problem, approximate=["MINE"], lower_steps=5, lower_optimizer=boat.sgd(0.1), …)
assert_close(solver.hypergradient().upper, case.unrolled_hypergradient(steps=5, rate=0.1))

An author's whole test is a class that inherits `OperationSuite`, with one `Claim` for each operation. The kit needs
pytest; the problems do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .differences import central_differences, upper_value
from .network import network_problem
from .quadratic import QuadraticCase
from .second_order import assert_twice_differentiable
from .values import assert_close, flat

if TYPE_CHECKING:
    from ..autodiff.derivatives import counting
    from ..runtime import KernelWatch
    from .claims import Claim, KernelClaim
    from .conformance import check_solver
    from .optimizers import check_optimizer
    from .suite import OperationSuite

_LAZY = {
    "Claim": ".claims",
    "KernelClaim": ".claims",
    "KernelWatch": "..runtime",
    "OperationSuite": ".suite",
    "check_optimizer": ".optimizers",
    "check_solver": ".conformance",
    "counting": "..autodiff.derivatives",
}

__all__ = [
    "Claim",
    "KernelClaim",
    "KernelWatch",
    "OperationSuite",
    "QuadraticCase",
    "assert_close",
    "assert_twice_differentiable",
    "central_differences",
    "check_optimizer",
    "check_solver",
    "counting",
    "flat",
    "network_problem",
    "upper_value",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _LAZY[name].startswith(".."):  # before anybody imports it
        import pytest

        pytest.register_assert_rewrite(f"{__name__}.conformance", f"{__name__}.optimizers")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value
