"""The lower trajectory y_0 → … → y_T, the point at its end, and the hypergradient.

The operations of the stage "approximate" work on these. A selector takes a trajectory and returns a view of it, such as
its last steps alone. An estimator takes a trajectory and returns a `Hypergradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.unrolled import Unrolled
from ..autodiff.vectors import Vector, first_nonfinite, gradients
from ..errors import NonFiniteError
from .objectives import Bilevel
from .point_values import PointValues
from .tangent import LowerSet, Tangent

#: ψ, the objective that the lower steps descend: (x, y, t) -> scalar.
LowerObjective = Callable[[Vector, Vector, int], Any]


@dataclass(frozen=True)
class Hypergradient:
    """An estimate of dF(x, y_T(x))/dx.

    Args:
        x: The estimate, a cotangent of x.
        y0: The cotangent of the start y_0. Estimators that pull back provide it; a learned start needs it.
        report: JSON-ready figures of the estimator's work, such as its iterations, residual and reason to stop.
        concerns: Reasons to doubt the estimate. Each is a sentence with the figure. Under `strict` they are errors.
    """

    x: Vector
    y0: Vector | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


class Point:
    """The gradients of F and ψ at one (x, y), and products with the second derivatives of ψ.

    All of them are computed on demand. All arguments and results are `Vector`s in the space of x or of y.

    Where the problem has a lower set, estimators with the tag "end-point" see the problem that is left on the set's
    boundary, see `boat_core.bilevel.tangent`: ∇_y F, ∇_y ψ and ∇²_yy ψ are restricted to the directions in which the
    solution can move. Between bounds these are the free entries of y. (∇²_yy ψ) q = ∇_y F is solved as without a set.
    """

    def __init__(
        self,
        bilevel: Bilevel,
        objective: LowerObjective,
        x: Vector,
        y: Vector,
        t: int,
        watch: bool,
        lower_set: LowerSet | None = None,
        tangent: Tangent | None = None,
    ) -> None:
        self.x, self.y, self.t = x.detach(), y.detach(), t
        self._bilevel, self._objective, self._watch = bilevel, objective, watch
        self._lower_set, self._elsewhere = lower_set, tangent

    @cached_property
    def _upper(self) -> tuple[Vector, Vector]:
        gx, gy = gradients(self._bilevel.upper(self.x, self.y), self.x, self.y)
        return self._seen(gx.detach(), "∇_x F"), self._seen(gy.detach(), "∇_y F")

    @cached_property
    def _lower(self) -> tuple[Vector, Vector]:
        # Not detached: every product with second derivatives differentiates this graph once more.
        with evaluating(differentiated=True):
            return gradients(self._objective(self.x, self.y, self.t), self.x, self.y)

    @cached_property
    def _tangent(self) -> Tangent | None:
        if self._lower_set is None or self._elsewhere is not None:
            return self._elsewhere
        return self._lower_set.tangent(self.y, self._lower[1].detach())

    def restrict(self, v: Vector) -> Vector:
        """Return the part of v, in the space of y, along which the lower set lets the solution move."""
        return self._tangent.restrict(v) if self._tangent else v

    @property
    def restricted(self) -> bool:
        """Whether the lower set keeps the solution from moving in some directions, such as entries of y at a bound."""
        return self._tangent is not None and self._tangent.restricts

    @property
    def symmetric(self) -> bool:
        """Whether the matrix of `hessian_product` is symmetric. It is not where the lower set's boundary is curved."""
        return self._tangent is None or self._tangent.flat

    @property
    def direct(self) -> Vector:
        """∇_x F."""
        return self._upper[0]

    @property
    def upper_gradient(self) -> Vector:
        """∇_y F."""
        return self.restrict(self._upper[1])

    @property
    def lower_gradient(self) -> Vector:
        """∇_y ψ."""
        gradient = self._seen(self._lower[1].detach(), "∇_y ψ")
        return self.restrict(gradient) if self._lower_set and self._lower_set.restricts_gradient else gradient

    @property
    def lower_partial(self) -> Vector:
        """∇_x ψ."""
        return self._seen(self._lower[0].detach(), "∇_x ψ")

    def hessian_product(self, v: Vector) -> Vector:
        """Return ∇²_yy ψ · v, in the space of y."""
        return self._tangent.product(self._hessian_product, v) if self._tangent else self._hessian_product(v)

    def _hessian_product(self, v: Vector) -> Vector:
        # (∇²_yy ψ)ᵀ v = ∇²_yy ψ · v, so one pullback of v through ∇_y ψ is the product.
        pulled = derivatives.vjp(self._lower[1].leaves, v.leaves, self.y.leaves)
        return self._seen(self.y.like(pulled), "∇²_yy ψ · v")

    def mixed_product(self, v: Vector) -> Vector:
        """Return ∇²_xy ψ · v, in the space of x."""
        pulled = derivatives.vjp(self._lower[1].leaves, self._within(v).leaves, self.x.leaves)
        return self._seen(self.x.like(pulled), "∇²_xy ψ · v")

    def _within(self, v: Vector) -> Vector:
        return self._tangent.restrict(v) if self._tangent and self._tangent.flat else v

    def products(self, v: Vector) -> tuple[Vector, Vector]:
        """Return (∇²_xy ψ · v, ∇²_yy ψ · v), computed in one pass where there is no lower set."""
        if self._tangent and not self._tangent.flat:
            return self.mixed_product(v), self.hessian_product(v)
        pulled = derivatives.vjp(self._lower[1].leaves, self._within(v).leaves, self.x.leaves + self.y.leaves)
        mixed, hessian = Vector(pulled, None).split(self.x, self.y)
        return self._seen(mixed, "∇²_xy ψ · v"), self._seen(self.restrict(hessian), "∇²_yy ψ · v")

    def before_projection(self, previous: Vector, rate: float) -> Vector:
        """Return ∇_y F pulled back through the projection of the step from `previous` to y. Without a set it is ∇_y F.

        Args:
            previous: The iterate before y.
            rate: The step size η. It matters only if the lower set is a function P, with y = P(previous - η∇_y ψ).
        """
        if self._lower_set is None:
            return self.upper_gradient

        def gradient() -> Vector:
            unrestricted = Point(self._bilevel, self._objective, self.x, previous, self.t, self._watch)
            return unrestricted.lower_gradient

        return self._lower_set.last_step(previous, self.y, gradient, rate).restrict(self._upper[1])

    def moved(self, y: Vector) -> Point:
        """Return the point with the same objectives and x at another y, restricted to the same directions."""
        # The set restricts the solution here, and not the points beside it at which a difference quotient looks.
        return Point(self._bilevel, self._objective, self.x, y, self.t, self._watch, self._lower_set, self._tangent)

    def _seen(self, vector: Vector, name: str) -> Vector:
        if self._watch and (path := first_nonfinite(vector)):
            raise NonFiniteError(f"{name} at y_{self.t + 1}, {path}")
        return vector


