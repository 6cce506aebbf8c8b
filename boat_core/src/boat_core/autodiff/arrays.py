"""Jittor arrays: conversion with the dtype kept, detaching, and arithmetic that does not round to float32."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import StructureError
from ..runtime.errors import RuntimeSetupError
from ..runtime.float64 import is_sound
from .backend import jt
from .operators import library
from .step_numbers import entering

if TYPE_CHECKING:
    import numpy as np

#: The floating-point dtypes, by their width.
WIDTHS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}
#: A Jittor array, or what stands in for one; Jittor has no types to check.
Array = Any


def is_jittor(value: Any) -> bool:
    """Whether `value` is a Jittor array."""
    return isinstance(value, jt.Var)


def is_array(leaf: Any) -> bool:
    """Whether `leaf` is a Jittor or numpy array (numpy scalars count)."""
    import numpy as np

    return isinstance(leaf, (jt.Var, np.ndarray, np.generic))


def as_array(leaf: Any, where: str = "array") -> Any:
    """Return `leaf` as a Jittor array of the very same dtype.

    `jt.array` alone would turn float64 into float32 and int64 into int32, and read arrays in the other byte order as
    other numbers. Jittor has no arrays of rank 0, so the shape () becomes (1,).

    Raises:
        StructureError: the leaf is not a numeric array or number, has a mask, or has a dtype that Jittor lacks.
        RuntimeSetupError: the leaf is float64, and Jittor was used before BOAT could make it safe for float64.
    """
    import numpy as np

    if isinstance(leaf, jt.Var):
        require_sound(str(leaf.dtype), where)
        return leaf
    refuse_mask(leaf, where)
    values = np.asarray(leaf)
    if values.dtype.names:
        fields = ", ".join(map(repr, values.dtype.names))
        raise StructureError(
            f"{where}: expected a numeric array (got a structured array with the fields {fields}); "
            f"take one field of it, such as array[{values.dtype.names[0]!r}]"
        )
    if values.dtype.kind not in "fiub":
        raise StructureError(f"{where}: expected a numeric array (got {type(leaf).__name__} of dtype {values.dtype})")
    values = native_order(values)
    if values.dtype.itemsize > 8:
        raise StructureError(f"{where}: Jittor has no dtype {values.dtype}; expected float64 or smaller")
    require_sound(str(values.dtype), where)
    # A copy, because Jittor may use the memory of its argument, and a change of one array must not change the other.
    return jt.array(np.array(values, order="C"), dtype=str(values.dtype))


def refuse_mask(leaf: Any, where: str) -> None:
    """Refuse a masked array of numpy: Jittor has no masks, and would take the masked entries for numbers."""
    import numpy as np

    if isinstance(leaf, np.ma.MaskedArray):
        raise StructureError(
            f"{where}: expected an array without a mask (got a masked array); "
            "fill it with array.filled(value), or take array.compressed()"
        )


def native_order(values: np.ndarray) -> np.ndarray:
    """Return the same numbers in the byte order of this machine, in which Jittor reads them."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def dtype_name(array: Array) -> str:
    """Return the name of an array's dtype, such as "float32". The byte order of a numpy array does not show in it."""
    return str(array.dtype) if isinstance(array, jt.Var) else str(array.dtype.name)


def require_sound(dtype: str, where: str) -> None:
    """Refuse float64 in a process in which Jittor computes it wrongly, see `boat_core.runtime.float64`."""
    if dtype == "float64" and not is_sound():
        raise RuntimeSetupError(
            f"{where}: Jittor was used in float32 before BOAT was imported, and would now compute float64 wrongly. "
            "Import boat_core before jittor."
        )


def to_numpy(array: Array) -> np.ndarray:
    """Return the values as a numpy array with memory of its own."""
    import numpy as np

    if isinstance(array, jt.Var):
        return np.array(array.numpy())
    refuse_mask(array, "array")
    return native_order(np.array(array))


def detach(array: Array) -> Any:
    """Return the same values without their history."""
    return array.detach()


def attached(array: Array) -> Any:
    """Return an array of which derivatives can be taken: the very same, or a copy if it was made in `jt.no_grad()`.

    Jittor marks what is made there, and takes every derivative with respect to it as zero, also later. Such an array
    has no history, so the copy loses nothing. It is made where `no_grad` is off (`boat_core.autodiff.evaluation`), or
    it is marked as well.
    """
    return array.detach() if array.is_stop_grad() else array


def sync(arrays: Iterable[Any]) -> None:
    """Compute arrays now, so that errors appear here and their graph is freed."""
    jt.sync(list(arrays))


def bytes_of(arrays: Iterable[Any]) -> int:
    """Return the bytes that the values of arrays take, computed or not."""
    import numpy as np

    return sum(array.numel() * np.dtype(str(array.dtype)).itemsize for array in arrays)


def graph_bytes(arrays: Iterable[Any]) -> int:
    """Return the bytes that the graph behind computed arrays holds, without its leaves; 0 without the operators."""
    operators = library.operators()
    return int(operators.graph_bytes(list(arrays))) if operators is not None else 0


def constant(value: float, like: Array) -> Any:
    """Return a number as an array of shape (1,) in the dtype of `like`.

    Jittor rounds a Python number in an expression to float32, even beside float64 arrays (a relative error of 1e-8).
    """
    return number(value, str(like.dtype))


