"""Gives arrays a derivative of BOAT's own, however their values were computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from . import arrays, derivatives
from .arrays import Array
from .evaluation import evaluating
from .guard import twice_differentiable

#: From arrays like the inputs, and a cotangent for each value, to the cotangents of the inputs, with their graph.
Cotangents = Callable[[list[Array], list[Array]], Sequence[Array]]


def attach_vjp(
    name: str,
    values: Sequence[Array],
    inputs: Sequence[Array],
    pullback: Callable[[list[Array]], Sequence[Array]],
    cotangents: Cotangents | None = None,
) -> list[Array]:
    """Return arrays with these values, whose derivative with respect to `inputs` is computed by `pullback`.

    Args:
        name: the name under which the second-order guard refuses a second derivative, where there is none.
        values: floating-point arrays. Their history is dropped.
        inputs: floating-point arrays.
        pullback: maps one detached cotangent for each value, of its dtype, to one for each input. Jittor calls it once,
            while it takes a derivative. An error in it reaches the caller who asked for that derivative.
        cotangents: the same as a function `(inputs, cotangents) -> cotangents of the inputs` of arrays whose graph it
            keeps. It makes the derivative differentiable in turn, to every order, and is called only for that. Without
            it, Jittor would lose every second derivative, because it cannot differentiate what `pullback` returns.
    """
    function = _function_class(name, cotangents is not None)()
    function.name, function.values = name, [arrays.detach(value) for value in values]
    function.inputs, function.pullback, function.cotangents = list(inputs), pullback, cotangents
    attached: list[Array] = function(*inputs)
    return attached


@cache
def _function_class(name: str, every_order: bool) -> Any:
    """Return a `jt.Function` class of that name, the same one for all calls.

    A class is a reference cycle: one class for each call would keep its values in memory.
    """
    import jittor

    def execute(self: Any, *_: Any) -> list[Array]:
        return [arrays.detach(value) for value in self.values]

    def grad(self: Any, *gradients: Any) -> list[Array]:
        given = [
            arrays.zeros_like(value) if g is None else arrays.cast(g, str(value.dtype))
            for g, value in zip(gradients, self.values)
        ]
        # Cotangents are constants, whatever surrounds the derivative that is being taken: kernels may compute them.
        with evaluating(guard="off", differentiated=False):
            pulled = [arrays.detach(one) for one in self.pullback([arrays.detach(g) for g in given])]
            values = [arrays.cast(one, str(array.dtype)) for one, array in zip(pulled, self.inputs)]
            if self.cotangents is None:
                return values
            return _differentiable(self.name, values, self.inputs, given, self.cotangents)

    module, _, short = name.rpartition(".")
    members = {"execute": execute, "grad": grad, "__module__": module or __name__, "__qualname__": short}
    made = type(short, (jittor.Function,), members)
    return twice_differentiable(made) if every_order else made


def _differentiable(
    name: str, values: Sequence[Array], inputs: list[Array], given: list[Array], cotangents: Cotangents
) -> list[Array]:
    """Return the cotangents `values` of the inputs as functions of the inputs and the given cotangents."""
    count = len(inputs)

    def next_cotangents(both: list[Array], of_values: list[Array]) -> list[Array]:
        with evaluating(differentiated=True):
            # Copies in the graph, so that the derivative is that of this function alone.
            own = [array.clone() for array in both]
            result = list(cotangents(own[:count], own[count:]))
            return derivatives.gradient(derivatives.inner(result, of_values), own)

    def pullback(of_values: list[Array]) -> list[Array]:
        return next_cotangents([arrays.detach(array) for array in (*inputs, *given)], of_values)

    return attach_vjp(name, values, [*inputs, *given], pullback, next_cotangents)
