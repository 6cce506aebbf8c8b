"""One lower step: the direction of the map chain, the lower optimizer's step along it, and the projection.

d = d(t, y, x)        y' = proj(y + u(d, s; x))        s' = s(d; x)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.kernels import FusedStep
from ..autodiff.pytrees import Tree, detach_tree, float_leaves
from ..autodiff.vectors import Vector
from ..optimizers import RULES
from ..optimizers.base import Optimizer, apply_updates


def fused_step(steps: Mapping[Any, FusedStep], optimizer: Optimizer) -> FusedStep | None:
    """Return the fused step that does what this optimizer does, or None.

    The optimizer's rule decides, never its name: another rule may have the same one. A name among the keys stands for
    the rule of that name in `boat_core`.
    """
    rule = optimizer.rule
    if rule is None or optimizer.options is None:  # hyperparameters that vary are not the kernels' business
        return None
    own = rule.name if rule in RULES else None
    for key, fused in steps.items():
        if (key is rule or (own is not None and key == own)) and fused.serves(optimizer.options):
            return fused
    return None


@dataclass(frozen=True)
class LowerStep:
    """A lower step as `boat_core.autodiff.unrolled.Step`, whose z is the pair (tree of y, optimizer state).

    Args:
        along: the direction `(t, y, x) -> d`, as vectors.
        optimizer: steps along it.
        project: then projects y; None where the problem has no lower set.
        fused: does the optimizer's step by kernels; None where plain operators do it.
        x, y: vectors of both spaces, for their structure.
        from_x: returns the optimizer from x, where its hyperparameters are upper variables.
        data_of: returns what the direction of step t reads besides y and x.
        along_data: returns the direction that reads given data in its place, and reports its calls to nobody.
        report: reports the call of a base map whose work a program did.
        varies: whether the steps read different data.
    """

    along: Callable[[int, Vector, Vector], Vector]
    optimizer: Optimizer
    project: Callable[[Vector], Vector] | None
    fused: FusedStep | None
    x: Vector
    y: Vector
    from_x: Callable[[Any], Optimizer] | None = None
    data_of: Callable[[int], Tree] = lambda t: None
    along_data: Callable[[Tree], Callable[[int, Vector, Vector], Vector]] | None = None
    report: Callable[[], None] = lambda: None
    varies: bool = False

    # What programs need to know of a step, see `boat_core.autodiff.programs.Traceable`.

    def data(self, t: int) -> Tree:
        return self.data_of(t)

    def reading(self, data: Tree) -> LowerStep:
        assert self.along_data is not None
        return replace(self, along=self.along_data(data))

    def replayed(self) -> None:
        self.report()

    # The step

    def direction(self, t: int, z: Any, x: Any) -> list[Any]:
        with evaluating(differentiated=True):
            return list(self.along(t, self.y.like_tree(z[0]), self.x.like_tree(x)).leaves)

    def advance(self, t: int, z: Any, x: Any, d: list[Any]) -> Any:
        if self.fused is None:
            return detach_tree(self._moved(z, x, d))
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
            fresh_z, fresh_x, fresh_d = detach_tree(z), detach_tree(x), [arrays.detach(leaf) for leaf in d]
            of_z, of_x = float_leaves(fresh_z), float_leaves(fresh_x) if self.from_x else []
            with evaluating(differentiated=True):
                moved = float_leaves(self._moved(fresh_z, fresh_x, fresh_d))
            pulled = derivatives.vjp(moved, p, [*of_z, *of_x, *fresh_d], second_order=False)
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
        """Return the state in the order in which pytrees list it, with trees like y as vectors."""
        trees = {name: state[name] for name in sorted(state)}
        return {n: v if isinstance(v, (int, float)) else self.y.like_tree(v) for n, v in trees.items()}
