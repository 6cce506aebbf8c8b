"""The lower trajectory y_0 → … → y_T, the point at its end, and the hypergradient made from them.

This is what approximate operations see: selectors return a shorter view of a trajectory, estimators turn one into a
`Hypergradient`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.unrolled import Unrolled
from ..autodiff.vectors import Vector, first_nonfinite, gradients
from ..errors import NonFiniteError
from .objectives import Bilevel

#: ψ, the objective that the lower steps descend: (x, y, t) -> scalar.
LowerObjective = Callable[[Vector, Vector, int], Any]


@dataclass(frozen=True)
class Hypergradient:
    """dF(x, y_T(x))/dx, as an estimator found it.

    Args:
        x: the cotangent of x.
        y0: the cotangent of the start, where an operation of the chain asks for it.
        report: JSON-ready figures of what the estimator did (iterations, residual, why it stopped …).
        concerns: what makes the number doubtful, one sentence each with the figure; errors under `strict`.
    """

    x: Vector
    y0: Vector | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    concerns: tuple[str, ...] = ()


class Point:
    """F and ψ at one (x, y): gradients, and products with ψ's second derivatives. Everything is computed on demand.

    All arguments and results are `Vector`s in the space of x or of y.
    """

    def __init__(self, bilevel: Bilevel, objective: LowerObjective, x: Vector, y: Vector, t: int, watch: bool) -> None:
        self.x, self.y, self.t = x.detach(), y.detach(), t
        self._bilevel, self._objective, self._watch = bilevel, objective, watch

    @cached_property
    def _upper(self) -> tuple[Vector, Vector]:
        gx, gy = gradients(self._bilevel.upper(self.x, self.y), self.x, self.y)
        return self._seen(gx.detach(), "∇_x F"), self._seen(gy.detach(), "∇_y F")

    @cached_property
    def _lower(self) -> tuple[Vector, Vector]:
        # Kept with its graph: every product differentiates it again.
        with evaluating(differentiated=True):
            return gradients(self._objective(self.x, self.y, self.t), self.x, self.y)

    @property
    def direct(self) -> Vector:
        """∇_x F."""
        return self._upper[0]

    @property
    def upper_gradient(self) -> Vector:
        """∇_y F."""
        return self._upper[1]

    @property
    def lower_gradient(self) -> Vector:
        """∇_y ψ."""
        return self._seen(self._lower[1].detach(), "∇_y ψ")

    @property
    def lower_partial(self) -> Vector:
        """∇_x ψ."""
        return self._seen(self._lower[0].detach(), "∇_x ψ")

    def hessian_product(self, v: Vector) -> Vector:
        """∇²_yy ψ · v, in the space of y."""
        pulled = derivatives.vjp(self._lower[1].leaves, v.leaves, self.y.leaves)
        return self._seen(self.y.like(pulled), "∇²_yy ψ · v")

    def mixed_product(self, v: Vector) -> Vector:
        """∇²_xy ψ · v, in the space of x."""
        pulled = derivatives.vjp(self._lower[1].leaves, v.leaves, self.x.leaves)
        return self._seen(self.x.like(pulled), "∇²_xy ψ · v")

    def products(self, v: Vector) -> tuple[Vector, Vector]:
        """(∇²_xy ψ · v, ∇²_yy ψ · v) in one pass."""
        pulled = derivatives.vjp(self._lower[1].leaves, v.leaves, self.x.leaves + self.y.leaves)
        mixed, hessian = Vector(pulled, None).split(self.x, self.y)
        return self._seen(mixed, "∇²_xy ψ · v"), self._seen(hessian, "∇²_yy ψ · v")

    def moved(self, y: Vector) -> Point:
        """The same objectives at another y."""
        return Point(self._bilevel, self._objective, self.x, y, self.t, self._watch)

    def _seen(self, vector: Vector, name: str) -> Vector:
        if self._watch and (path := first_nonfinite(vector)):
            raise NonFiniteError(f"{name} at y_{self.t + 1}, leaf {path}")
        return vector


@dataclass(frozen=True)
class Trajectory:
    """Iterates of the lower steps under x; `steps` of them count, and the last `kept` of those are pulled back.

    Args:
        bilevel: F and f with their batches.
        objective: ψ, what the steps descend (the aggregated objective, where the map chain aggregates), on the batch
            on which estimators take its derivatives at the end.
        unrolled: the iterates z_t = (y_t, optimizer state) and their pullback; y comes first among the leaves of z.
        x: the upper variables.
        y0: where y started.
        steps: T, or fewer in a selector's view.
        kept: how many of the last steps the pullback goes through.
        from_upper: y_0 is x.
        frozen: the pullback takes second derivatives of ψ as zero.
        watch: check every intermediate number and raise `NonFiniteError` at the first bad one.
        k: outer iterations done before; with a seed, all that randomness may depend on.
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

    def iterate(self, t: int) -> Vector:
        """y_t, for t = 0 … steps."""
        return self.y0.like_tree(self.unrolled.iterate(t)[0])

    @cached_property
    def end(self) -> Point:
        """The point (x, y_T), with ψ as the last step saw it."""
        return Point(self.bilevel, self.objective, self.x, self.iterate(self.steps), self.steps - 1, self.watch)

    def upper_value(self, t: int) -> float:
        """F(x, y_t), computed now."""
        return arrays.scalar(self.bilevel.upper(self.x, self.iterate(t)))

    def value_from(self, x: Vector) -> float:
        """F(x', y_steps(x')) at another x' by the same lower steps, computed now; nothing is kept.

        y starts where it did, or at x' where y_0 is x.
        """
        y0, state = self.unrolled.iterate(0)
        start = self.y0.like(x.leaves).tree if self.from_upper else y0
        end = self.unrolled.end_from((start, state), x.tree, self.steps)
        return arrays.scalar(self.bilevel.upper(x, self.y0.like_tree(end[0])))

    def pullback(self, cotangent: Vector) -> tuple[Vector, Vector]:
        """Pull a cotangent of y_T back through the kept steps.

        Returns:
            The cotangents of the first kept y and of x, the latter Σ_t dx_t, and that of y_0 with it where x ≡ y_0.
        """
        leaves, dx = self.unrolled.pullback(
            cotangent.leaves,
            first=self.steps - self.kept,
            last=self.steps,
            frozen=self.frozen,
            watch=self._watch_pullback if self.watch else None,
        )
        p, total = self.y0.like(leaves[: len(self.y0.leaves)]), self.x.like(dx)
        return p, total + self.x.like(p.leaves) if self.from_upper else total

    def until(self, steps: int) -> Trajectory:
        """The view that ends at y_steps."""
        return replace(self, steps=steps, kept=min(self.kept, steps))

    def last(self, count: int) -> Trajectory:
        """The view whose pullback goes through the last `count` steps only."""
        return replace(self, kept=min(count, self.steps))

    def started_at_upper(self) -> Trajectory:
        """The view in which the start is x itself: the pullback's cotangent of x holds that of y_0."""
        return replace(self, from_upper=True)

    def without_second_derivatives(self) -> Trajectory:
        """The view whose pullback takes ∇²ψ as zero; what is linear in the optimizer itself stays."""
        return replace(self, frozen=True)

    def watched(self) -> Trajectory:
        """The same, with every intermediate number checked."""
        return replace(self, watch=True)

    def _watch_pullback(self, t: int, p: Any, dx: Any) -> None:
        for vector, name in ((self.y0.like(p[: len(self.y0.leaves)]), "y"), (self.x.like(dx), "x")):
            if path := first_nonfinite(vector):
                raise NonFiniteError(f"the pullback of lower step {t}, cotangent of {name}, leaf {path}")
