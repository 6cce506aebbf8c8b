"""Unrolls an iteration and pulls cotangents back through its steps.

    z_{t+1}   = A_t(z_t, x, d_t),   d_t = d(t, z_t, x)    A sees x only if x holds hyperparameters

    (a, c, b) = pᵀ ∂A_t/∂(z, x, d)                        A's adjoint, by a kernel or by differentiating A
    p_t       = a + bᵀ ∂d_t/∂z      dx_t = c + bᵀ ∂d_t/∂x one product with the derivative of d's graph

Only d has a graph. The pullback builds it again for one step at a time, uses it and drops it. The graphs of some of the
last steps may be kept from the way forward instead. The iterates stay in memory, either all of them, or some, from
which the others are computed again (`boat_core.autodiff.memory` chooses). Kernels do not depend on T.

z and x are pytrees. Leaves of z that are not floating-point arrays (a step count, say) take no part in derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from . import arrays, derivatives
from .arrays import Array
from .memory import Memory
from .pytrees import Tree, detach_and_sync, detach_tree, float_leaves, sync_tree


class Step(Protocol):
    """One step in two parts, both pure functions."""

    def direction(self, t: int, z: Tree, x: Tree) -> list[Array]:
        """Return d_t as arrays whose graph leads to the leaves of z and x."""

    def advance(self, t: int, z: Tree, x: Tree, d: list[Array]) -> Tree:
        """Return z_{t+1}, detached."""

    def adjoint(
        self, t: int, z: Tree, x: Tree, d: list[Array], p: list[Array]
    ) -> tuple[list[Array], list[Array] | None, list[Array]]:
        """Return the cotangents of the floating-point leaves of z, of those of x, and of d, from that of z_{t+1}.

        All are constants. The cotangents of x are None if A does not see x.
        """


class Recorder(Protocol):
    """What `Unrolled` tells of its work, to whoever draws or counts it."""

    def recompute(self, t: int) -> None:
        """The iterate z_t is computed again, because it was not kept."""

    def rerun(self) -> None:
        """Another trajectory is run by `end_from`."""

    def pull_back(self, t: int, rebuilt: bool) -> None:
        """Step t is pulled back; `rebuilt` says that its graph was not kept from the way forward."""


class Unrolled:
    """The iterates of `step` from `start` under `parameters`, and their pullback.

    Args:
        step: the step that moves z.
        start: the pytree z_0.
        parameters: the pytree x.
        steps: the number of steps, T >= 1.
        memory: what may stay in memory between the way forward and the pullback.
        recorder: is told what is computed again and what is pulled back.

    Attributes:
        held: what stays in memory.
        iterate_bytes: the bytes that one iterate takes.
        graph_bytes: the bytes that the graph of one step takes.
        engine: what ran the steps, for reports.
    """

    engine = "plain"

    def __init__(
        self, step: Step, start: Tree, parameters: Tree, steps: int, memory: Memory, recorder: Recorder | None = None
    ) -> None:
        self.step, self.steps, self._recorder = step, steps, recorder
        self.parameters = detach_and_sync(parameters)
        z = detach_and_sync(start)
        self._kept = {0: z}
        self._graphs: dict[int, tuple[Tree, list[Array]]] = {}
        self._block: dict[int, Tree] = {}
        self.iterate_bytes = arrays.bytes_of(float_leaves(z))
        for t in range(steps):
            # Each step gets its own copy of x. A derivative visits everything that depends on x, and with one x for
            # all steps it would visit the graphs of the other steps that are kept.
            x = detach_tree(self.parameters)
            d = step.direction(t, z, x)
            z = sync_tree(step.advance(t, z, x, d))
            if t == 0:
                self.graph_bytes = arrays.graph_bytes(d)
                self.held = memory.plan(steps, self.iterate_bytes, self.graph_bytes)
            if t >= steps - self.held.graphs:
                self._graphs[t] = x, d
            if (t + 1) % self.held.every == 0 or t + 1 == steps:
                self._kept[t + 1] = z

    def iterate(self, t: int) -> Tree:
        """Return z_t. If it was not kept, it is computed again from the last kept iterate before it."""
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

    def end_from(self, start: Tree, parameters: Tree, steps: int) -> Tree:
        """Return z_steps from another start under other parameters. Keep nothing, change nothing here."""
        if self._recorder is not None:
            self._recorder.rerun()
        z, x = detach_and_sync(start), detach_and_sync(parameters)
        for t in range(steps):
            z = self._next(t, z, x)
        return z

    def _next(self, t: int, z: Tree, x: Tree) -> Tree:
        return sync_tree(self.step.advance(t, z, x, self.step.direction(t, z, x)))

    def pullback(
        self,
        cotangent: Sequence[Array],
        *,
        first: int = 0,
        last: int | None = None,
        frozen: bool = False,
        watch: Callable[[int, Sequence[Array], Sequence[Array]], None] | None = None,
        also: Sequence[Array] = (),
    ) -> tuple[list[Array], list[Array]]:
        """Pull `cotangent` back from iterate `last` (default T) to iterate `first`.

        Args:
            cotangent: one array for each floating-point leaf of z, or for the first of them; the others are zero.
            first: the index of the iterate at which the pullback ends.
            last: the index of the iterate that `cotangent` belongs to; None means T.
            frozen: whether d counts as a constant. Then no second derivative of the objective is taken.
            watch: is called after each step with t, the cotangent of z_t and the sum of dx so far.
            also: arrays that d uses without receiving them in z or x.

        Returns:
            The cotangents of z_first and of x, each a list with one array for each floating-point leaf. Those of `also`
            follow those of x.
        """
        last = self.steps if last is None else last
        end = float_leaves(self.iterate(last))
        p = [*(arrays.detach(leaf) for leaf in cotangent), *map(arrays.zeros_like, end[len(cotangent) :])]
        dx = [arrays.zeros_like(leaf) for leaf in (*float_leaves(self.parameters), *also)]
        # Zeros that are not computed would be part of the first step's kernels, which are then others than the next.
        arrays.sync([*p, *dx])
        for t in reversed(range(first, last)):
            z = self.iterate(t)
            x, d = self._graphs.get(t) or self._rebuilt(t, z)
            if self._recorder is not None:
                self._recorder.pull_back(t, rebuilt=t not in self._graphs)
            p, dx = self._pull_step(t, z, x, d, p, dx, frozen, also)
            arrays.sync(p + dx)
            if watch is not None:
                watch(t, p, dx)
        return p, dx

    def _rebuilt(self, t: int, z: Tree) -> tuple[Tree, list[Array]]:
        """Return what `_graphs` holds of a step, computed again in the same way.

        If the step were computed together with its pullback, Jittor would fuse one with the other. The last bits would
        then depend on how many graphs are kept.
        """
        x = detach_tree(self.parameters)
        d = self.step.direction(t, z, x)
        sync_tree(self.step.advance(t, z, x, d))
        return x, d

    def _pull_step(
        self,
        t: int,
        z: Tree,
        x: Tree,
        d: list[Array],
        p: list[Array],
        dx: list[Array],
        frozen: bool,
        also: Sequence[Array] = (),
    ) -> tuple[list[Array], list[Array]]:
        """Pull p back through step t, and add to dx. `d` is the direction, with its graph from z, x and `also`."""
        p, of_x, of_d = self.step.adjoint(t, z, x, d, p)
        if of_x is not None:
            dx[: len(of_x)] = [arrays.detach(total + part) for total, part in zip(dx, of_x)]
        if frozen:
            # A's part of the pullback stays: it is linear in the optimizer's step and needs no graph of d.
            return [arrays.detach(leaf) for leaf in p], dx
        inputs, size = [*float_leaves(z), *float_leaves(x), *also], len(p)
        # The identities `inputs` carry a and c along, so that one product gives a + bᵀ∂d/∂z and dx + bᵀ∂d/∂x
        # without further additions.
        pulled = derivatives.vjp([*d, *inputs], [*of_d, *p, *dx], inputs)
        return pulled[:size], pulled[size:]
