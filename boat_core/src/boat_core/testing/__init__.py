"""For the tests of any pack: problems with known answers, the expected values of operations, and the conformance kit.

case = QuadraticCase(seed=0)
solver = boat.Solver(case.problem, approximate=["MINE"], lower_steps=5, lower_optimizer=boat.sgd(0.1), …)
assert_close(solver.hypergradient().upper, case.unrolled_hypergradient(steps=5, rate=0.1))

To test a pack, inherit `OperationSuite` and write one `Claim` for each operation. The kit needs pytest; the problems do
not. The names load on first use, so that the names which only inspect packs do not import Jittor.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..autodiff.derivatives import counting
    from ..plugins.conflicts import conflicts, uncompiled
    from ..plugins.finding import Finding
    from ..plugins.known_packs import published_operations
    from ..runtime import KernelWatch
    from .claims import Claim, KernelClaim
    from .conformance import check_solver
    from .differences import central_differences, upper_value
    from .network import network_problem
    from .optimizers import check_optimizer
    from .places import check_place
    from .quadratic import QuadraticCase
    from .second_order import assert_twice_differentiable
    from .suite import OperationSuite
    from .trial import NotTried, unclaimed_checks
    from .values import assert_close, flat

_HOMES = {
    "Claim": ".claims",
    "Finding": "..plugins.finding",
    "KernelClaim": ".claims",
    "KernelWatch": "..runtime",
    "NotTried": ".trial",
    "OperationSuite": ".suite",
    "QuadraticCase": ".quadratic",
    "assert_close": ".values",
    "assert_twice_differentiable": ".second_order",
    "central_differences": ".differences",
    "check_optimizer": ".optimizers",
    "check_place": ".places",
    "check_solver": ".conformance",
    "conflicts": "..plugins.conflicts",
    "counting": "..autodiff.derivatives",
    "flat": ".values",
    "network_problem": ".network",
    "published_operations": "..plugins.known_packs",
    "unclaimed_checks": ".trial",
    "uncompiled": "..plugins.conflicts",
    "upper_value": ".differences",
}
#: The names in these files need pytest. It must hear of the kit's assertions, which it explains, before the import.
_OF_PYTEST = (".claims", ".conformance", ".optimizers", ".suite")

__all__ = [
    "Claim",
    "Finding",
    "KernelClaim",
    "KernelWatch",
    "NotTried",
    "OperationSuite",
    "QuadraticCase",
    "assert_close",
    "assert_twice_differentiable",
    "central_differences",
    "check_optimizer",
    "check_place",
    "check_solver",
    "conflicts",
    "counting",
    "flat",
    "network_problem",
    "published_operations",
    "unclaimed_checks",
    "uncompiled",
    "upper_value",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] in _OF_PYTEST:
        import pytest

        pytest.register_assert_rewrite(f"{__name__}.conformance", f"{__name__}.optimizers")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
