"""Where operands meet: the functions of Jittor whose arguments `boat_core.autodiff.operands` brings together.

Each table maps a path from `jittor` to the function that wraps what lies there. The wrappers act inside objectives.
Those of products and convolutions act everywhere, because Jittor's compiler fails on mixed dtypes, or ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any

from ..errors import ObjectiveError
from . import operands
from .arrays import WIDTHS, Array, number
from .backend import jt
from .step_numbers import StepNumber, entering
from .switches import MODE

Function = Callable[..., Any]
Table = dict[str, Callable[[Function], Function]]

_INT32 = 2**31


def _operator(function: Function, exponent: bool = False, divided: bool = False) -> Function:
    """Wrap a method such as `Var.__add__`, which objectives call most. What Jittor does right is passed on at once."""
    Var = jt.Var
    # A small integer is exact. But beside one float64 number, Jittor would choose the integer's width.
    compared = function.__name__.strip("_") in ("lt", "le", "gt", "ge", "eq", "ne")

    @wraps(function)
    def routed(x: Any, other: Any) -> Any:
        if type(x) is Var:
            kind = type(other)
            if kind is Var:
                dtype = x.dtype
                if dtype == other.dtype and dtype.is_float():
                    return function(x, other)
            elif kind is float:
                if str(x.dtype) == "float32":
                    return function(x, other)
            elif kind is int and -_INT32 <= other < _INT32:
                own = str(x.dtype)
                right = compared or (exponent and (other == 2 or x.numel() != 1))
                if own == "float32" or (own == "float64" and right):
                    return function(x, other)
            elif kind is StepNumber:
                return routed(x, entering(other))
        if MODE.get().exact:
            x, other = operands.meet(x, other, exponent, divided)
        return function(x, other)

    return routed


def _binary(function: Function, exponent: bool = False, divided: bool = False) -> Function:
    @wraps(function)
    def routed(*args: Any, **keywords: Any) -> Any:
        if len(args) > 1 and MODE.get().exact:
            args = (*operands.meet(args[0], args[1], exponent, divided), *args[2:])
        return function(*args, **keywords)

    return routed


def _division(function: Function) -> Function:
    return _operator(function, divided=True)


def _power(function: Function) -> Function:
    return _operator(function, exponent=True)


def _floor_division(function: Function) -> Function:
    """Jittor divides integers here: `y // 0.1` divides by zero, which ends the process."""

    @wraps(function)
    def routed(x: Any, other: Any) -> Any:
        if not MODE.get().exact:
            return function(x, other)
        x, other = operands.meet(x, other)
        if any(str(one.dtype) in WIDTHS for one in (x, other) if isinstance(one, jt.Var)):
            quotient = other / x if function.__name__ == "__rfloordiv__" else x / other
            return quotient.floor()
        return function(x, other)

    return routed


def _modulus(function: Function) -> Function:
    """Wrap `x % y`: Jittor's derivative with respect to y leaves out the cotangent, and float64 has no kernel for some.

    For floating-point numbers x % y = x - ⌊x / y⌋ y.
    """

    @wraps(function)
    def routed(x: Any, other: Any) -> Any:
        if not MODE.get().exact:
            return function(x, other)
        x, other = operands.meet(x, other)
        both = [one for one in (x, other) if isinstance(one, jt.Var)]
        if not any(str(one.dtype) in WIDTHS for one in both):
            return function(x, other)
        number, divisor = (other, x) if function.__name__ == "__rmod__" else (x, other)
        return number - (number / divisor).floor() * divisor

    return routed


def _in_place(function: Function) -> Function:
    """Wrap a method such as `Var.__iadd__`: the array keeps its dtype."""

    @wraps(function)
    def routed(x: Any, other: Any) -> Any:
        return function(x, operands.like(other, x) if MODE.get().exact else other)

    return routed


def _choice(function: Function) -> Function:
    """Wrap `ternary(condition, yes, no)` and its kin, and `where(condition)`, which chooses nothing."""

    @wraps(function)
    def routed(*args: Any, **keywords: Any) -> Any:
        if len(args) > 2 and MODE.get().exact:
            args = (*operands.of_one_shape(args[0], *operands.meet(args[1], args[2])), *args[3:])
        return function(*args, **keywords)

    return routed


def _writing(function: Function) -> Function:
    """Wrap `setitem(x, slices, value)`, which `concat` and `stack` consist of.

    An array of one number goes there as a copy. Jittor's setitem adds an input to the operator that made its value, and
    with that input, the kernel that writes a number has another key, which lacks the dtype as well
    (`boat_core.runtime.float64`).
    """

    @wraps(function)
    def routed(x: Any, slices: Any, value: Any, *rest: Any) -> Any:
        if MODE.get().exact:
            value = operands.like(value, x)
            if isinstance(value, jt.Var) and value.numel() == 1:
                value = value.clone()
        return function(x, slices, value, *rest)

    return routed


def _of_one(change: Callable[[Array], Array]) -> Callable[[Function], Function]:
    """Wrap a function of one array, which first goes through `change` where it holds integers."""

    def wrapped(function: Function) -> Function:
        Var = jt.Var

        @wraps(function)
        def routed(x: Any, *args: Any, **keywords: Any) -> Any:
            if type(x) is Var and not x.dtype.is_float() and MODE.get().exact:
                x = change(x)
            return function(x, *args, **keywords)

        return routed

    return wrapped


def _real(function: Function) -> Function:
    """Wrap a function of floating-point numbers, such as `sqrt`, that is given an array, integers or a number."""

    Var = jt.Var

    @wraps(function)
    def routed(x: Any, *args: Any, **keywords: Any) -> Any:
        if type(x) is Var:
            if not x.dtype.is_float() and MODE.get().exact:
                x = operands.floating(x)
        elif isinstance(x, (int, float)) and MODE.get().exact:
            x = number(x, MODE.get().real).stop_grad()
        return function(x, *args, **keywords)

    return routed


def _joined(function: Function) -> Function:
    """Wrap `concat(arrays, …)`: floating-point arrays are joined in the widest of their dtypes."""

    @wraps(function)
    def routed(arrays: Any, *args: Any, **keywords: Any) -> Any:
        if MODE.get().exact and isinstance(arrays, (list, tuple)) and all(isinstance(one, jt.Var) for one in arrays):
            floats = {str(one.dtype) for one in arrays} & WIDTHS.keys()
            if len(floats) > 1:
                arrays = operands.alike(*arrays)
        return function(arrays, *args, **keywords)

    return routed


def _number(function: Function) -> Function:
    """Wrap `unary(number, dtype)`, by which Jittor makes `full` and `full_like`: no number is rounded to float32."""

    @wraps(function)
    def routed(x: Any, op: Any = "float64", *args: Any, **keywords: Any) -> Any:
        if isinstance(x, (int, float)) and str(op) == "float64" and MODE.get().exact:
            return number(x, "float64")
        return function(x, op, *args, **keywords)

    return routed


def _cast_number(function: Function) -> Function:
    """Wrap `jt.float64(number)`."""

    @wraps(function)
    def routed(x: Any) -> Any:
        return number(x, "float64") if isinstance(x, (int, float)) and MODE.get().exact else function(x)

    return routed


def _array(function: Function) -> Function:
    """Wrap `jt.array(data)`: a float64 objective keeps float64 numbers, which Jittor would round to float32."""

    @wraps(function)
    def routed(data: Any, dtype: Any = None) -> Any:
        if dtype is None and not isinstance(data, jt.Var) and (mode := MODE.get()).exact and mode.real == "float64":
            dtype = "float64" if _is_double(data) else None
        return function(data, dtype)

    return routed


def _is_double(data: Any) -> bool:
    import numpy as np

    if isinstance(data, (list, tuple)):
        return not any(isinstance(one, jt.Var) for one in data) and _is_double(np.asarray(data))
    return isinstance(data, float) or (isinstance(data, np.ndarray) and data.dtype.name == "float64")


def _full(function: Function) -> Function:
    """Wrap `full(shape, value)`: without a dtype, the number keeps its digits in a float64 objective."""

    @wraps(function)
    def routed(shape: Any, val: Any, *dtype: Any, **keywords: Any) -> Any:
        if not dtype and not keywords and isinstance(val, float) and (mode := MODE.get()).exact:
            dtype = (mode.real,)
        return function(shape, val, *dtype, **keywords)

    return routed


def _float32_only(function: Function) -> Function:
    """Wrap `execute` of a function that Jittor computes in float32, whatever the dtype of the result."""

    @wraps(function)
    def routed(self: Any, x: Any, *args: Any) -> Any:
        if isinstance(x, jt.Var) and str(x.dtype) == "float64" and MODE.get().exact:
            name = type(self).__name__
            raise ObjectiveError(
                where=name,
                expected="a float32 array, since Jittor computes it in float32 alone",
                got="float64",
                hint=f"write {name}.apply(x.float32(), …) if seven digits are enough",
            )
        return function(self, x, *args)

    return routed


def _pool(execute: Function) -> Function:
    """Wrap pooling by Jittor: an average over windows that are cut off is a product with a count rounded to float32."""

    @wraps(execute)
    def routed(layer: Any, x: Any) -> Any:
        mode = MODE.get()
        double = isinstance(x, jt.Var) and str(x.dtype) == "float64"
        if double and mode.exact and mode.operators is None and layer.op == "mean" and layer.ceil_mode:
            sums = object.__new__(type(layer))
            vars(sums).update(vars(layer), op="add")
            size = prod(layer.kernel_size) if layer.count_include_pad else execute(sums, jt.ones_like(x))
            return execute(sums, x) / size
        return execute(layer, x)

    return routed


def _range(function: Function) -> Function:
    """Wrap `arange(…, dtype)`: Jittor computes it in float32 and casts the result."""

    @wraps(function)
    def routed(*args: Any, **keywords: Any) -> Any:
        import numpy as np

        values = function(*args, **keywords)
        if str(values.dtype) != "float64" or not MODE.get().exact:
            return values
        named = dict(zip(("start", "end", "step", "dtype"), args)) | keywords
        start, end, step = (named.get(name, default) for name, default in (("start", 0), ("end", None), ("step", 1)))
        start, step = (0 if end is None else start), step
        exact = np.arange(values.numel()) * np.float64(_float(step)) + _float(start)
        return jt.array(exact, dtype="float64")

    return routed


def _float(value: Any) -> float:
    return float(value.numpy().ravel()[0]) if isinstance(value, jt.Var) else float(value)


def _product(count: int) -> Callable[[Function], Function]:
    """Wrap a function that multiplies its first `count` arguments with each other."""

    def wrapped(function: Function) -> Function:
        Var = jt.Var

        @wraps(function)
        def routed(*args: Any, **keywords: Any) -> Any:
            if len(args) == 2 and type(args[0]) is type(args[1]) is Var:
                dtype = args[0].dtype
                if dtype == args[1].dtype and dtype.is_float():
                    return function(*args, **keywords)
            return function(*operands.alike(*args[:count]), *args[count:], **keywords)

        return routed

    return wrapped


def _layer(execute: Function) -> Function:
    """Wrap `execute` of a layer that multiplies its argument with its weight and adds its bias."""

    @wraps(execute)
    def routed(layer: Any, x: Any) -> Any:
        parts = x, layer.weight, layer.bias
        x, weight, bias = operands.alike(*parts)
        if weight is parts[1] and bias is parts[2]:
            return execute(layer, x)
        twin = object.__new__(type(layer))
        vars(twin).update(vars(layer), weight=weight, bias=bias)
        return execute(twin, x)

    return routed


def _paths(*names: str) -> list[str]:
    return [path for name in names for path in (name, f"Var.{name}")]


_FLOAT_FUNCTIONS = (
    *("log", "exp", "sqrt", "sin", "asin", "arcsin", "sinh", "asinh", "arcsinh", "tan", "atan", "arctan", "tanh"),
    *("atanh", "arctanh", "cos", "acos", "arccos", "cosh", "acosh", "arccosh", "sigmoid", "erf", "erfinv", "mean"),
)
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")

OPERATORS: Table = {
    **{f"Var.__{side}{name}__": _operator for name in ("add", "sub", "mul") for side in ("", "r")},
    **{f"Var.__{side}truediv__": _division for side in ("", "r")},
    **{f"Var.__{side}floordiv__": _floor_division for side in ("", "r")},
    **{f"Var.__{side}mod__": _modulus for side in ("", "r")},
    **{f"Var.__i{name}__": _in_place for name in ("add", "sub", "mul", "truediv", "pow", "mod")},
    **{f"Var.__{name}__": _operator for name in ("lt", "le", "gt", "ge", "eq", "ne", "rpow")},
    "Var.__pow__": _power,
    "Var.__neg__": _of_one(operands.counted),
    "Var.__abs__": _of_one(operands.counted),
    "Var.__setitem__": _writing,
}

FUNCTIONS: Table = {
    **dict.fromkeys(_paths("add", "sub", "subtract", "mul", "multiply", "maximum", "minimum"), _binary),
    **dict.fromkeys(_paths("divide", "div"), lambda function: _binary(function, divided=True)),
    **dict.fromkeys(_paths("floor_divide"), _floor_division),
    **dict.fromkeys(_paths("mod"), _modulus),
    **dict.fromkeys(_paths("binary", *_COMPARISONS), _binary),
    **dict.fromkeys(_paths("ternary", "ternary_out_hint", "where"), _choice),
    **dict.fromkeys(_paths("setitem"), _writing),
    **dict.fromkeys(("concat",), _joined),
    **dict.fromkeys(("unary",), _number),
    **dict.fromkeys(("float64", "double"), _cast_number),
    **dict.fromkeys(("arange",), _range),
    **dict.fromkeys(("array",), _array),
    **dict.fromkeys(("full",), _full),
    **dict.fromkeys(("digamma.execute", "math_util.gamma.polygamma.execute"), _float32_only),
    **dict.fromkeys(("pool.Pool.execute", "pool.Pool3d.execute"), _pool),
    **dict.fromkeys(_paths(*_FLOAT_FUNCTIONS), _real),
    **dict.fromkeys(("nn.softmax", "misc.safe_log"), _real),
    **dict.fromkeys(
        _paths("negative", "abs", "sum", "reduce_add", "prod", "product", "reduce_multiply"), _of_one(operands.counted)
    ),
}

PRODUCTS: Table = {
    **dict.fromkeys(("nn.matmul", "nn.matmul_transpose", "nn.bmm_transpose"), _product(2)),
    **dict.fromkeys(("nn.conv2d", "nn.conv3d", "nn.conv_transpose", "nn.conv_transpose3d"), _product(3)),
    **dict.fromkeys(("nn.Conv.execute", "nn.ConvTranspose.execute"), _layer),
}

TABLES = (OPERATORS, FUNCTIONS, PRODUCTS)
