"""Unrolling a step, and pulling a cotangent back through it.

    z_{t+1}   = A_t(z_t, x, d_t),   d_t = d(t, z_t, x)    x is in A where it holds hyperparameters of the step

    (a, c, b) = pᵀ ∂A_t/∂(z, x, d)                        A's adjoint, by a kernel or by differentiating A
    p_t       = a + bᵀ ∂d_t/∂z      dx_t = c + bᵀ ∂d_t/∂x one product with the derivative of d's graph

The graph of d is the only one there is: built again step by step, used and dropped, or kept from the way forward for
some of the last steps. What lies in memory besides are the iterates, all of them, or some, from which those between are
computed again (`boat_core.autodiff.memory` has the choice). Kernels do not depend on T.

z and x are pytrees; leaves of z that are not floating-point arrays (a step count, say) take no part in derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import optree

from . import arrays, derivatives
from .memory import Memory


class Step(Protocol):
    """One step, in two parts; all of it pure."""

    def direction(self, t: int, z: Any, x: Any) -> list[Any]:
        """d_t, as arrays whose graph leads to the leaves of z and x."""

    def advance(self, t: int, z: Any, x: Any, d: list[Any]) -> Any:
        """z_{t+1}, detached."""

    def adjoint(
        self, t: int, z: Any, x: Any, d: list[Any], p: list[Any]
    ) -> tuple[list[Any], list[Any] | None, list[Any]]:
        """The cotangents of z's floating-point leaves, of x's (None where A does not see x) and of d, from that of
        z_{t+1}; all constants."""


class Recorder(Protocol):
    """What `Unrolled` tells of its work, to whoever draws or counts it."""

    def recompute(self, t: int) -> None:
        """The iterate z_t is computed again, because it was not kept."""

    def rerun(self) -> None:
        """Another trajectory is run by `end_from`."""

    def pull_back(self, t: int, rebuilt: bool) -> None:
        """Step t is pulled back; `rebuilt` says that its graph was not kept from the way forward."""


def differentiable(leaf: Any) -> bool:
    return arrays.is_array(leaf) and arrays.float_kind(leaf)


def float_leaves(tree: Any) -> list[Any]:
    """Return the leaves of a pytree that take part in derivatives."""
    return [leaf for leaf in optree.tree_leaves(tree) if differentiable(leaf)]


def cut(tree: Any) -> Any:
    """Return the same values without their history."""
    return optree.tree_map(lambda leaf: arrays.detach(leaf) if arrays.is_array(leaf) else leaf, tree)


def detached(tree: Any) -> Any:
    """Return the same values without their history, computed."""
    return _synced(cut(tree))


def _synced(tree: Any) -> Any:
    arrays.sync([leaf for leaf in optree.tree_leaves(tree) if arrays.is_array(leaf)])
    return tree


class Unrolled:
    """The iterates of `step` from `start` under parameters `x`, and their pullback.

    Args:
        step: how z moves.
        start: the pytree z_0.
        parameters: the pytree x.
        steps: T >= 1.
        memory: what may be held.
        recorder: is told what is computed again and what is pulled back.

    Attributes:
        held: what is.
        iterate_bytes, graph_bytes: what one of each takes.
    """

    def __init__(
        self, step: Step, start: Any, parameters: Any, steps: int, memory: Memory, recorder: Recorder | None = None
    ) -> None:
        self.step, self.steps, self._recorder = step, steps, recorder
        self.parameters = detached(parameters)
        z = detached(start)
        self._kept = {0: z}
        self._graphs: dict[int, tuple[Any, list[Any]]] = {}
        self._block: dict[int, Any] = {}
        self.iterate_bytes = arrays.bytes_of(float_leaves(z))
        for t in range(steps):
            # Of its own: a derivative looks through all that hangs on x, and some of it may be kept.
            x = cut(self.parameters)
            d = step.direction(t, z, x)
            z = _synced(step.advance(t, z, x, d))
            if t == 0:
                self.graph_bytes = arrays.graph_bytes(d)
                self.held = memory.plan(steps, self.iterate_bytes, self.graph_bytes)
            if t >= steps - self.held.graphs:
                self._graphs[t] = x, d
            if (t + 1) % self.held.every == 0 or t + 1 == steps:
                self._kept[t + 1] = z

    def iterate(self, t: int) -> Any:
        """z_t; where it was not kept, from the last one before it that was."""
        if t in self._kept:
            return self._kept[t]
        if t not in self._block:
            first = t - t % self.held.every
            z, self._block = self._kept[first], {}
            for s in range(first, min(first + self.held.every, self.steps) - 1):
                z = self._next(s, z, self.parameters)
                self._block[s + 1] = z
                if self._recorder is not None:
                    self._recorder.recompute(s + 1)
        return self._block[t]

    def end_from(self, start: Any, parameters: Any, steps: int) -> Any:
        """z_steps from another start under other parameters: nothing is kept, and nothing of this is changed."""
        if self._recorder is not None:
            self._recorder.rerun()
        z, x = detached(start), detached(parameters)
        for t in range(steps):
            z = self._next(t, z, x)
        return z

    def _next(self, t: int, z: Any, x: Any) -> Any:
        return _synced(self.step.advance(t, z, x, self.step.direction(t, z, x)))

    def pullback(
        self,
        cotangent: Sequence[Any],
        *,
        first: int = 0,
        last: int | None = None,
        frozen: bool = False,
        watch: Callable[[int, Sequence[Any], Sequence[Any]], None] | None = None,
    ) -> tuple[list[Any], list[Any]]:
        """Pull `cotangent` back from iterate `last` (default T) to iterate `first`.

        Args:
            cotangent: one array per floating-point leaf of z, or of its leading leaves; the rest is zero.
            frozen: take d as a constant: no derivative of it, so no second derivative of the objective.
            watch: called after each step with t, the cotangent of z_t and the sum of dx so far.

        Returns:
            The cotangents of z_first and of x, each a list with one array per floating-point leaf.
        """
        last = self.steps if last is None else last
        end = float_leaves(self.iterate(last))
        p = [*(arrays.detach(leaf) for leaf in cotangent), *map(arrays.zeros_like, end[len(cotangent) :])]
        dx = [arrays.zeros_like(leaf) for leaf in float_leaves(self.parameters)]
        for t in reversed(range(first, last)):
            z = self.iterate(t)
            x, d = self._graphs.get(t) or (self.parameters, self.step.direction(t, z, self.parameters))
            if self._recorder is not None:
                self._recorder.pull_back(t, rebuilt=t not in self._graphs)
            p, of_x, of_d = self.step.adjoint(t, z, x, d, p)
            if of_x is not None:
                dx = [arrays.detach(total + part) for total, part in zip(dx, of_x)]
            if frozen:
                p = [arrays.detach(leaf) for leaf in p]
            else:
                inputs, size = [*float_leaves(z), *float_leaves(x)], len(p)
                pulled = derivatives.pull([*d, *inputs], [*of_d, *p, *dx], inputs)
                p, dx = pulled[:size], pulled[size:]
            arrays.sync(p + dx)
            if watch is not None:
                watch(t, p, dx)
        return p, dx
