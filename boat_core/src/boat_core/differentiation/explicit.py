"""Differentiates an iteration through its steps: unrolls it, and pulls cotangents back.

    z_{t+1} = Φ(t, z_t, x)        pᵀ ∂z_T/∂(z_0, x)  by reverse mode, step by step

The solver treats its lower steps in the same way. There is one graph for one step at a time, or as many graphs as
`memory` allows. Source: Franceschi et al., ICML 2017, arXiv 1703.01785; with checkpoints, Griewank and Walther,
ACM Trans. Math. Softw. 26, 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import optree

from .._util.integers import as_integer
from ..autodiff import arrays, derivatives
from ..autodiff.arrays import Array
from ..autodiff.captured import Captured
from ..autodiff.custom_vjp import attach_vjp
from ..autodiff.evaluation import evaluating
from ..autodiff.memory import DEFAULT_ALLOWED, Memory
from ..autodiff.pytrees import (
    Tree,
    as_arrays,
    detach_tree,
    differentiable,
    float_leaves,
    leaf_text,
    nonfinite_leaf,
    path_text,
)
from ..autodiff.unrolled import Unrolled
from ..errors import NonFiniteError, OptionError, StructureError


def unroll(
    step: Callable[[int, Tree, Tree], Tree],
    start: Tree,
    parameters: Tree,
    steps: int,
    *,
    segment: int | str = "auto",
    memory: int | str = DEFAULT_ALLOWED,
    second_order_guard: str = "error",
) -> Unrolling:
    """Iterate `step` from `start`. The result pulls cotangents of the end back.

    Args:
        step: a pure function `(t, z, x) -> z'` of pytrees of arrays. Numbers and None in them are constants. It may
            take gradients (`boat_core.grad`), and is evaluated like an objective.
        start: the pytree z_0.
        parameters: the pytree x. An array that `step` uses without receiving it, from a closure say, has the right
            derivative through `end` too if BOAT takes it (`boat_core.value_and_grad`, an objective, a module's
            optimizer). With Jittor's own `grad` it is an error.
        steps: the number of steps, T >= 1.
        segment, memory: what stays in memory between the steps and the pullback, as for `Solver`.
        second_order_guard: the reaction to an operator that Jittor does not differentiate twice: "error", "warn" or
            "off". "off" is right if `step` takes no gradients.

    Raises:
        StructureError: a step returns another structure, shape or dtype than it received.
        NonFiniteError: an iterate holds a NaN or an infinity. The message names the step and the leaf.
        OptionError: an argument is out of range.
        SecondOrderError: `step` calls a kernel, or an operator that the guard refuses.
    """
    if not callable(step):
        raise OptionError(f"unroll: step: expected a function (t, z, x) (got {step!r})")
    number = as_integer(steps)
    if number is None or number < 1:
        raise OptionError(f"unroll: steps: expected an integer >= 1 (got {steps!r})")
    z, x = as_arrays(start, "start"), as_arrays(parameters, "parameters")
    # The iterates are made inside: Jittor takes derivatives of arrays made in the caller's `jt.no_grad()` as zero.
    captured = Captured("unroll: the step", "Pass the array in the parameters.")
    with evaluating():
        unrolled = Unrolled(_Whole(step, second_order_guard, captured), z, x, number, Memory(segment, memory))
        unrolling = Unrolling(unrolled, z, x, captured)
        unrolling._check_finite()
    captured.close()
    return unrolling


class Unrolling:
    """The iterates of `unroll`, and their pullback.

    Attributes:
        steps: T.
        end: z_T. Jittor's `grad` of anything computed from its arrays goes back through the steps, to the arrays of the
            start and of the parameters. That derivative can be differentiated again: the steps are then repeated, and
            the graph of all of them is held.
    """

    def __init__(self, unrolled: Unrolled, start: Tree, parameters: Tree, captured: Captured) -> None:
        self._unrolled, self._start, self._parameters = unrolled, start, parameters
        self._captured = captured
        self.steps = unrolled.steps

    @cached_property
    def end(self) -> Any:
        also = self._captured.arrays
        inputs = [*float_leaves(self._start), *float_leaves(self._parameters), *also]
        tree = self._unrolled.iterate(self.steps)

        def pullback(cotangents: list[Array]) -> list[Array]:
            of_start, of_parameters = self._unrolled.pullback(cotangents, also=also)
            return [*of_start, *of_parameters]

        def cotangents(inputs: list[Array], of_end: list[Array]) -> list[Array]:
            size = len(float_leaves(self._start))
            z, x = _replaced(self._start, inputs[:size]), _replaced(self._parameters, inputs[size:])
            whole = self._unrolled.step
            assert isinstance(whole, _Whole)
            end = whole.end_with_graph(z, x, self.steps)
            return derivatives.gradient(derivatives.inner(float_leaves(end), of_end), inputs)

        # Nothing can stand in for an array in a closure, so with one of them there is a first derivative only.
        every_order = None if also else cotangents
        attached = attach_vjp("boat_core.unroll", float_leaves(tree), inputs, pullback, every_order)
        self._captured.tie(attached)
        values = iter(attached)
        return optree.tree_map(lambda leaf: next(values) if differentiable(leaf) else leaf, tree)

    def iterate(self, t: int) -> Any:
        """Return z_t for t = 0 … T, without its history. If it was not kept, it is computed again."""
        number = as_integer(t)
        if number is None or not 0 <= number <= self.steps:
            raise OptionError(f"iterate: expected t from 0 to {self.steps} (got {t!r})")
        return detach_tree(self._unrolled.iterate(number))

    def pullback(self, cotangent: Tree) -> tuple[Any, Any]:
        """Pull a cotangent of z_T back.

        Args:
            cotangent: a pytree like z_T. Entries for leaves without a derivative are ignored.

        Returns:
            The cotangents of z_0 and of x, with None for each leaf that has no derivative.

        Raises:
            StructureError: `cotangent` is not like z_T.
        """
        tree = self._unrolled.iterate(self.steps)
        leaves, structure = optree.tree_flatten(tree)
        try:
            entries = structure.flatten_up_to(cotangent)
        except ValueError as error:
            raise StructureError(f"pullback: expected a cotangent like the end ({error})") from None
        read = [arrays.as_array(c, "cotangent") for c, leaf in zip(entries, leaves) if differentiable(leaf)]
        for want, have in zip(float_leaves(tree), read):
            if list(want.shape) != list(have.shape):
                raise StructureError(f"pullback: expected shape {list(want.shape)} (got {list(have.shape)})")
        with evaluating():
            of_start, of_parameters = self._unrolled.pullback(read)
        return _like(self._start, of_start), _like(self._parameters, of_parameters)

    def _check_finite(self) -> None:
        if nonfinite_leaf(self._unrolled.iterate(self.steps)) is None:
            return
        for t in range(1, self.steps + 1):
            if (place := nonfinite_leaf(self._unrolled.iterate(t))) is not None:
                raise NonFiniteError(f"unroll: NaN or infinity in the iterate after step {t - 1}, {leaf_text(place)}")


def _jittor_leaves(tree: Tree) -> list[Array]:
    return [leaf for leaf in float_leaves(tree) if arrays.is_jittor(leaf)]


class _Next(list[Array]):
    """The floating-point leaves of z'. It carries z' itself too, for the other leaves."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(float_leaves(tree))
        self.tree = tree


