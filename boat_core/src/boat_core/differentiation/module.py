"""A module whose parameters solve a problem, and are differentiable as its solution.

    class Ridge(boat.ImplicitModule, nn.Module):
        def __init__(self): self.linear = nn.Linear(64, 10)
        def execute(self, x): return self.linear(x)
        def objective(self, meta, x, t): return loss(self(x), t) + penalty(meta, self.linear.weight)
        def solve(self, meta, x, t): ...                 # any way to move self.linear.weight in place

    ridge.adapt(meta, x, t)
    jt.grad(loss(ridge(x_val), t_val), meta)

Source: Rajeswaran et al., NeurIPS 2019, arXiv 1909.04630, in the form of a module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autodiff.modules import Places, call, parameters
from ..errors import DeclarationError
from .functional import grad
from .implicit import Implicit, ImplicitReport, custom_root
from .linear.base import LinearSolver


class ImplicitModule:
    """A base class beside Jittor's `nn.Module`: write `solve`, and either `objective` or `optimality`.

    List it before `nn.Module`. `adapt(meta, *batch)` runs `solve` from the current parameters, which are the last
    solution if there was one. Afterwards the parameters depend on the Jittor arrays in the pytree `meta` (and in
    `batch`): Jittor's `grad` of whatever the module computes is the implicit derivative, see `boat_core.custom_root`.
    `release()` puts the module's own arrays back, with the values of the solution and without a history. The next
    `adapt` does so too, so that only one solution stays in memory, with what its derivative needs.

    Attributes:
        linear_solver: the linear solver of the derivative, by default `gmres()`. Set it on the class or on the module.
        tolerance, strict, second_order_guard: as for `custom_root`.
        report: the report of the last `adapt`; None before the first one.
    """

    linear_solver: LinearSolver | None = None
    tolerance: float = 1e-3
    strict: bool = False
    second_order_guard: str = "error"
    report: ImplicitReport | None = None
    #: A method `(meta, *batch) -> {dotted name: array}` that is zero at the solution, if that is not ∇ `objective`.
    optimality: Any = None
    _own: tuple[Places, dict[str, Any]] | None = None

    def objective(self, meta: Any, *batch: Any) -> Any:
        """Return what the parameters minimise, as an array that holds one number."""
        raise DeclarationError(f"{type(self).__qualname__}: expected a method `objective` or `optimality`")

    def solve(self, meta: Any, *batch: Any) -> None:
        """Move the module's parameters in place to the solution for `meta`. The arguments are copies."""
        raise DeclarationError(f"{type(self).__qualname__}: expected a method `solve`")

    def adapt(self, meta: Any, *batch: Any) -> None:
        """Solve, and make the parameters depend on `meta`.

        Raises:
            DeclarationError: a method is missing, or `nn.Module` is not among the bases.
            NonFiniteError, StructureError, OperationError, DoubtfulError: as for a solver under `custom_root`.
        """
        if not hasattr(self, "named_modules"):
            raise DeclarationError(f"{type(self).__qualname__}: expected jittor.nn.Module among its bases")
        self.release()
        places, solver = Places(self), self._implicit()
        solution = solver(parameters(self), meta, *batch)
        self.report = solver.report
        places.write(solution)  # the arrays that `solve` left there may have a history
        self._own = places, places.parameters
        places.put(solution)

    def release(self) -> None:
        """Put the module's own arrays back. They hold the values of the solution, without a history."""
        if self._own is not None:
            places, own = self._own
            places.put(own)
            self._own = None

    def _implicit(self) -> Implicit:
        def condition(y: Any, meta: Any, *batch: Any) -> Any:
            if self.optimality is not None:
                return call(_Method(self, self.optimality), y, meta, *batch)
            return grad(
                lambda y: call(_Method(self, self.objective), y, meta, *batch),
                second_order_guard=self.second_order_guard,
            )(y)

        def solver(start: Any, meta: Any, *batch: Any) -> dict[str, Any]:
            self.solve(meta, *batch)
            return parameters(self)

        solver.__qualname__ = f"{type(self).__qualname__}.solve"
        return custom_root(
            condition,
            self.linear_solver,
            tolerance=self.tolerance,
            strict=self.strict,
            second_order_guard=self.second_order_guard,
        )(solver)


class _Method:
    """A method of a module in the form that `boat_core.call` takes."""

    def __init__(self, module: Any, method: Callable[..., Any]) -> None:
        self._method, self.named_modules = method, module.named_modules

    def __call__(self, *inputs: Any) -> Any:
        return self._method(*inputs)
