"""Gradients of functions of pytrees, as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.unrolled import detached, differentiable
from ..errors import ObjectiveError, StructureError


def grad(function: Callable[..., Any], argument: int = 0, *, second_order_guard: str = "error") -> Callable[..., Any]:
    """Return the function whose value is ∇ `function` with respect to one of its arguments.

    The gradient can be differentiated again; where it will not be, `value_and_grad` is what to take.

    Args:
        function: of pytrees of arrays, to an array that holds one number. It is evaluated as objectives are: see
            `docs/operators.md`.
        argument: the place of that argument.
        second_order_guard: what an operator leads to whose second derivative Jittor gets wrong: "error", "warn", "off".

    Returns:
        A function of the same arguments: a pytree like that argument, zeros where the value does not depend on a leaf.

    Raises:
        ObjectiveError, StructureError, SecondOrderError: when it is called.
    """

    def gradient(*arguments: Any, **keywords: Any) -> Any:
        return _value_and_gradient(function, argument, second_order_guard, arguments, keywords)[1]

    return gradient


def value_and_grad(function: Callable[..., Any], argument: int = 0) -> Callable[..., tuple[Any, Any]]:
    """Return the function that gives the value of `function` and its gradient, computed and without their history.

    Nothing of it is differentiated again, so that functions may be in it that have no second derivative, such as those
    that `custom_root`, `unroll` and `es_grad` make. Arguments and errors as for `grad`.
    """

    def both(*arguments: Any, **keywords: Any) -> tuple[Any, Any]:
        found: tuple[Any, Any] = detached(_value_and_gradient(function, argument, "off", arguments, keywords))
        return found

    return both


def stop_gradient(tree: Any) -> Any:
    """Return the pytree with its arrays computed and without their history; what is no array stays as it is.

    A loop that steps an optimizer by hand does so with parameters and state, or the graph of all steps stays in memory:

        y, state = boat.stop_gradient((boat.apply_updates(y, updates), state))
    """
    return detached(tree)


def _value_and_gradient(
    function: Callable[..., Any], argument: int, guard: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, Any]:
    name = getattr(function, "__qualname__", repr(function))
    if argument >= len(arguments):
        raise StructureError(f"grad of {name}: expected an argument {argument} (got {len(arguments)} arguments)")
    tree = optree.tree_map(lambda leaf: arrays.as_array(leaf) if arrays.is_array(leaf) else leaf, arguments[argument])
    leaves, structure = optree.tree_flatten(tree)
    if not leaves or not all(map(differentiable, leaves)):
        raise StructureError(f"grad of {name}: expected floating-point arrays as argument {argument}")
    with evaluating(native=True, guard=guard, differentiated=True):
        leaves = [arrays.attached(leaf) for leaf in leaves]
        tree = optree.tree_unflatten(structure, leaves)
        value = function(*arguments[:argument], tree, *arguments[argument + 1 :], **keywords)
        if not arrays.is_jittor(value) or value.numel() != 1:
            shape = f"shape {list(value.shape)}" if arrays.is_jittor(value) else type(value).__name__
            raise ObjectiveError(f"{name}: expected an array that holds one number (got {shape})")
        return value, optree.tree_unflatten(structure, derivatives.gradient(value, leaves))
