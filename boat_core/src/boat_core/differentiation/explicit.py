"""Through the steps: an iteration unrolled, and cotangents pulled back through it.

    z_{t+1} = Φ(t, z_t, x)        pᵀ ∂z_T/∂(z_0, x)  by reverse mode, step by step

It is what the solver does with its lower steps, without a bilevel problem: the graph of one step at a time, or of as
many as `memory` allows. Source: Franceschi et al., ICML 2017, arXiv 1703.01785; with checkpoints, Griewank and Walther,
ACM Trans. Math. Softw. 26, 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import optree

from ..autodiff import arrays
from ..autodiff.custom_vjp import tied
from ..autodiff.evaluation import evaluating
from ..autodiff.memory import DEFAULT_ALLOWED, Memory
from ..autodiff.unrolled import Unrolled, cut, differentiable, float_leaves
from ..autodiff.vectors import path_text
from ..errors import NonFiniteError, OptionError, StructureError


def unroll(
    step: Callable[[int, Any, Any], Any],
    start: Any,
    parameters: Any,
    steps: int,
    *,
    segment: int | str = "auto",
    memory: int | str = DEFAULT_ALLOWED,
    second_order_guard: str = "error",
) -> Unrolling:
    """Iterate `step` from `start`, and be ready to pull cotangents of the end back.

    Args:
        step: `(t, z, x) -> z'`, a pure function of pytrees of arrays, in which numbers and None are constants. It may
            take gradients (`boat_core.grad`), and is evaluated as objectives are.
        start: z_0.
        parameters: x.
        steps: T >= 1.
        segment, memory: what is held between the way forward and the way back, as for `Solver`.
        second_order_guard: what an operator leads to that Jittor does not differentiate twice: "error", "warn" or
            "off" (right where `step` takes no gradients).

    Raises:
        StructureError: a step returns another structure, shape or dtype than it was given.
        NonFiniteError: an iterate holds a NaN or an infinity; names the step and the leaf.
        OptionError, SecondOrderError.
    """
    if not callable(step):
        raise OptionError(f"unroll: step: expected a function (t, z, x) (got {step!r})")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise OptionError(f"unroll: steps: expected an integer >= 1 (got {steps!r})")
    given, x = _read(start, "start"), _read(parameters, "parameters")
    # The iterates are made inside: Jittor takes derivatives of arrays made in the caller's `jt.no_grad()` as zero.
    with evaluating():
        unrolled = Unrolled(_Whole(step, second_order_guard), given, x, steps, Memory(segment, memory))
        found = Unrolling(unrolled, given, x)
        found._check_finite()
    return found


class Unrolling:
    """The iterates of `unroll`, and their pullback.

    Attributes:
        steps: T.
        end: z_T. Its arrays are tied to those of the start and the parameters that `unroll` was given: Jittor's `grad`
            of what is made of them goes back through the steps. (Once: their derivative has none of its own.)
    """

    def __init__(self, unrolled: Unrolled, start: Any, parameters: Any) -> None:
        self._unrolled, self._start, self._parameters = unrolled, start, parameters
        self.steps = unrolled.steps

    @cached_property
    def end(self) -> Any:
        inputs = [*float_leaves(self._start), *float_leaves(self._parameters)]
        tree = self._unrolled.iterate(self.steps)

        def pullback(cotangents: list[Any]) -> list[Any]:
            of_start, of_parameters = self._unrolled.pullback(cotangents)
            return [*of_start, *of_parameters]

        values = iter(tied("boat_core.unroll", float_leaves(tree), inputs, pullback))
        return optree.tree_map(lambda leaf: next(values) if differentiable(leaf) else leaf, tree)

    def iterate(self, t: int) -> Any:
        """z_t, for t = 0 … T, without its history; computed again where it is not held."""
        if not 0 <= t <= self.steps:
            raise OptionError(f"iterate: expected t from 0 to {self.steps} (got {t!r})")
        return cut(self._unrolled.iterate(t))

    def pullback(self, cotangent: Any) -> tuple[Any, Any]:
        """Pull a cotangent of z_T back to those of z_0 and of x; None in the place of what has no derivative.

        Raises:
            StructureError: it is not like z_T.
        """
        tree = self._unrolled.iterate(self.steps)
        leaves, structure = optree.tree_flatten(tree)
        try:
            given = structure.flatten_up_to(cotangent)
        except ValueError as error:
            raise StructureError(f"pullback: expected a cotangent like the end ({error})") from None
        read = [arrays.as_array(c, "cotangent") for c, leaf in zip(given, leaves) if differentiable(leaf)]
        for want, have in zip(float_leaves(tree), read):
            if list(want.shape) != list(have.shape):
                raise StructureError(f"pullback: expected shape {list(want.shape)} (got {list(have.shape)})")
        with evaluating():
            of_start, of_parameters = self._unrolled.pullback(read)
        return _like(self._start, of_start), _like(self._parameters, of_parameters)

    def _check_finite(self) -> None:
        if _nonfinite(self._unrolled.iterate(self.steps)) is None:
            return
        for t in range(1, self.steps + 1):
            if place := _nonfinite(self._unrolled.iterate(t)):
                raise NonFiniteError(f"unroll: NaN or infinity in the iterate after step {t - 1}, leaf {place}")


class _Next(list[Any]):
    """The floating-point leaves of z', and z' itself for the rest of it."""

    def __init__(self, tree: Any) -> None:
        super().__init__(float_leaves(tree))
        self.tree = tree


class _Whole:
    """A step as `boat_core.autodiff.unrolled.Step` takes it: all of Φ is in the direction."""

    def __init__(self, step: Callable[[int, Any, Any], Any], guard: str) -> None:
        self._step, self._guard = step, guard

    def direction(self, t: int, z: Any, x: Any) -> list[Any]:
        with evaluating(native=True, guard=self._guard, differentiated=True):
            after = self._step(t, z, x)
        return _Next(_like_before(after, z, t))

    def advance(self, t: int, z: Any, x: Any, d: list[Any]) -> Any:
        assert isinstance(d, _Next)
        return cut(d.tree)

    def adjoint(self, t: int, z: Any, x: Any, d: list[Any], p: list[Any]) -> tuple[list[Any], None, list[Any]]:
        return [arrays.zeros_like(leaf) for leaf in float_leaves(z)], None, p


def _read(tree: Any, where: str) -> Any:
    """The pytree with its numpy arrays as Jittor arrays; Jittor arrays stay the very same."""

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        return arrays.as_array(leaf, where + path_text(path)) if arrays.is_array(leaf) else leaf

    return optree.tree_map_with_path(convert, tree)


def _like_before(after: Any, before: Any, t: int) -> Any:
    """What a step returned, in the structure, shapes and dtypes that it was given."""
    paths, leaves, structure = optree.tree_flatten_with_path(before)
    found = optree.tree_structure(after)
    if found != structure:
        raise StructureError(f"unroll: step {t}: expected the structure {structure} (got {found})")
    read = [arrays.as_array(leaf) if arrays.is_array(leaf) else leaf for leaf in optree.tree_leaves(after)]
    for path, want, have in zip(paths, leaves, read):
        said = [f"{list(a.shape)} {a.dtype}" if arrays.is_array(a) else type(a).__name__ for a in (want, have)]
        if said[0] != said[1]:
            raise StructureError(f"unroll: step {t}: leaf {path_text(path) or '.'}: expected {said[0]} (got {said[1]})")
    return structure.unflatten(read)


def _like(tree: Any, cotangents: list[Any]) -> Any:
    rest = iter(cotangents)
    return optree.tree_map(lambda leaf: next(rest) if differentiable(leaf) else None, tree)


def _nonfinite(tree: Any) -> str | None:
    paths, leaves, _ = optree.tree_flatten_with_path(tree)
    for path, leaf in zip(paths, leaves):
        if differentiable(leaf) and not arrays.all_finite(leaf):
            return path_text(path) or "."
    return None
