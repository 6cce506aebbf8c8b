"""A problem bound to the batches of one outer iteration. Operations evaluate the objectives through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optree

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.pytrees import Unchanged, as_arrays, nonfinite_leaf, one_number, sync_tree
from ..autodiff.vectors import Vector, dot, gradient, gradients, norm
from ..errors import ObjectiveError, StructureError
from .bounds import Projection
from .problem import PerStep, Problem
from .user_code import runs_user_code


@dataclass(frozen=True)
class Bilevel:
    """F and f on the batches of one outer iteration, and the derivatives that first-order methods take.

    x and y are `Vector`s everywhere. `t` is the number of a lower step. It matters only if each lower step has its own
    batch.
    """

    problem: Problem
    lower_batch: Any
    upper_batch: Any
    lower_steps: int
    #: How to treat operators whose second derivative Jittor computes wrongly: "warn" or "error". It is "off" if the
    #: solver takes no second derivative.
    guard: str = "error"
    #: Whether F and f use the array operators of `boat_core.autodiff.operators` in place of Jittor's.
    native: bool = True

    def upper(self, x: Vector, y: Vector, t: int = 0) -> Any:
        """Return F(x, y), an array with one number."""
        return _evaluate(self.problem.upper_objective, "upper_objective", x, y, self.upper_batch, self.native)

    def lower(self, x: Vector, y: Vector, t: int = 0) -> Any:
        """Return f(x, y) on the batch of lower step t, an array with one number. Beyond the last batch they repeat."""
        batch = self.lower_batch
        if isinstance(batch, PerStep):
            batch = batch.batches[t % len(batch.batches)]
        return _evaluate(self.problem.lower_objective, "lower_objective", x, y, batch, self.native)

    def upper_gradients(self, x: Vector, y: Vector) -> tuple[Vector, Vector]:
        """Return (∇_x F, ∇_y F)."""
        x, y = x.detach(), y.detach()
        gx, gy = gradients(self.upper(x, y), x, y)
        return gx.detach(), gy.detach()

    def lower_gradients(self, x: Vector, y: Vector, t: int = 0) -> tuple[Vector, Vector]:
        """Return (∇_x f, ∇_y f)."""
        x, y = x.detach(), y.detach()
        gx, gy = gradients(self.lower(x, y, t), x, y)
        return gx.detach(), gy.detach()

    def lower_gradient(self, x: Vector, y: Vector, t: int = 0) -> Vector:
        """Return ∇_y f."""
        y = y.detach()
        return gradient(self.lower(x, y, t), y).detach()

    def upper_value(self, x: Vector, y: Vector) -> float:
        """Return F(x, y), computed now."""
        return arrays.scalar(self.upper(x, y))

    def lower_value(self, x: Vector, y: Vector, t: int = 0) -> float:
        """Return f(x, y), computed now."""
        return arrays.scalar(self.lower(x, y, t))

    def squared_lower_gradient(self, x: Vector, y: Vector, t: int = 0) -> tuple[float, Vector, Vector]:
        """Return ‖∇_y f‖² and its gradients 2 ∇²_xy f · ∇_y f and 2 ∇²_yy f · ∇_y f, by one second-order product."""
        x, y = x.detach(), y.detach()
        with evaluating(guard=self.guard):
            g = gradient(self.lower(x, y, t), y)
        pulled = derivatives.vjp(g.leaves, (2.0 * g).leaves, x.leaves + y.leaves)
        return dot(g, g), *Vector(pulled, None).split(x, y)

    def descend(self, x: Vector, y: Vector, rate: float, steps: int | None = None, ridge: float = 0.0) -> Vector:
        """Take `steps` plain gradient steps (by default T) on f(x, ·) + ½ ridge ‖·‖² from y, inside the lower set."""
        for t in range(self.lower_steps if steps is None else steps):
            direction = self.lower_gradient(x, y, t)
            if ridge:
                direction = direction + ridge * y
            y = self.project_lower(y - rate * direction).detach().sync()
        return y

    def project_lower(self, y: Vector) -> Vector:
        """Return the point of the problem's lower set that is nearest to y."""
        return project(y, self.problem.project_lower, "project_lower")

    def on_boundary(self, y: Vector, gradient: Vector, rate: float) -> bool:
        """Whether the lower set cuts the gradient step from y, so that ∇_y f need not vanish at a lower solution.

        Args:
            y: the lower variables.
            gradient: ∇_y f at y.
            rate: the step size.
        """
        if self.problem.project_lower is None:
            return False
        step = rate * gradient
        cut = norm((y - self.project_lower(y - step)) - step)
        return cut > 0.1 * norm(step) + 1e-5 * (1 + norm(y))  # the last term is the rounding of y


