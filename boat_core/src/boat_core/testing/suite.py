"""The conformance kit: the tests that every operation must pass, whichever pack it belongs to.

To use the kit, write a class with a table that has one row for each operation:

    from boat_core.testing import Claim, OperationSuite

    class TestMine(OperationSuite):
        claims = [Claim("MINE", truth=lambda case, steps, rate: case.implicit_hypergradient(case.y), exact=False)]

`truth` is the closed form on a random quadratic problem, in numpy. `exact` claims that the hypergradient is the
derivative of F(x, y_T(x)) itself; the kit compares it with central differences, also through momentum and Adam. All
other tests are the same for every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ..plugins.composition import solvers
from ..plugins.discovery import installed
from ..plugins.registry import Registry
from .boundary import check_boundary
from .claims import OPTIMIZERS, PROBLEMS, Claim
from .conformance import (
    check_central_differences,
    check_closed_form,
    check_determinism,
    check_first_order,
    check_kernels,
    check_nan,
    check_options,
    check_purity,
    check_recompilation,
    check_solver,
)


class OperationSuite:
    """Inherit this class and set `claims`. pytest runs every check for every row.

    Override `packs` to look up the operations in another registry.
    """

    claims: Sequence[Claim] = ()

    @property
    def packs(self) -> Registry:
        """The registry that holds the operations. By default this is the registry of the installed packs."""
        return installed()

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Parametrise each test with the rows to which it applies."""
        chosen: list[Any] = list(self.claims)
        if metafunc.function.__name__ == "test_closed_form":
            chosen = [c for c in chosen if c.truth or c.lower_truth]
        if metafunc.function.__name__ == "test_central_differences":
            chosen = [c for c in chosen if c.exact]
        if metafunc.function.__name__ == "test_kernels":
            chosen = [c for c in chosen if c.kernels or self.packs.find(c.operation).operation.kernels]
        if "claim" in metafunc.fixturenames:
            nothing = pytest.param(None, marks=pytest.mark.skip(reason="no row makes this claim"))
            metafunc.parametrize("claim", chosen or [nothing], ids=str)

    @pytest.mark.parametrize(("n", "m", "nested", "dtype"), PROBLEMS)
    def test_closed_form(self, claim: Claim, n: int, m: int, nested: bool, dtype: str) -> None:
        check_closed_form(claim, self.packs, n, m, dtype, nested)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_central_differences(self, claim: Claim, optimizer: str) -> None:
        check_central_differences(claim, self.packs, OPTIMIZERS[optimizer]())

    def test_every_composition(self, claim: Claim) -> None:
        compositions = [s for s in solvers(self.packs) if claim.operation in {o.name for o in s.operations}]
        assert compositions, f"no valid solver has {claim.operation}"
        for composition in compositions:
            names = [entry.name for entry in composition.operations]
            options = {name: values for name, values in claim.options.items() if name in names}
            check_solver(composition, self.packs, options)

    def test_purity(self, claim: Claim) -> None:
        check_purity(claim, self.packs)

    def test_determinism(self, claim: Claim) -> None:
        check_determinism(claim, self.packs)

    def test_nan(self, claim: Claim) -> None:
        check_nan(claim, self.packs)

    def test_options(self, claim: Claim) -> None:
        check_options(claim, self.packs)

    def test_nothing_is_compiled_again(self, claim: Claim) -> None:
        check_recompilation(claim, self.packs)

    def test_second_derivatives_are_taken_as_declared(self, claim: Claim) -> None:
        check_first_order(claim, self.packs)

    def test_boundary_of_the_lower_set(self, claim: Claim) -> None:
        check_boundary(claim, self.packs)

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_kernels(self, claim: Claim, device: str) -> None:
        check_kernels(claim, self.packs, device)
