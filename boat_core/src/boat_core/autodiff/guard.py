"""Refuses second derivatives through operators that Jittor does not differentiate twice.

The gradient of a `jt.code` operator is another opaque operator. The gradient of a `jt.Function` sees inputs without
their history. A second derivative through either loses terms without an error: through `nn.max_pool2d` it is 60 % off.
Comparing numbers cannot detect this, because in float32 the central differences of a *right* ReLU network are as far
off. The guard therefore looks at the structure: while it is on, each such operator must be vouched for with
`twice_differentiable`.

Hardly any of Jittor's own operators is, see `VERIFIED`. `jt.linalg` and, on a CPU, `jt.cumsum` use `jt.numpy_code`, and
a second derivative through that ends the process with a segmentation fault. `safe_clip` is guarded as well: Jittor
differentiates it by a straight-through estimate. Everything built of ordinary operators is right, among it
`nn.AdaptiveMaxPool2d`, sorting, interpolation, convolutions, LSTM and GRU. Pooling in an objective is right too: it
goes to an operator of BOAT (`boat_core.autodiff.operators`) and never reaches the guard.

Operators that carry no derivative pass: those whose outputs are all integers, booleans or constants, and (for `jt.code`
and `jt.numpy_code`) those whose inputs are.

While the guard is off nothing changes. The wrappers stay in Jittor and read a context variable at each call.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, wraps
from pkgutil import resolve_name
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar
from weakref import WeakSet

from ..errors import OptionError, SecondOrderError, SecondOrderWarning
from .arrays import float_kind
from .backend import jt
from .switches import MODE

MODES = ("off", "warn", "error")
# Jittor's operators that are right, each tried in test_guard.py. (`unique` uses the result of jt.code only as indices.)
VERIFIED = ("jittor.misc.unique",)

_LOST = "Jittor does not differentiate its gradient in full, so a second derivative would silently be wrong"
_WRONG = "its derivative is an estimate by design, so first and second derivatives would silently be wrong"
_CRASH = "Jittor cannot differentiate its gradient, a second derivative would end the process"
_POOL = (
    "solver.operators: native has it right; without, for max pooling use nn.AdaptiveMaxPool{0}d or a max over a "
    "reshaped array, for average pooling leave ceil_mode off"
)
_MATRIX = "use matmul and elementwise operators, or numpy outside the objective if the matrix is constant"
# What to use instead, by the start of the operator's name. test_guard.py shows that each replacement is right.
_INSTEAD = {
    "jittor.pool.Pool.": _POOL.format(2),
    "jittor.pool.Pool3d.": _POOL.format(3),
    "jittor.safe_clip": "use jt.clamp",  # jt.safe_log and jittor.distributions come here too
    "jittor.misc.numpy_cumsum": "multiply by a triangular matrix of ones",
    "jittor.linalg.": _MATRIX,
}
_DEFAULT = (
    "write it with ordinary operators, or, if its second derivative is right, vouch for it with "
    "boat_core.twice_differentiable"
)

T = TypeVar("T")
_classes: WeakSet[type] = WeakSet()
# The keys are identities, because the code objects of different functions can be equal.
_bodies: dict[int, CodeType] = {}


def twice_differentiable(operator: T) -> T:
    """Vouch for a `jt.Function` subclass, or for a function that calls one or `jt.code`. Return it unchanged.

    Vouching for a function covers everything that it calls. Vouching for a class covers that class, not its subclasses.
    A Function is right only if its `grad` is made of differentiable operators *and* uses the inputs with their history.
    The arguments of `execute` have none, so `self.x = x` there loses a term. Pass the inputs to `__init__` as well:

        @twice_differentiable
        class Cube(jt.Function):
            def __init__(self, x): self.x = x
            def execute(self, x): return x * x * x
            def grad(self, g): return 3.0 * self.x * self.x * g

        y = Cube(x)(x)

    `boat_core.testing.assert_twice_differentiable` is the test that earns the decorator.

    Raises:
        OptionError: `operator` is neither.
    """
    if isinstance(operator, type):
        if not issubclass(operator, jt.Function):
            raise OptionError(
                f"twice_differentiable: expected a subclass of jt.Function or a function (got class "
                f"{operator.__qualname__}); for a Module decorate its execute"
            )
        _classes.add(operator)
        return operator
    # All functions with the same decorator share the body of its wrapper, so only the innermost body identifies one.
    body = inspect.unwrap(operator) if callable(operator) else operator
    body = getattr(body, "__func__", body)
    if not isinstance(body, FunctionType):
        raise OptionError(
            f"twice_differentiable: expected a subclass of jt.Function or a Python function (got {operator!r})"
        )
    _bodies[id(body.__code__)] = body.__code__
    return operator


@cache
def install(unguarded: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put the wrappers into Jittor, once.

    Args:
        unguarded: wraps a function so that it runs with the guard off.
    """
    import jittor

    for name in VERIFIED:
        twice_differentiable(resolve_name(name))
    for module in (jittor, jittor.core.ops):
        module.code = _guarded(module.code)
        module.numpy_code = _guarded(module.numpy_code, why=_CRASH)
        module.safe_clip = _guarded(module.safe_clip, "jittor.safe_clip", _WRONG)
    jittor.Var.safe_clip = _guarded(jittor.Var.safe_clip, "jittor.safe_clip", _WRONG)
    if getattr(jittor, "cudnn", None):  # nn.LSTM, GRU and RNN on a GPU
        jittor.cudnn.ops.cudnn_rnn = _guarded(jittor.cudnn.ops.cudnn_rnn)
    jittor.Function.__call__ = _guarded_function(jittor.Function.__call__, unguarded)
    jittor.Function._grad = unguarded(jittor.Function._grad)


