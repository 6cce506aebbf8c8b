"""Brings the operands of an operator together: which dtype they take, so that nothing is rounded or wraps around.

- A number, a list or a numpy array beside a floating-point array takes that array's dtype. Jittor would round it to
  float32, and 64-bit integers to int32.
- Two floating-point arrays meet in the wider of their dtypes. The other one is cast, so that its cotangent is cast
  back to its dtype on the way back.
- Integers of fewer than 32 bits count as int32, so that 200 + 100 is 300 in uint8 too. Beside a floating-point number
  they become float32, and float64 in a float64 objective or if they have 64 bits. Jittor would compute `uint8 / 255.0`
  in float16.

Each rule is a pure function of the operands. `boat_core.autodiff.routing` applies them inside objectives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .arrays import WIDTHS, Array, cast, constant, native_order, refuse_mask
from .backend import jt
from .switches import MODE

#: Integer dtypes in which Jittor's arithmetic wraps around or turns to float16, and those that take their place.
_COUNTED = dict.fromkeys(("bool", "int8", "uint8", "int16", "uint16"), "int32") | {"uint32": "int64"}
_LONG = ("int64", "uint64", "uint32")
_INT32 = 2**31


def meet(x: Any, y: Any, exponent: bool = False, divided: bool = False) -> tuple[Any, Any]:
    """Return the two operands of an operator in dtypes in which Jittor computes them without loss.

    Args:
        x, y: the operands. At least one is a Jittor array; if neither is, they are returned as they are.
        exponent: whether y is an exponent. A small integer stays one, since Jittor has an exact kernel for x**2.
        divided: whether the operator is a division, whose result is a floating-point number also for integers.
    """
    if not isinstance(y, jt.Var):
        if not isinstance(x, jt.Var):
            return x, y
        x, y = _beside(x, y, exponent)
    elif not isinstance(x, jt.Var):
        y, x = _beside(y, x, False)
    if divided:
        x, y = (floating(one) if isinstance(one, jt.Var) else one for one in (x, y))
    if isinstance(x, jt.Var) and isinstance(y, jt.Var):
        return _together(x, y)
    if divided and not isinstance(x, jt.Var):
        return constant(x, y), y
    return x, y


def real_dtype(point: Iterable[Array]) -> str:
    """Return float64 if all floating-point arrays are float64 (and there is one), else float32."""
    names = {str(array.dtype) for array in point} & WIDTHS.keys()
    return "float64" if names == {"float64"} else "float32"


def of_one_shape(condition: Any, yes: Any, no: Any) -> tuple[Any, Any, Any]:
    """Return a condition and what it chooses from, in one shape if one of them is empty.

    Jittor broadcasts an empty array and a number without end, until the process dies.
    """
    import numpy as np

    arrays = [one for one in (condition, yes, no) if isinstance(one, jt.Var)]
    if all(one.numel() for one in arrays):
        return condition, yes, no
    shape = np.broadcast_shapes(*(tuple(one.shape) for one in arrays))
    like = next((one for one in (yes, no) if isinstance(one, jt.Var)), condition)
    filled = [one if isinstance(one, jt.Var) else constant(one, like) for one in (condition, yes, no)]
    spread = [one if tuple(one.shape) == shape else one.broadcast(shape) for one in filled]
    return spread[0], spread[1], spread[2]


def common_dtype(arrays: Sequence[Array]) -> str:
    """Return the dtype in which arrays are multiplied: the widest floating-point one, else one for integers."""
    names = [str(array.dtype) for array in arrays]
    floats = {name for name in names if name in WIDTHS}
    if floats:
        widest = max(floats, key=WIDTHS.__getitem__)
        return "float32" if WIDTHS[widest] == 16 and len(floats) > 1 else widest
    return "int64" if any(name in _LONG for name in names) else "int32"


def alike(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays in one dtype, see `common_dtype`; those that have it, and whatever is no array, as they are."""
    given = [array for array in arrays if isinstance(array, jt.Var)]
    if given and any(type(array).__module__ == "numpy" for array in arrays):
        arrays = tuple(array if array is None else _beside(given[0], array, False)[1] for array in arrays)
        given = [array for array in arrays if isinstance(array, jt.Var)]
    names = {str(array.dtype) for array in given}
    if len(names) == 1 and names.isdisjoint(_COUNTED):
        return arrays
    dtype = common_dtype(given)
    return tuple(cast(array, dtype) if isinstance(array, jt.Var) else array for array in arrays)


