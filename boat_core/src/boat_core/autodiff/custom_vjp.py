"""Arrays with a derivative of our own: values that were computed in any way, tied to the arrays they depend on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from . import arrays
from .evaluation import evaluating


def tied(
    name: str, values: Sequence[Any], inputs: Sequence[Any], pullback: Callable[[list[Any]], Sequence[Any]]
) -> list[Any]:
    """Return arrays with these values whose derivative with respect to `inputs` is what `pullback` says.

    Args:
        name: what the second-order guard calls it: the derivative of what `pullback` returns is lost to Jittor.
        values: floating-point arrays; their history is cut.
        inputs: floating-point arrays.
        pullback: from one cotangent for each value, detached, to one for each input. It is called while Jittor takes a
            derivative, once; what it raises reaches whoever asked for that.
    """
    function = _function_class(name)()
    function.values, function.pullback = [arrays.detach(value) for value in values], pullback
    found: list[Any] = function(*inputs)
    return found


@cache
def _function_class(name: str) -> Any:
    """A `jt.Function` by that name, one for all calls: a class is a reference cycle, and would hold its values."""
    import jittor

    def execute(self: Any, *_: Any) -> list[Any]:
        return [arrays.detach(value) for value in self.values]

    def grad(self: Any, *given: Any) -> list[Any]:
        cotangents = [arrays.zeros_like(v) if g is None else arrays.detach(g) for g, v in zip(given, self.values)]
        # Cotangents are constants, whatever surrounds the derivative that is being taken: kernels may compute them.
        with evaluating(guard="off", differentiated=False):
            return [arrays.detach(cotangent) for cotangent in self.pullback(cotangents)]

    module, _, short = name.rpartition(".")
    members = {"execute": execute, "grad": grad, "__module__": module or __name__, "__qualname__": short}
    return type(short, (jittor.Function,), members)
