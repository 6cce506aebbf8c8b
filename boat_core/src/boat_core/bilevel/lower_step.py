"""One lower step: the map chain's direction, the lower optimizer's step along it, and the projection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.kernels import FusedStep
from ..autodiff.unrolled import cut, float_leaves
from ..autodiff.vectors import Vector
from ..optimizers.base import Optimizer, apply_updates


@dataclass(frozen=True)
class LowerStep:
    """y' = proj(y + u(d, s; x)), s' = s(d; x): a `boat_core.autodiff.unrolled.Step` whose z is (tree of y, state).

    Args:
        along: `(t, y, x) -> d`, as vectors.
        optimizer, project: what is done with it.
        fused: does the same for this optimizer, without a projection.
        x, y: vectors of both spaces, for their structure.
        from_x: gives the optimizer anew where its hyperparameters are upper variables.
    """

    along: Callable[[int, Vector, Vector], Vector]
    optimizer: Optimizer
    project: Callable[[Vector], Vector] | None
    fused: FusedStep | None
    x: Vector
    y: Vector
    from_x: Callable[[Any], Optimizer] | None = None

    def direction(self, t: int, z: Any, x: Any) -> list[Any]:
        with evaluating(differentiated=True):
            return list(self.along(t, self.y.like_tree(z[0]), self.x.like_tree(x)).leaves)

    def advance(self, t: int, z: Any, x: Any, d: list[Any]) -> Any:
        if self.fused is None:
            return cut(self._moved(z, x, d))
        y, g = self.y.like_tree(z[0]), self.y.like(d)
        y, state = self.fused.advance(self.optimizer.options, y, g, self._vectors(z[1]))
        return y.tree, {name: value.tree if isinstance(value, Vector) else value for name, value in state.items()}

    def _moved(self, z: Any, x: Any, d: list[Any]) -> Any:
        optimizer = self.from_x(x) if self.from_x else self.optimizer
        updates, state = optimizer.update(self.y.like(d).tree, z[1], z[0])
        moved = self.y.like_tree(apply_updates(z[0], updates))
        return (self.project(moved) if self.project else moved).tree, state

    def adjoint(
        self, t: int, z: Any, x: Any, d: list[Any], p: list[Any]
    ) -> tuple[list[Any], list[Any] | None, list[Any]]:
        if self.fused is None:
            fresh_z, fresh_x, fresh_d = cut(z), cut(x), [arrays.detach(leaf) for leaf in d]
            of_z, of_x = float_leaves(fresh_z), float_leaves(fresh_x) if self.from_x else []
            with evaluating(differentiated=True):
                moved = float_leaves(self._moved(fresh_z, fresh_x, fresh_d))
            pulled = derivatives.pull(moved, p, [*of_z, *of_x, *fresh_d], second_order=False)
            ends = len(of_z), len(of_z) + len(of_x)
            return pulled[: ends[0]], pulled[ends[0] : ends[1]] if self.from_x else None, pulled[ends[1] :]
        size = len(self.y.leaves)
        state = self._vectors(z[1])
        names = [name for name, value in state.items() if isinstance(value, Vector)]
        parts = [self.y.like(p[at : at + size]) for at in range(0, len(p), size)]
        of_y, of_state, of_d = self.fused.pull(
            self.optimizer.options, self.y.like_tree(z[0]), self.y.like(d), state, parts[0], dict(zip(names, parts[1:]))
        )
        of_z = [leaf for part in (of_y, *(of_state[n] for n in names)) for leaf in part.leaves]
        return of_z, None, list(of_d.leaves)

    def _vectors(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state in the order in which pytrees list it, with trees like y as vectors."""
        trees = {name: state[name] for name in sorted(state)}
        return {n: v if isinstance(v, (int, float)) else self.y.like_tree(v) for n, v in trees.items()}