class _Whole:
    """Φ as a `boat_core.autodiff.unrolled.Step`: all of it is in the direction, so that A returns d."""

    def __init__(self, step: Callable[[int, Tree, Tree], Tree], guard: str, captured: Captured) -> None:
        self._step, self._guard, self._captured = step, guard, captured

    def direction(self, t: int, z: Tree, x: Tree) -> list[Array]:
        point = [*float_leaves(z), *float_leaves(x)]
        wrt = (("the iterate", z), ("the parameters", x), ("what the step uses", self._captured.arrays))

        def step() -> Tree:
            with evaluating(native=True, guard=self._guard, differentiated=True, point=point, wrt=wrt):
                return self._step(t, z, x)

        return _Next(_like_before(self._captured.call(step, _jittor_leaves), z, t))

    def end_with_graph(self, z: Tree, x: Tree, steps: int) -> Tree:
        """Return z_T with the graph of all steps, whose derivatives will be differentiated."""
        guard = "error" if self._guard == "off" else self._guard
        for t in range(steps):
            wrt = (("the iterate", z), ("the parameters", x))
            with evaluating(native=True, guard=guard, differentiated=True, wrt=wrt):
                z = _like_before(self._step(t, z, x), z, t)
        return z

    def advance(self, t: int, z: Tree, x: Tree, d: list[Array]) -> Any:
        assert isinstance(d, _Next)
        return detach_tree(d.tree)

    def adjoint(
        self, t: int, z: Tree, x: Tree, d: list[Array], p: list[Array]
    ) -> tuple[list[Array], None, list[Array]]:
        return [arrays.zeros_like(leaf) for leaf in float_leaves(z)], None, p


def _like_before(after: Tree, before: Tree, t: int) -> Any:
    """Return the result of a step, which must be like the step's argument, or in a wider dtype, in its dtypes."""
    paths, leaves, structure = optree.tree_flatten_with_path(before)
    if optree.tree_structure(after) != structure:
        raise StructureError(
            f"unroll: step {t}: expected the structure {structure} (got {optree.tree_structure(after)})"
        )
    read = [
        arrays.narrowed(arrays.as_array(leaf), want) if arrays.is_array(leaf) else leaf
        for want, leaf in zip(leaves, optree.tree_leaves(after))
    ]
    for path, want, have in zip(paths, leaves, read):
        kinds = [f"{list(a.shape)} {a.dtype}" if arrays.is_array(a) else type(a).__name__ for a in (want, have)]
        if kinds[0] != kinds[1]:
            place = leaf_text(path_text(path))
            raise StructureError(f"unroll: step {t}: {place}: expected {kinds[0]} (got {kinds[1]})")
    return structure.unflatten(read)


def _replaced(tree: Tree, leaves: list[Array]) -> Tree:
    """Return the tree with other arrays in place of those that have a derivative."""
    rest = iter(leaves)
    return optree.tree_map(lambda leaf: next(rest) if differentiable(leaf) else leaf, tree)


def _like(tree: Tree, cotangents: list[Array]) -> Any:
    rest = iter(cotangents)
    return optree.tree_map(lambda leaf: next(rest) if differentiable(leaf) else None, tree)
