"""Gives arrays a derivative of BOAT's own, however their values were computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from . import arrays
from .arrays import Array
from .evaluation import evaluating


def attach_vjp(
    name: str, values: Sequence[Array], inputs: Sequence[Array], pullback: Callable[[list[Array]], Sequence[Array]]
) -> list[Array]:
    """Return arrays with these values, whose derivative with respect to `inputs` is computed by `pullback`.

    Args:
        name: the name under which the second-order guard refuses a second derivative. Jittor loses that derivative,
            because it cannot differentiate what `pullback` returns.
        values: floating-point arrays. Their history is dropped.
        inputs: floating-point arrays.
        pullback: maps one detached cotangent for each value, of its dtype, to one for each input. Jittor calls it once,
            while it takes a derivative. An error in it reaches the caller who asked for that derivative.
    """
    function = _function_class(name)()
    function.values, function.pullback = [arrays.detach(value) for value in values], pullback
    function.dtypes = [str(array.dtype) for array in inputs]
    attached: list[Array] = function(*inputs)
    return attached


@cache
def _function_class(name: str) -> Any:
    """Return a `jt.Function` class of that name, the same one for all calls.

    A class is a reference cycle: one class for each call would keep its values in memory.
    """
    import jittor

    def execute(self: Any, *_: Any) -> list[Array]:
        return [arrays.detach(value) for value in self.values]

    def grad(self: Any, *gradients: Any) -> list[Array]:
        cotangents = [
            arrays.zeros_like(value) if g is None else arrays.cast(arrays.detach(g), str(value.dtype))
            for g, value in zip(gradients, self.values)
        ]
        # Cotangents are constants, whatever surrounds the derivative that is being taken: kernels may compute them.
        with evaluating(guard="off", differentiated=False):
            pulled = [arrays.detach(cotangent) for cotangent in self.pullback(cotangents)]
        return [arrays.cast(cotangent, dtype) for cotangent, dtype in zip(pulled, self.dtypes)]

    module, _, short = name.rpartition(".")
    members = {"execute": execute, "grad": grad, "__module__": module or __name__, "__qualname__": short}
    return type(short, (jittor.Function,), members)
