"""Replaces operators that Jittor computes or differentiates imprecisely, while an objective is evaluated.

- Matrix products, convolutions, pooling, cross-entropy and activations, as users write them, go to operators that can
  be differentiated to every order (`boat_core.autodiff.operators`). `native=False` leaves them with Jittor.
- A Python number beside a float64 array becomes a float64 array first. Jittor would round the number to float32, and
  would return `0.1 * x` in float32 if x has the shape (1,).
- `mean` of a float64 array becomes a sum times an exact 1/n. Jittor's gradient would round 1/n to float32 (a relative
  error of 3e-8).

Outside an objective nothing changes. The wrappers stay in Jittor for the life of the process and read a context
variable at each call: objectives call Jittor's functions by their names, so a replacement has to be found under those
    names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from operator import attrgetter
from types import FunctionType
from typing import Any

from ..errors import ObjectiveError
from .arrays import constant
from .backend import jt
from .operators.overrides import OVERRIDES
from .switches import MODE


@cache
def install() -> None:
    """Put the wrappers into Jittor, once.

    A function that was imported from Jittor before (`from jittor.nn import relu`) escapes them, so the import hook
    calls this at once.
    """
    import jittor

    for path, replacement in OVERRIDES.items():
        _replace(path, _native(attrgetter(path)(jittor), replacement))
    for name in ("add", "sub", "mul", "truediv"):
        for method in (f"__{name}__", f"__r{name}__"):
            setattr(jittor.Var, method, _exact_number(getattr(jittor.Var, method)))
    # Integers stay as they are: x**2 has a kernel of its own, which is exact.
    jittor.Var.__pow__ = _exact_number(jittor.Var.__pow__, kinds=(float,))
    jittor.mean = _exact_mean(jittor.mean)
    jittor.Var.mean = _exact_mean(jittor.Var.mean)


def _replace(path: str, routed: Callable[..., Any]) -> None:
    """Put `routed` wherever Jittor holds the function that it wraps.

    Jittor knows some functions by several names, and makes modules such as `nn.ReLU` of a function, which then sits in
    the closure of `execute`.
    """
    import jittor

    original = routed.__wrapped__  # type: ignore[attr-defined]
    owner, _, name = path.rpartition(".")
    setattr(attrgetter(owner)(jittor) if owner else jittor, name, routed)
    if not isinstance(original, FunctionType):
        return
    modules = [module for key, module in sys.modules.items() if key.split(".")[0] == "jittor"]
    for holder in (*modules, jittor.Var):
        for key, value in list(vars(holder).items()):
            if value is original:
                setattr(holder, key, routed)
            execute = vars(value).get("execute") if isinstance(value, type) else None
            for cell in getattr(execute, "__closure__", None) or ():
                if execute is not routed and cell.cell_contents is original:
                    cell.cell_contents = routed


def _native(original: Callable[..., Any], replacement: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def routed(*args: Any, **keywords: Any) -> Any:
        ops = MODE.get().operators
        if ops is not None:
            result = replacement(ops, *args, **keywords)
            if result is not NotImplemented:
                return result
        return original(*args, **keywords)

    return routed


def _routed(x: Any) -> bool:
    return MODE.get().exact and isinstance(x, jt.Var) and str(x.dtype) == "float64"


def _exact_number(operator: Callable[..., Any], kinds: tuple[type, ...] = (int, float)) -> Callable[..., Any]:
    @wraps(operator)
    def routed(x: Any, other: Any) -> Any:
        if type(other) in kinds and _routed(x):
            other = constant(other, x)
        return operator(x, other)

    return routed


def _exact_mean(mean: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(mean)
    def routed(x: Any, *args: Any, **keywords: Any) -> Any:
        if MODE.get().exact and isinstance(x, jt.Var) and not x.numel():
            got = f"an array of shape {list(x.shape)}"
            raise ObjectiveError(where="mean", expected="at least one entry", got=got, hint="is a batch empty?")
        if not _routed(x):
            return mean(x, *args, **keywords)
        total = x.sum(*args, **keywords)
        return total * constant(total.numel() / x.numel(), total)

    return routed