@dataclass(frozen=True)
class Trajectory:
    """The iterates of the lower steps under x, as the operations of a chain see them.

    A trajectory is a value. Its views share the iterates and differ in the fields `steps`, `kept`, `from_upper`,
    `frozen` and `watch`.

    Args:
        bilevel: F and f with their batches.
        objective: ψ, the function that the lower steps descend: f, or an aggregate of F and f. It is bound to the batch
            on which estimators take derivatives at the end.
        unrolled: The iterates z_t = (y_t, optimizer state) and their pullback. The leaves of y come first in z.
        x: The upper variables.
        y0: The start of y.
        steps: The number of lower steps that count: T, or fewer in a view.
        kept: The number of last steps that the pullback goes through.
        from_upper: Whether y_0 is x.
        frozen: Whether the pullback takes second derivatives of ψ as zero.
        watch: Whether to check every intermediate number, and to raise `NonFiniteError` at the first bad one.
        k: The number of outer iterations before this one. Randomness may depend on k and a seed, and on nothing else.
        evaluate: How `values_from` computes: `(value_from, points)` -> the values in the order of the points.
        lower_set: The lower set, if `end` is restricted to the directions in which it lets the solution move.
    """

    bilevel: Bilevel
    objective: LowerObjective
    unrolled: Unrolled
    x: Vector
    y0: Vector
    steps: int
    kept: int
    from_upper: bool = False
    frozen: bool = False
    watch: bool = False
    k: int = 0
    evaluate: PointValues = map
    lower_set: LowerSet | None = None

    def iterate(self, t: int) -> Vector:
        """Return y_t, for t = 0 … steps."""
        return self.y0.like_tree(self.unrolled.iterate(t)[0])

    @cached_property
    def end(self) -> Point:
        """The point (x, y_T), where ψ is that of the last step."""
        # ψ may change with t. The last step, from y_(T-1) to y_T, descended the ψ of index T - 1.
        y = self.iterate(self.steps)
        return Point(self.bilevel, self.objective, self.x, y, self.steps - 1, self.watch, self.lower_set)

    def upper_value(self, t: int) -> float:
        """Return F(x, y_t), computed now."""
        return arrays.scalar(self.bilevel.upper(self.x, self.iterate(t)))

    def value_from(self, x: Vector) -> float:
        """Run the same lower steps at another x' and return F(x', y_steps(x')). Keep no iterate and no graph.

        y starts at the same y_0, or at x' if y_0 is x.
        """
        y0, state = self.unrolled.iterate(0)
        start = self.y0.like(x.leaves).tree if self.from_upper else y0
        end = self.unrolled.end_from((start, state), x.tree, self.steps)
        return arrays.scalar(self.bilevel.upper(x, self.y0.like_tree(end[0])))

    def values_from(self, points: Iterable[Vector]) -> Iterable[float]:
        """Return `value_from` at each of the points. An executor may have computed the values elsewhere.

        An operation that calls this declares the tag "values". In every process it makes the same points in the same
        order, and it takes the values one by one, since points and values are computed on demand.
        """
        return self.evaluate(self.value_from, points)

    def pullback(self, cotangent: Vector) -> tuple[Vector, Vector]:
        """Pull a cotangent of y_T back through the kept steps.

        Returns:
            The cotangent of the first kept y, and the cotangent Σ_t dx_t of x. If y_0 is x, the latter includes the
            cotangent of y_0.
        """
        leaves, dx = self.unrolled.pullback(
            cotangent.leaves,
            first=self.steps - self.kept,
            last=self.steps,
            frozen=self.frozen,
            watch=self._watch_pullback if self.watch else None,
        )
        # The leaves of y come first. The cotangents of the optimizer's initial state after them are of no use.
        p, total = self.y0.like(leaves[: len(self.y0.leaves)]), self.x.like(dx)
        return p, total + self.x.like(p.leaves) if self.from_upper else total

    def until(self, steps: int) -> Trajectory:
        """Return the view that ends at y_steps."""
        return replace(self, steps=steps, kept=min(self.kept, steps))

    def last(self, count: int) -> Trajectory:
        """Return the view whose pullback goes through the last `count` steps only."""
        return replace(self, kept=min(count, self.steps))

    def started_at_upper(self) -> Trajectory:
        """Return the view in which the start is x itself, so that the cotangent of x includes that of y_0."""
        return replace(self, from_upper=True)

    def without_second_derivatives(self) -> Trajectory:
        """Return the view whose pullback takes ∇²ψ as zero. Linear parts of the optimizer keep their derivatives."""
        return replace(self, frozen=True)

    def watched(self) -> Trajectory:
        """Return the view that checks every intermediate number."""
        return replace(self, watch=True)

    def _watch_pullback(self, t: int, p: Any, dx: Any) -> None:
        for vector, name in ((self.y0.like(p[: len(self.y0.leaves)]), "y"), (self.x.like(dx), "x")):
            if path := first_nonfinite(vector):
                raise NonFiniteError(f"the pullback of lower step {t}, cotangent of {name}, {path}")
