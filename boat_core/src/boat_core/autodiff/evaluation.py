"""The one door to an objective: the only place that switches how functions of users and packs are evaluated.

    with evaluating(native=True, guard="error", differentiated=True):
        value = function(x, y, batch)

Whatever calls an objective, a step, a rule or a condition enters this block. A place that forgets one of the switches
returns wrong derivatives without an error, so no place sets them by hand: a test reads the sources and checks that
    nobody else switches. Programs will be recorded at this door and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from ..errors import OptionError, suggestion
from . import guard as second_order
from . import routing
from .arrays import Array
from .backend import jt
from .operands import real_dtype
from .operators import library
from .switches import MODE, Mode


class evaluating:
    """Set the switches for a block. A switch that is None keeps its position; the innermost block counts.

    Args:
        native: route operators, see `boat_core.autodiff.routing`. True sends them to BOAT's own where those can be
            had. False leaves them with Jittor, and keeps numbers beside float64 arrays exact. An object that holds
            operators, as the library does, stands in for the library.
        guard: what an operator that Jittor does not differentiate twice leads to: "error", "warn" or "off".
        differentiated: whether a derivative will be taken of what is computed in the block. Then a kernel is an error.
        kernels: whether kernels are used where they can be had.
        derivatives: whether derivatives can be taken in the block even within the caller's `jt.no_grad()`, where Jittor
            would silently return zeros. This holds for arrays made inside the block; see `arrays.attached` for those
            made before. False leaves Jittor's switch as it is, for code that takes no derivative itself.
        point: the arrays at which the function is evaluated. Where all floating-point ones are float64, numbers that
            meet no array are float64 too.
        wrt: what the derivative will be taken with respect to, besides what a block around this one names: pairs of a
            name for messages and a pytree (or a `Vector`, or a function that returns a pytree). If `differentiated` is
            False, no derivative passes through the block, and nothing counts.

    Raises:
        OptionError: `guard` is not one of the three words.
    """

    # A class with slots, not a generator: the door is entered several times in every lower step.
    __slots__ = ("_changes", "_derivatives", "_no_grad", "_token", "_wrt")

    def __init__(
        self,
        *,
        native: Any = None,
        guard: str | None = None,
        differentiated: bool | None = None,
        kernels: bool | None = None,
        derivatives: bool = True,
        point: Iterable[Array] | None = None,
        wrt: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        if guard is not None and guard not in second_order.MODES:
            raise OptionError(
                where="second_order_guard",
                expected=f"one of {', '.join(second_order.MODES)}",
                got=repr(guard),
                hint=suggestion(str(guard), second_order.MODES),
            )
        real = None if point is None else real_dtype(point)
        self._changes = native, guard, differentiated, kernels, real
        self._derivatives, self._wrt = derivatives, wrt

    def __enter__(self) -> None:
        native, guard, differentiated, kernels, real = self._changes
        exact, operators, guard_before, differentiated_before, kernels_before, real_before, wrt = MODE.get()
        if native is not None:
            # Routing puts its wrappers into Jittor at the first need; the first need may be here.
            routing.install()
            exact, operators = True, library.operators() if native is True else native or None
        if guard is None:
            guard = guard_before
        elif guard != "off":
            second_order.install(_unguarded)
        if differentiated is None:
            differentiated = differentiated_before
        elif not differentiated:
            wrt = ()
        if kernels is None:
            kernels = kernels_before
        # `Mode(...)` itself takes twice as long: a NamedTuple's constructor is a Python function.
        real = real_before if real is None else real
        mode = tuple.__new__(Mode, (exact, operators, guard, differentiated, kernels, real, wrt + self._wrt))
        self._token = MODE.set(mode)
        self._no_grad = self._derivatives and jt.flags.no_grad
        if self._no_grad:
            jt.flags.no_grad = 0

    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None:
        if self._no_grad:
            jt.flags.no_grad = self._no_grad
        MODE.reset(self._token)


def exact_numbers() -> evaluating:
    """For a block of our own formulas: Python numbers beside float64 arrays are not rounded to float32.

    Jittor's `no_grad` stays as the caller set it: whoever steps an optimizer within it wants no graph.
    """
    return evaluating(native=False, derivatives=False)


def _unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function` run with the guard off: Jittor differentiates what it computes as one operator."""

    @wraps(function)
    def unguarded(*args: Any, **keywords: Any) -> Any:
        with evaluating(guard="off", derivatives=False):
            return function(*args, **keywords)

    return unguarded
