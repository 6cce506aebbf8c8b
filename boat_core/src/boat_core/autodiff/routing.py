"""Replaces operators that Jittor computes or differentiates imprecisely, while an objective is evaluated.

- Matrix products, convolutions, pooling, cross-entropy and activations, as users write them, go to operators that can
  be differentiated to every order (`boat_core.autodiff.operators`). `native=False` leaves them with Jittor.
- Operands meet without loss (`boat_core.autodiff.operands`). Jittor would round a number or a numpy array beside a
  float64 array to float32, compute `uint8 / 255.0` in float16, and hand on float64 cotangents to float32 arrays. Also
  outside an objective, arrays of different dtypes have a matrix product: Jittor's compiler fails on it.
- The derivative of `erf` and `erfinv`, in which Jittor has float32 constants, is right in float64
  (`boat_core.autodiff.error_functions`).
- `mean` of a float64 array becomes a sum times an exact 1/n. Jittor's gradient would round 1/n to float32 (a relative
  error of 3e-8).
- A sum, mean, product, max or min of one number is that number. Jittor's compiler fails on some of them.
- A sum or mean of many float32 numbers is made in float64, also where it is the derivative of something repeated.
- The derivative of a product at zeros is right, and that of max and min at ties is a subgradient
  (`boat_core.autodiff.reductions`).
- A numpy function that reads an array of which a derivative is being taken (`np.exp(y)`) is an error: the derivative
  would lack what goes through it.
- A numpy array in the other byte order, as files hold it, becomes one in the order of this machine. Jittor would read
  it as other numbers. A masked array is an error, since Jittor would take the masked entries for numbers.

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
from . import derivatives, error_functions, meetings, reductions
from .arrays import constant, native_order, refuse_mask
from .backend import jt
from .captured import derivative_of, refuse
from .operators.overrides import OVERRIDES
from .switches import MODE


@cache
def install() -> None:
    """Put the wrappers into Jittor, once.

    A function that was imported from Jittor before (`from jittor.nn import relu`) escapes them, so the import hook
    calls this at once.
    """
    import jittor

    # Before the others: what those wrap must accept arrays in either byte order too.
    for path in filter(_exists, _TAKE_NUMPY):
        _replace(path, _readable(attrgetter(path)(jittor)))
    for path, replacement in OVERRIDES.items():
        _replace(path, _native(attrgetter(path)(jittor), replacement))
    for holder in (jittor, jittor.Var):
        for name in ("sum", "reduce_add", "mean"):
            if hasattr(holder, name):
                setattr(holder, name, _exact_sum(getattr(holder, name)))
        for names, replacement in _REDUCTIONS.items():
            for name in names:
                if hasattr(holder, name):
                    setattr(holder, name, _exact_reduction(getattr(holder, name), replacement))
        holder.reduce = _exact_reduce(holder.reduce)
    jittor.grad = _exact_gradient(jittor.grad)
    jittor.mean = _exact_mean(jittor.mean)
    jittor.Var.mean = _exact_mean(jittor.Var.mean)
    for name in ("erf", "erfinv"):
        for path in (name, f"Var.{name}"):
            _replace(path, _corrected(attrgetter(path)(jittor), getattr(error_functions, name)))
    jittor.Var.__array__ = _read_by_numpy(jittor.Var.__array__)
    # After the others: what those replace receives operands that have met.
    for table in meetings.TABLES:
        for path, wrap in table.items():
            if _exists(path):
                _replace(path, wrap(attrgetter(path)(jittor)))


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


#: Functions of Jittor, besides those whose operands meet, that take numpy arrays.
_TAKE_NUMPY = ("array", "Var.__getitem__")


def _exists(path: str) -> bool:
    import jittor

    owner, _, name = path.rpartition(".")
    return hasattr(attrgetter(owner)(jittor) if owner else jittor, name)


def _read_by_numpy(read: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse that numpy reads an array on which a derivative depends; `.numpy()` says that none is wanted."""

    @wraps(read)
    def routed(array: Any, dtype: Any = None, **keywords: Any) -> Any:
        if MODE.get().differentiated and (place := derivative_of(array)) is not None:
            raise ObjectiveError(
                f"numpy reads an array that depends on {place}; the derivative of what it makes of it would be lost",
                hint="call Jittor's function, jt.exp for np.exp and jt.stack for np.array, or array.numpy() where the"
                " array is a constant",
            )
        values = read(array)
        return values if dtype is None else values.astype(dtype)

    return routed