@runs_user_code
def _evaluate(function: Callable[..., Any], role: str, x: Vector, y: Vector, batch: Any, native: bool) -> Any:
    point, wrt = x.leaves + y.leaves, (("upper", x), ("lower", y))
    with evaluating(native=native, differentiated=True, point=point, wrt=wrt):
        value = function(x.tree, y.tree, batch)
    return one_number(value, role)


@runs_user_code
def project(vector: Vector, projection: Projection | None, where: str) -> Vector:
    """Project the vector onto the set that `projection` describes.

    Raises:
        StructureError: A projection function returned another structure, shape or dtype.
    """
    if projection is None:
        return vector
    if isinstance(projection, tuple):
        low, high = projection
        return vector.map(lambda leaf: arrays.clamped(leaf, low, high))
    with evaluating(native=False, point=vector.leaves):
        leaves, structure = optree.tree_flatten(projection(vector.tree))
    if structure == vector.structure and all(map(arrays.is_jittor, leaves)):
        leaves = [arrays.narrowed(leaf, own) for leaf, own in zip(leaves, vector.leaves)]
    projected = Vector(leaves, structure)
    projected.check_like(vector, where)
    return projected


def prepare_batch(batch: Any, where: str, steps: int) -> Any:
    """Turn numpy arrays in a batch into Jittor arrays of the same dtype, computed; leave everything else as it is."""
    if isinstance(batch, PerStep):
        if len(batch.batches) != steps:
            raise StructureError(f"{where}: PerStep holds {len(batch.batches)} batches for {steps} lower steps")
        return PerStep([prepare_batch(b, f"{where}.batches[{t}]", steps) for t, b in enumerate(batch.batches)])

    # Computed now: the kernels that read it are then the same whoever has read it before.
    return sync_tree(as_arrays(batch, where))


def check_reproducible(bilevel: Bilevel, x: Vector, y: Vector) -> None:
    """Evaluate F and f twice and compare, because a pullback evaluates them again and needs the same numbers.

    Raises:
        ObjectiveError: Two values differ, or an objective changes what it is given. The message names the objective.
    """
    lower_batch = bilevel.lower_batch
    if isinstance(lower_batch, PerStep):
        lower_batch = lower_batch.batches[0]
    x, y = x.detach(), y.detach()
    roles = (
        ("upper_objective", bilevel.upper, "upper_batch", bilevel.upper_batch),
        ("lower_objective", bilevel.lower, "lower_batch", lower_batch),
    )
    for role, objective, batch_name, batch in roles:
        before = optree.tree_leaves(batch)
        unchanged = {"upper": Unchanged(x.leaves), "lower": Unchanged(y.leaves)}
        unchanged[batch_name] = Unchanged([leaf for leaf in before if arrays.is_jittor(leaf)], constant=True)
        value = objective(x, y)
        for name, one in unchanged.items():
            one.check(role, name)
        if [*map(id, optree.tree_leaves(batch))] != [*map(id, before)]:
            raise ObjectiveError(f"{role}: it changes the containers of {batch_name}; it must not change its arguments")
        first, second = arrays.scalar(value), arrays.scalar(objective(x, y))
        if math.isfinite(first) and not math.isclose(first, second, rel_tol=1e-6):
            raise ObjectiveError(
                f"{role}: two evaluations at the same point gave {first!r} and {second!r}; "
                "randomness (dropout masks, noise) must come in with the batch"
            )


def nonfinite_input(bilevel: Bilevel, x: Vector, y: Vector) -> str | None:
    """Return the name of the first leaf of x, y or a batch that holds a NaN or an infinity, or None."""
    inputs = {"upper": x.tree, "lower": y.tree, "lower_batch": bilevel.lower_batch, "upper_batch": bilevel.upper_batch}
    if isinstance(bilevel.lower_batch, PerStep):
        inputs["lower_batch"] = list(bilevel.lower_batch.batches)
    for name, tree in inputs.items():
        if (place := nonfinite_leaf(tree)) is not None:
            return name + place
    return None