def _guarded(operator: Callable[..., Any], name: str = "", why: str = _LOST) -> Callable[..., Any]:
    """Guard an operator.

    Args:
        operator: the function of Jittor that makes it.
        name: its name in messages; by default that of the Python function that calls it, as for `jt.code`.
        why: what goes wrong.
    """

    @wraps(operator)
    def guarded(*args: Any, **keywords: Any) -> Any:
        result = operator(*args, **keywords)
        if MODE.get().guard != "off" and _differentiable((args, keywords)) and _differentiable(result):
            caller = sys._getframe(1)
            if not _vouched(caller):
                _report(name or _name(caller), why, caller)
        return result

    return guarded


def _guarded_function(
    call: Callable[..., Any], unguarded: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    call_unguarded = unguarded(call)

    @wraps(call)
    def guarded(self: Any, *args: Any, **keywords: Any) -> Any:
        if MODE.get().guard == "off":
            return call(self, *args, **keywords)
        # Jittor differentiates the Function as one operator, so the operators inside it do not matter.
        result = call_unguarded(self, *args, **keywords)
        kind = type(self)
        caller = sys._getframe(1)
        if kind not in _classes and _differentiable(result) and not _vouched(caller):
            _report(f"{kind.__module__}.{kind.__qualname__}", _LOST, caller)
        return result

    return guarded


def _differentiable(values: Any) -> bool:
    """Whether a derivative can pass through any of the arrays in these arguments."""
    if isinstance(values, jt.Var):
        return float_kind(values) and not values.is_stop_grad()
    if isinstance(values, dict):
        values = values.values()
    return isinstance(values, Iterable) and not isinstance(values, str) and any(map(_differentiable, values))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _vouched(caller: FrameType) -> bool:
    return any(id(frame.f_code) in _bodies for frame in _frames(caller))


def _name(frame: FrameType) -> str:
    name = frame.f_code.co_name
    for kind in type(frame.f_locals.get("self")).__mro__:
        if getattr(inspect.unwrap(vars(kind).get(name, frame)), "__code__", None) is frame.f_code:
            name = f"{kind.__qualname__}.{name}"
    return f"{frame.f_globals.get('__name__')}.{name}"


def _report(name: str, why: str, caller: FrameType) -> None:
    instead = next((text for start, text in _INSTEAD.items() if name.startswith(start)), _DEFAULT)
    message = (
        f"{name}: {why}; {instead} (solvers of first order need no second derivatives; "
        "solver.second_order_guard: warn or off lets it pass)"
    )
    if MODE.get().guard == "error":
        raise SecondOrderError(message)
    level = 3  # the caller of the operator; the loop goes outwards to the line of the user
    for frame in _frames(caller):
        if not str(frame.f_globals.get("__name__")).startswith(("jittor", "boat_core.autodiff.")):
            break
        level += 1
    warnings.warn(message, SecondOrderWarning, stacklevel=level)