def _readable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have the function read numpy arrays in its arguments as the numbers that they hold."""
    import numpy as np

    @wraps(function)
    def routed(*args: Any, **keywords: Any) -> Any:
        for value in args:
            if isinstance(value, np.ndarray) and _foreign(value):
                args = tuple(map(_own_order, args))
                break
        return function(*args, **keywords)

    return routed


def _foreign(value: Any) -> bool:
    """Whether Jittor would misread a numpy array within an objective."""
    import numpy as np

    return (not value.dtype.isnative or isinstance(value, np.ma.MaskedArray)) and MODE.get().exact


def _own_order(value: Any) -> Any:
    """Return a numpy array in the byte order of this machine, and anything else as it is."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        return value
    refuse_mask(value, "a constant in an objective")
    return native_order(value)


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


def _corrected(function: Callable[..., Any], correction: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def routed(x: Any) -> Any:
        return correction(function, x)

    return routed


#: The names that Jittor has for a reduction, and what takes their place.
_REDUCTIONS: dict[tuple[str, ...], Callable[..., Any]] = {
    ("prod", "product", "reduce_multiply"): reductions.product,
    ("max", "min", "reduce_maximum", "reduce_minimum"): reductions.extremum,
}


def _exact_sum(reduce: Callable[..., Any]) -> Callable[..., Any]:
    # Sums are in every objective, so what Jittor does right is passed on at once.
    @wraps(reduce)
    def routed(x: Any, *args: Any, **keywords: Any) -> Any:
        if isinstance(x, jt.Var) and not 1 < x.numel() < reductions.MANY and MODE.get().exact:
            return reductions.accurate(reduce, x, *args, **keywords)
        return reduce(x, *args, **keywords)

    return routed


def _exact_reduction(reduce: Callable[..., Any], replacement: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(reduce)
    def routed(*args: Any, **keywords: Any) -> Any:
        # Jittor's softmax and its kin subtract a maximum. Its derivative cancels there, so no tie matters.
        if MODE.get().exact and sys._getframe(1).f_globals.get("__name__") != "jittor.nn":
            return replacement(reduce, *args, **keywords)
        return reduce(*args, **keywords)

    return routed


def _exact_reduce(reduce: Callable[..., Any]) -> Callable[..., Any]:
    by_operator = {
        "add": reductions.accurate,
        "mean": lambda reduce, x, *args, **keywords: jt.Var.mean(x, *args, **keywords),
        "multiply": reductions.product,
        "maximum": reductions.extremum,
        "minimum": reductions.extremum,
    }

    @wraps(reduce)
    def routed(x: Any, op: Any, *args: Any, **keywords: Any) -> Any:
        replacement = by_operator.get(op) if MODE.get().exact else None
        if replacement is None:
            return reduce(x, op, *args, **keywords)
        return replacement(lambda y, *rest, **named: reduce(y, op, *rest, **named), x, *args, **keywords)

    return routed


def _exact_gradient(grad: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(grad)
    def routed(loss: Any, targets: Any, retain_graph: bool = True) -> Any:
        if not MODE.get().exact or not retain_graph or not isinstance(loss, jt.Var):
            if isinstance(loss, jt.Var):
                refuse(loss, [targets] if isinstance(targets, jt.Var) else list(targets))
            return grad(loss, targets, retain_graph)
        if isinstance(targets, jt.Var):
            return derivatives.differentiable_gradient(grad, loss, [targets])[0]
        return derivatives.differentiable_gradient(grad, loss, list(targets))

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
