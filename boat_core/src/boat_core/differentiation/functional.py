"""Gradients of functions of pytrees, as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from .._util.integers import as_integer
from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.pytrees import (
    Unchanged,
    as_arrays,
    detach_and_sync,
    differentiable,
    leaf_text,
    nonfinite_leaf,
    one_number,
)
from ..errors import NonFiniteError, StructureError


def grad(function: Callable[..., Any], argument: int = 0, *, second_order_guard: str = "error") -> Callable[..., Any]:
    """Return the function whose value is ∇ `function` with respect to one of its arguments.

    The gradient can be differentiated again. If it will not be, use `value_and_grad`.

    Args:
        function: maps pytrees of arrays to an array that holds one number. It is evaluated like an objective, see
            `docs/operators.md`.
        argument: the place of the argument.
        second_order_guard: the reaction to an operator that Jittor does not differentiate twice: "error", "warn" or
            "off".

    Returns:
        A function of the same arguments. It returns a pytree like the argument, with zeros for a leaf on which the
        value does not depend.

    Calls raise:
        ObjectiveError: the function does not return one number, or changes the argument in place.
        StructureError: the argument is missing, or not a pytree of floating-point arrays.
        SecondOrderError: the function calls a kernel, or an operator that the guard refuses.
    """

    def gradient(*arguments: Any, **keywords: Any) -> Any:
        return _value_and_gradient(function, argument, second_order_guard, arguments, keywords)[1]

    return gradient


def value_and_grad(function: Callable[..., Any], argument: int = 0) -> Callable[..., tuple[Any, Any]]:
    """Return the function that returns the value of `function` and its gradient, computed and without their history.

    The results are not differentiated again. So `function` may contain functions without a second derivative, such as
    those that `custom_root`, `unroll` and `es_grad` make. Arguments and errors are those of `grad`, and calls also
    raise `NonFiniteError` if the value or the gradient holds a NaN or an infinity. The message names the leaf.
    """

    def both(*arguments: Any, **keywords: Any) -> tuple[Any, Any]:
        value, gradient = detach_and_sync(_value_and_gradient(function, argument, "off", arguments, keywords))
        if nonfinite_leaf(value) is not None:
            raise NonFiniteError(f"{_name(function)}: its value is {arrays.scalar(value)}")
        if (path := nonfinite_leaf(gradient)) is not None:
            raise NonFiniteError(f"gradient of {_name(function)}: NaN or infinity in {leaf_text(path)}")
        return value, gradient

    return both


def stop_gradient(tree: Any) -> Any:
    """Return the pytree with its arrays computed and without their history. Other leaves stay as they are.

    A loop that steps an optimizer by hand needs this for parameters and state. Otherwise the graph of all steps stays
    in memory:

        y, state = boat.stop_gradient((boat.apply_updates(y, updates), state))
    """
    return detach_and_sync(tree)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def _value_and_gradient(
    function: Callable[..., Any], argument: int, guard: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, Any]:
    name = _name(function)
    place = as_integer(argument)
    if place is None or not -len(arguments) <= place < len(arguments):
        raise StructureError(f"grad of {name}: expected an argument {argument!r} (got {len(arguments)} arguments)")
    argument = place % len(arguments)
    tree = as_arrays(arguments[argument], f"grad of {name}: argument {argument}")
    leaves, structure = optree.tree_flatten(tree)
    if not leaves or not all(map(differentiable, leaves)):
        raise StructureError(f"grad of {name}: expected floating-point arrays as argument {argument}")
    # A function, since the arrays are made within the block.
    wrt = ((f"argument {argument} of {name}", lambda: tree),)
    with evaluating(native=True, guard=guard, differentiated=True, point=leaves, wrt=wrt):
        leaves = [arrays.attached(leaf) for leaf in leaves]
        tree, unchanged = optree.tree_unflatten(structure, leaves), Unchanged(leaves)
        value = function(*arguments[:argument], tree, *arguments[argument + 1 :], **keywords)
        unchanged.check(name, f"argument {argument}")
        one_number(value, name)
        return value, optree.tree_unflatten(structure, derivatives.gradient(value, leaves))
