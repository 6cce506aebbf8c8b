"""How the lower set restricts the derivative of a lower solution, which is a fixed point of the projected step.

    y = P(y - η∇_y ψ(x, y))        J = ∂P at y - η∇_y ψ, g = ∇_y F        hypergradient = ∇_x F - ∇²_xy ψ · q
    (Jᵀ ∇²_yy ψ + (I - Jᵀ)/η) q = Jᵀ g

Between bounds, J is the diagonal matrix D of zeros and ones. It is zero where y lies at a bound and ∇_y ψ points out of
the set: there y does not move with x. The system is then that of the free entries, D ∇²_yy ψ D q = D g. The same holds
for every projection whose J is an orthogonal projector, such as that onto a polyhedron: the set is flat at y. Where the
boundary is curved, the matrix is not symmetric.

Source: Blondel et al., NeurIPS 2022, arXiv 2105.15183, section 2 and table 1 (projected gradient fixed point).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..autodiff import arrays, derivatives
from ..autodiff.backend import jt
from ..autodiff.evaluation import evaluating
from ..autodiff.vectors import Vector, dot, norm
from .bounds import Projection
from .objectives import project


@dataclass(frozen=True)
class Tangent:
    """The directions in which a solution at y moves with x.

    Args:
        restrict: The map v ↦ Jᵀ v.
        restricts: Whether Jᵀ is not the identity.
        flat: Whether J is an orthogonal projector.
        rate: η.
    """

    restrict: Callable[[Vector], Vector]
    restricts: bool
    flat: bool
    rate: float

    def product(self, hessian: Callable[[Vector], Vector], v: Vector) -> Vector:
        """Return the product of the matrix above with v. On a flat set it is J ∇²_yy ψ J, which is symmetric."""
        if self.flat:
            return self.restrict(hessian(self.restrict(v)))
        return self.restrict(hessian(v)) + (1.0 / self.rate) * (v - self.restrict(v))


@dataclass(frozen=True)
class LowerSet:
    """The lower set as implicit differentiation sees it.

    Args:
        projection: The bounds or the function.
        plain_rate: The rate of the lower optimizer where that is plain SGD, else None.
        restricts_gradient: Whether `Point.lower_gradient` is restricted too. An operation that steps along it needs all
            of it.
        curved: Whether the operation holds where the boundary is curved, and the matrix not symmetric.
        concerns: The reasons to doubt derivatives at the tangents that were taken so far.
    """

    projection: Projection
    plain_rate: float | None
    restricts_gradient: bool = True
    curved: bool = False
    concerns: list[str] = field(default_factory=list)

    def tangent(self, y: Vector, gradient: Vector) -> Tangent:
        """Return the tangent at y, where ∇_y ψ is `gradient`."""
        # If y is a solution, it is a fixed point with every step size.
        rate = self.plain_rate or 1.0
        if isinstance(self.projection, tuple):
            tangent, concern = _between_bounds(*self.projection, y, gradient, rate)
        else:
            tangent, concern = _of_function(self.projection, y, gradient, rate, self.plain_rate is not None)
        if not (tangent.flat or self.curved):
            concern = concern or _CURVED
        if concern and concern not in self.concerns:
            self.concerns.append(concern)
        return tangent

    def last_step(self, before: Vector, after: Vector, gradient: Callable[[], Vector], rate: float) -> Tangent:
        """Return the tangent of the step that led from `before` to `after`.

        Args:
            before, after: The iterates.
            gradient: Returns ∇_y ψ at `before`. Bounds do not need it.
            rate: η of the step.
        """
        if isinstance(self.projection, tuple):
            low, high = self.projection
            free = after.map(lambda leaf: 1 - _any(_at(leaf, low, above=False), _at(leaf, high, above=True), leaf))
            return Tangent(lambda v: v.map(lambda a, d: a * d, free), True, True, rate)
        return _of_function(self.projection, before, gradient(), rate, True)[0]


_CURVED = (
    "the boundary of project_lower is curved at y_T, where this estimator does not hold; one with the tag curved-set"
    " does, and one that pulls back through the lower steps"
)

# Bounds


def _between_bounds(low: Any, high: Any, y: Vector, gradient: Vector, rate: float) -> tuple[Tangent, str | None]:
    largest = max(arrays.scalar(leaf.abs().max()) if leaf.numel() else 0.0 for leaf in gradient.leaves)
    weak = held = 0.0
    free = []
    for leaf, g in zip(y.leaves, gradient.leaves):
        at_low, at_high = _at(leaf, low, above=False), _at(leaf, high, above=True)
        outwards = _any(at_low * _true(g > 0, leaf), at_high * _true(g < 0, leaf), leaf)
        stays = _any(outwards, at_low * at_high, leaf)  # an entry between two equal bounds never moves
        # Where the gradient vanishes, y only approaches the bound, and may be beside it by rounding.
        rounding = _ROUNDING[str(leaf.dtype)]
        near = _any(_at(leaf, low, above=False, slack=rounding), _at(leaf, high, above=True, slack=rounding), leaf)
        hangs = near * (1 - at_low * at_high) * _true(g.abs() <= rounding * largest, leaf)
        held, weak = held + arrays.scalar(stays.sum()), weak + arrays.scalar(hangs.sum())
        free.append(arrays.detach(1 - stays))
    mask = y.like(free)
    concern = None
    if weak:
        concern = (
            f"{weak:.0f} of {y.size} entries of y lie at a bound of project_lower where the lower gradient is zero: the"
            " solution has a kink there, and only one-sided derivatives"
        )
    return Tangent(lambda v: v.map(lambda a, d: a * d, mask), held > 0, True, rate), concern


#: Gradients smaller than this part of the largest entry count as zero, and so do relative distances from a bound.
_ROUNDING = {"float64": 2.0**-26, "float32": 2.0**-12, "float16": 2.0**-5, "bfloat16": 2.0**-4}


def _at(leaf: Any, bound: Any, above: bool, slack: float = 0.0) -> Any:
    """Return ones where an entry is at the bound or beyond, else zeros. `slack` is a relative distance."""
    if bound is None:
        return arrays.zeros_like(leaf)
    limit = arrays.limit(bound, leaf)
    if slack:
        margin = arrays.scaled(slack, leaf.abs() + arrays.constant(1.0, leaf))  # of y, since a bound may be infinite
        limit = limit - margin if above else limit + margin
    return _true(leaf >= limit if above else leaf <= limit, leaf)


def _true(condition: Any, like: Any) -> Any:
    return jt.ternary(condition, jt.ones_like(like), jt.zeros_like(like))


def _any(a: Any, b: Any, like: Any) -> Any:
    return _true(a + b > jt.zeros_like(like), like)


# Functions


def _of_function(
    projection: Projection, y: Vector, gradient: Vector, rate: float, plain: bool
) -> tuple[Tangent, str | None]:
    z = (y.detach() - rate * gradient.detach()).detach().sync()
    with evaluating(differentiated=True):
        projected = project(z, projection, "project_lower")

    def restrict(v: Vector) -> Vector:
        return z.like(derivatives.vjp(projected.leaves, v.leaves, z.leaves, second_order=False))

    a, b = _probes(z)
    Ja, Jb = restrict(a), restrict(b)
    tolerance = max(100 * 2.0**-23 if str(leaf.dtype) != "float64" else 1e-9 for leaf in z.leaves) * norm(a)
    symmetric = abs(dot(b, Ja) - dot(a, Jb)) <= tolerance * norm(b)
    idempotent = norm(restrict(Ja) - Ja) <= tolerance
    tangent = Tangent(restrict, norm(Ja - a) > tolerance, symmetric and idempotent, rate)
    step = norm(z - y)
    if plain or not tangent.restricts or norm(projected.detach() - y) <= 1e-2 * step:
        return tangent, None
    return tangent, (
        "y_T is no fixed point of y - η∇_y ψ followed by the function project_lower: such a step still moves y by"
        f" {norm(projected.detach() - y) / step:.2g} of its length; a lower optimizer that scales gradients, such as"
        " Adam, has other fixed points, and plain SGD or an estimator that pulls back through the lower steps helps"
    )


def _probes(like: Vector) -> tuple[Vector, Vector]:
    import numpy as np

    rng = np.random.default_rng(0)
    return like.like_flat(rng.normal(size=like.size)), like.like_flat(rng.normal(size=like.size))


def loses_derivative(projection: Projection, y: Vector) -> bool:
    """Whether the result of a projection function moves with y, but not in Jittor's graph.

    A function that leaves Jittor for numpy does this; every derivative through it would be zero without an error.
    """
    along, cotangent = _probes(y)
    step = 1e-3 * (1 + norm(y)) / (1 + norm(along))
    z = (y + step * along).detach().sync()  # beside y, because y itself may lie on a kink
    with evaluating(differentiated=True):
        projected = project(z, projection, "project_lower")
    pulled = derivatives.vjp(projected.leaves, cotangent.leaves, z.leaves, second_order=False)
    moved = project((z + step * cotangent).detach(), projection, "project_lower")
    return norm(z.like(pulled)) == 0 and norm(moved - projected) > 0
