"""How an objective is being evaluated: the switches that routing, the guard and kernels read.

Only `boat_core.autodiff.evaluation` sets them.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple


class Mode(NamedTuple):
    """The position of every switch; the defaults are those outside of BOAT.

    Attributes:
        exact: whether float64 arrays meet Python numbers exactly, see `boat_core.autodiff.routing`.
        operators: the library to which the usual spellings of an operator go; None leaves them with Jittor.
        guard: what an operator that Jittor does not differentiate twice leads to: "off", "warn" or "error".
        differentiated: whether a derivative will be taken of what is computed; then a kernel is an error.
        kernels: whether kernels are used where they can be had; if not, their plain operators are.
        real: the dtype of numbers that meet no floating-point array, see `boat_core.autodiff.operands`.
        wrt: what derivatives are being taken with respect to, see `boat_core.autodiff.captured`.
    """

    exact: bool = False
    operators: Any = None
    guard: str = "off"
    differentiated: bool = False
    kernels: bool = True
    real: str = "float32"
    wrt: tuple[tuple[str, Any], ...] = ()


# One variable for all switches: entering the door costs one `set`, and a reader never sees half of a change.
MODE: ContextVar[Mode] = ContextVar("boat_mode", default=Mode())  # noqa: B039 - a NamedTuple cannot change
