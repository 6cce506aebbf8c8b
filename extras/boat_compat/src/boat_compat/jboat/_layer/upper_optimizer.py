"""The user's own upper optimizer takes its own step: Adam is Adam, with its state, its groups and its schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .source import Source
from .variables import trainable


def check_groups(source: Source, key: str, optimizer: Any, arrays: Sequence[Any]) -> None:
    """Raise `ConfigError` if the optimizer does not move one of the arrays."""
    known = {id(array) for group in optimizer.param_groups for array in group["params"]}
    for place, array in enumerate(arrays):
        if id(array) not in known:
            variables = key.replace("_opt", "_var")
            expected = f"an optimizer of all arrays of {variables}"
            raise source.error(key, expected=expected, got=f"none of its groups holds trainable array {place}")


def step(
    optimizer: Any,
    arrays: Sequence[Any],
    gradients: Sequence[Any],
    factor: Callable[[float], float] | None = None,
) -> None:
    """Move the arrays along their gradients. Other arrays of the optimizer get a zero gradient.

    Args:
        optimizer: a Jittor optimizer.
        arrays: the arrays.
        gradients: the gradient of each.
        factor: from a group's step size to a factor on its step, for a schedule that an operation brings.
    """
    import jittor

    by_array = {id(array): gradient for array, gradient in zip(arrays, gradients)}
    before = [array.detach() for array in arrays]
    with trainable(arrays):
        for group in optimizer.param_groups:
            zeros = [jittor.zeros(array.shape, array.dtype) for array in group["params"] if id(array) not in by_array]
            rest = iter(zeros)
            group["grads"] = [by_array[id(a)] if id(a) in by_array else next(rest) for a in group["params"]]
        # What `backward` does beside taking the gradient: Adam's bias correction counts these.
        optimizer.n_step += 1
        optimizer.step()
        if factor is not None:
            rates = {id(a): group.get("lr", optimizer.lr) for group in optimizer.param_groups for a in group["params"]}
            for array, old in zip(arrays, before):
                array.update(old + factor(rates[id(array)]) * (array - old))
    jittor.sync([array for group in optimizer.param_groups for array in group["params"]])
