"""Unrolling a step, and pulling a cotangent back through it segment by segment.

    z_{t+1} = Φ_t(z_t, x)          forward: only the iterates z_0 … z_T are kept
    (p_t, dx_t) = p_{t+1}ᵀ ∂Φ_t    backward: one segment's graph is rebuilt at its start, used, and dropped

z and x are pytrees; leaves of z that are not floating-point arrays (a step count, say) take no part in derivatives.
Memory: T + 1 copies of z and the graph of one segment. The kernels do not depend on T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from . import arrays, derivatives

Step = Callable[[int, Any, Any], Any]


def _differentiable(leaf: Any) -> bool:
    return arrays.is_array(leaf) and arrays.float_kind(leaf)


def float_leaves(tree: Any) -> list[Any]:
    """Return the leaves of a pytree that take part in derivatives."""
    return [leaf for leaf in optree.tree_leaves(tree) if _differentiable(leaf)]


def detached(tree: Any) -> Any:
    """Return the same values without their history, computed."""
    cut = optree.tree_map(lambda leaf: arrays.detach(leaf) if arrays.is_array(leaf) else leaf, tree)
    arrays.sync(leaf for leaf in optree.tree_leaves(cut) if arrays.is_array(leaf))
    return cut


class Unrolled:
    """The iterates of `step` from `start` under parameters `x`, and their pullback.

    Args:
        step: `(t, z, x) -> z`, a pure function that builds one step.
        start: the pytree z_0.
        parameters: the pytree x.
        steps: T >= 1.
        frozen: the step with its gradients taken as constants, for a pullback without second derivatives; None means
            that it is then the identity in z.
    """

    def __init__(self, step: Step, start: Any, parameters: Any, steps: int, frozen: Step | None = None) -> None:
        self.step, self.frozen = step, frozen
        self.parameters = parameters
        self.iterates = [detached(start)]
        for t in range(steps):
            self.iterates.append(detached(step(t, self.iterates[-1], parameters)))

    def pullback(
        self,
        cotangent: Sequence[Any],
        *,
        first: int = 0,
        last: int | None = None,
        segment: int | None = 1,
        frozen: bool = False,
        watch: Callable[[int, Sequence[Any], Sequence[Any]], None] | None = None,
    ) -> tuple[list[Any], list[Any]]:
        """Pull `cotangent` back from iterate `last` (default T) to iterate `first`.

        Args:
            cotangent: one array per floating-point leaf of z, or of its leading leaves; the rest is zero.
            segment: steps whose graph is held at once; None means all.
            frozen: take second derivatives of the objective as zero.
            watch: called after each segment with its first step, the cotangent there and the sum of dx so far.

        Returns:
            The cotangents of z_first and of x, each a list with one array per floating-point leaf.
        """
        last = len(self.iterates) - 1 if last is None else last
        length = max(1, last - first) if segment is None else segment
        end = float_leaves(self.iterates[last])
        p = [*cotangent, *map(arrays.zeros_like, end[len(cotangent) :])]
        dx = [arrays.zeros_like(leaf) for leaf in float_leaves(self.parameters)]
        arrays.sync(p + dx)
        if frozen and self.frozen is None:
            return p, dx
        step = self.frozen if frozen and self.frozen else self.step
        for start in reversed(range(first, last, length)):
            z, x = detached(self.iterates[start]), detached(self.parameters)
            out = z
            for t in range(start, min(start + length, last)):
                out = step(t, out, x)
            inputs = float_leaves(z)
            pulled = derivatives.pull(float_leaves(out), p, inputs + float_leaves(x), second_order=not frozen)
            p = [arrays.detach(v) for v in pulled[: len(inputs)]]
            dx = [arrays.detach(total + v) for total, v in zip(dx, pulled[len(inputs) :])]
            arrays.sync(p + dx)
            if watch is not None:
                watch(start, p, dx)
        return p, dx