def number(value: float, dtype: str) -> Any:
    """Return a number as an array of shape (1,) in a dtype of Jittor, rounded once."""
    import numpy as np

    value = entering(value)
    if dtype == "bfloat16":  # numpy has no such dtype
        return jt.array(np.array([value], dtype="float32"), dtype="float32").cast(dtype)
    return jt.array(np.array([value], dtype=dtype), dtype=dtype)


def cast(array: Array, dtype: str) -> Any:
    """Return the array in another dtype; the very same if it has it. Its cotangent is cast back."""
    return array if str(array.dtype) == dtype else array.cast(dtype)


def as_dtype_of(array: Array, like: Any) -> Any:
    """Return a floating-point array of Jittor in the dtype of `like`, if that is one too; anything else as it is."""
    both = is_jittor(array) and is_array(like) and float_kind(like) and float_kind(array)
    return cast(array, dtype_name(like)) if both else array


def narrowed(array: Array, like: Array) -> Any:
    """Return an array in the dtype of `like`, if its own is a wider floating-point one; any other array as it is.

    Where float64 meets float32 in a function of the user, the result is float64. A narrower one has lost digits.
    """
    wider = _width(array) > _width(like) > 0
    return cast(array, dtype_name(like)) if wider else array


def _width(array: Any) -> int:
    return WIDTHS.get(dtype_name(array), 0) if is_array(array) else 0


def scaled(factor: Any, array: Array) -> Any:
    """Return factor · array in the dtype of the array. The factor is an array or a number, not rounded to float32."""
    if isinstance(factor, (int, float)):
        factor = entering(factor)
        if factor == 1:
            return array
        if str(array.dtype) == "float64":
            return array * constant(factor, array)
    elif isinstance(factor, jt.Var):
        factor = cast(factor, str(array.dtype))
    return array * factor


def scalar(value: Any) -> float:
    """Return the one number in `value`, computing it now. (Jittor's own `item` rounds float64 to float32.)"""
    return float(to_numpy(value).reshape(-1)[0])


def zeros_like(array: Array) -> Any:
    """Return zeros of the same shape and dtype."""
    return jt.zeros(array.shape, dtype=str(array.dtype))


def safe_sqrt(array: Array) -> Any:
    """Square root of a non-negative array whose derivatives at 0 are 0 instead of infinite.

    Otherwise the infinite derivative of √ at 0, times the zero that usually follows, is NaN. Every optimizer and norm
    meets that case.
    """
    positive = array > constant(0.0, array)
    inside = jt.ternary(positive, array, jt.ones_like(array))
    return jt.ternary(positive, jt.sqrt(inside), jt.zeros_like(array))


def select(condition: Any, yes: Array, no: Array, like: Array) -> Any:
    """Return `yes` where the condition holds, else `no`; numbers become arrays in the dtype of `like`.

    The other branch gets the cotangent 0, so its derivatives must be finite as well. If the condition is a bool, one
    branch is returned as it is.
    """
    if isinstance(condition, bool):
        return yes if condition else no
    yes, no = (constant(value, like) if isinstance(value, (int, float)) else value for value in (yes, no))
    return jt.ternary(condition, yes, no)


def sign(array: Array) -> Any:
    """Return -1, 0 or 1 for each entry, and NaN for NaN. The derivative is 0 everywhere."""
    # In kernels compiled with fast-math a comparison loses NaN, and a quotient keeps it.
    fixed = detach(array)
    return jt.round(fixed / jt.maximum(fixed.abs(), constant(1e-30, fixed)))


def mapped(function: str, array: Array) -> Any:
    """Map an unconstrained array to a hyperparameter in its range, by the function of that name."""
    return {"identity": lambda a: a, "exp": jt.exp, "sigmoid": jt.sigmoid, "softplus": jt.nn.softplus}[function](array)


def float_kind(array: Array) -> bool:
    """Whether the array has a floating-point dtype, so that it can be differentiated."""
    name = dtype_name(array)
    return name.startswith("float") or name == "bfloat16"


def clamped(array: Array, low: Any, high: Any) -> Any:
    """Return the array with every entry clamped to [low, high].

    A NaN stays NaN, and an infinity becomes NaN: in place of a bound it would look like a result.

    Args:
        array: the array.
        low, high: the bounds, each a number, an array, or None for no bound.
    """
    known = sign(array)
    if low is not None:
        array = jt.maximum(array, limit(low, array))
    if high is not None:
        array = jt.minimum(array, limit(high, array))
    # A factor of 1 or NaN, written so that fast-math can neither drop it nor round by it.
    return array * jt.round(known.abs() * constant(0.25, known) + constant(1.0, known))


def limit(bound: Any, like: Array) -> Any:
    """Return a bound, a number or an array, as a Jittor array in the dtype of `like`."""
    if is_jittor(bound):
        return bound if str(bound.dtype) == str(like.dtype) else bound.cast(str(like.dtype))
    if is_array(bound):
        return as_array(bound.astype(str(like.dtype)))
    return constant(bound, like)


def all_finite(array: Array) -> bool:
    """Whether no entry is NaN or infinite. Numpy tests it, since Jittor's kernels are compiled with fast-math."""
    import numpy as np

    return bool(np.isfinite(array.numpy() if isinstance(array, jt.Var) else array).all())