def counted(array: Array) -> Array:
    """Return an array of small integers as int32, and any other as it is."""
    dtype = _COUNTED.get(str(array.dtype))
    return array if dtype is None else array.cast(dtype)


def floating(array: Array) -> Array:
    """Return an array of integers as one of floating-point numbers, and any other as it is.

    Jittor's functions make float16 of small integers.
    """
    own = str(array.dtype)
    return array if own in WIDTHS else array.cast("float64" if own in _LONG else MODE.get().real)


def like(value: Any, array: Array) -> Any:
    """Return what is to be written into an array, in the dtype of that array; what is no number as it is."""
    if not isinstance(value, jt.Var):
        value = _beside(array, value, False)[1]
    floats = isinstance(value, jt.Var) and str(value.dtype) in WIDTHS and str(array.dtype) in WIDTHS
    return cast(value, str(array.dtype)) if floats else value


def _beside(array: Array, value: Any, exponent: bool) -> tuple[Array, Any]:
    """Return an array, and what is no Jittor array beside it, in dtypes that can meet."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _beside_number(array, value, exponent)
    if isinstance(value, (list, tuple)) and not any(isinstance(one, jt.Var) for one in value):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
        return array, value
    refuse_mask(value, "a constant in an objective")
    own = str(array.dtype)
    dtype = own if own in WIDTHS else str(native_order(value).dtype)
    values = value.astype("float32" if dtype == "bfloat16" else dtype, order="C")
    return array, cast(jt.array(values, dtype=str(values.dtype)), dtype)


def _beside_number(array: Array, value: float, exponent: bool) -> tuple[Array, Any]:
    own, small = str(array.dtype), isinstance(value, int) and -_INT32 <= value < _INT32
    if own in WIDTHS:
        # Jittor is right about numbers in float32, squares, and small exponents. But it rounds the derivative of the
        # cube of one number to float32. For 16 bits it compiles some.
        power = exponent and own == "float64" and small and (value == 2 or array.numel() != 1)
        right = small or isinstance(value, float) if own == "float32" else power
        return array, value if right else constant(value, array)
    if isinstance(value, float):
        array = array.cast("float64" if own in _LONG else MODE.get().real)
        return array, constant(value, array)
    if small:
        return counted(array), value
    array = array.cast("int64")
    return array, constant(value, array)


def _together(x: Array, y: Array) -> tuple[Array, Array]:
    first, second = str(x.dtype), str(y.dtype)
    if first in WIDTHS and second in WIDTHS:
        if first == second:
            return x, y
        dtype = common_dtype((x, y))
        return cast(x, dtype), cast(y, dtype)
    if first in WIDTHS:
        return _float_and_integer(x, y)
    if second in WIDTHS:
        y, x = _float_and_integer(y, x)
        return x, y
    if first == second == "bool":
        return x, y
    return counted(x), counted(y)


def _float_and_integer(x: Array, n: Array) -> tuple[Array, Array]:
    # Left as they are, Jittor would give a result or a derivative the width of the integers: it takes arrays of one
    # entry, and what was repeated from one, for numbers, which have no say in a dtype. A cotangent often is such a one.
    own = "float64" if str(n.dtype) in _LONG and n.numel() != 1 else str(x.dtype)
    return cast(x, own), n.cast(own)
