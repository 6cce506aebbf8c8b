"""A module whose parameters are the solution of a problem of their own, and differentiable as that.

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
    """Inherit it before Jittor's `nn.Module`, and write `solve` and one of `objective` and `optimality`.

    `adapt(meta, *batch)` runs `solve`, and leaves parameters that are tied to the Jittor arrays in the pytree `meta`
    (and in `batch`): Jittor's `grad` of what the module makes of them is the implicit derivative, see
    `boat_core.custom_root`. It starts where the parameters are, at the last solution if there was one. `release()` puts
    the module's own arrays back, with the values of the solution and without a history; so does the next `adapt`, so
    that nothing is held but one solution with what is needed for its derivative.

    Attributes:
        linear_solver: for the derivative, `gmres()` by default; set it on the class or on the module.
        tolerance, strict, second_order_guard: as for `custom_root`.
        report: what the last `adapt` found, None before one.
    """

    linear_solver: LinearSolver | None = None
    tolerance: float = 1e-3
    strict: bool = False
    second_order_guard: str = "error"
    report: ImplicitReport | None = None
    #: Where what is zero at the solution is not ∇ `objective`: a method `(meta, *batch) -> {dotted name: array}`.
    optimality: Any = None
    _own: tuple[Places, dict[str, Any]] | None = None

    def objective(self, meta: Any, *batch: Any) -> Any:
        """What the parameters minimise, an array that holds one number."""
        raise DeclarationError(f"{type(self).__qualname__}: expected a method `objective` or `optimality`")

    def solve(self, meta: Any, *batch: Any) -> None:
        """Move the module's parameters in place to the solution for `meta`, copies of which it is given."""
        raise DeclarationError(f"{type(self).__qualname__}: expected a method `solve`")

    def adapt(self, meta: Any, *batch: Any) -> None:
        """Solve, and tie the parameters to `meta`.

        Raises:
            DeclarationError: a method is missing, or `nn.Module` among the bases.
            NonFiniteError, StructureError, OperationError, DoubtfulError: as a solver under `custom_root` does.
        """
        if not hasattr(self, "named_modules"):
            raise DeclarationError(f"{type(self).__qualname__}: expected jittor.nn.Module among its bases")
        self.release()
        places, solver = Places(self), self._implicit()
        tied = solver(parameters(self), meta, *batch)
        self.report = solver.report
        places.write(tied)  # what `solve` left there may have a history
        self._own = places, places.parameters
        places.put(tied)

    def release(self) -> None:
        """Put the module's own arrays back; they hold the solution, without a history."""
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
    """A method of a module as something that `call` can call."""

    def __init__(self, module: Any, method: Callable[..., Any]) -> None:
        self._method, self.named_modules = method, module.named_modules

    def __call__(self, *inputs: Any) -> Any:
        return self._method(*inputs)
