"""The settings of a solver, declared once: `Solver` takes them as arguments, a configuration as keys of `solver`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ..autodiff.memory import DEFAULT_ALLOWED, Memory
from ..declare.options import option


@dataclass(frozen=True, kw_only=True)
class SolverSettings:
    """How a solver works, whichever operations it is composed of.

    Raises:
        OptionError: a value is of the wrong type or out of its range.
    """

    lower_steps: int = option(ge=1, doc="lower steps T of one outer step")
    start: str | None = option(
        None,
        choices=("warm", "cold", "upper"),
        doc="where each lower trajectory starts; warm unless an operation insists",
    )
    lower_state: str = option("fresh", choices=("fresh", "carry"), doc="the lower optimizer's state across outer steps")
    segment: int | str = option(
        "auto", ge=1, doc="steps whose graph the pullback keeps; or all, sqrt (checkpoints), auto (by memory)"
    )
    memory: int | str = option(DEFAULT_ALLOWED, ge=0, doc="bytes that segment auto may fill, such as 256 MiB")
    strict: bool = option(False, doc="a doubtful number is an error")
    second_order_guard: str = option(
        "error", choices=("off", "warn", "error"), doc="what an operator with wrong second derivatives leads to"
    )
    operators: str = option(
        "native",
        choices=("native", "plain"),
        doc="inside the objectives: operators of our own that differentiate to every order, or Jittor's",
    )
    kernels: str = option("auto", choices=("auto", "plain"), doc="the packs' kernels where they can be had, or none")
    engine: str = option(
        "auto", choices=("auto", "plain"), doc="programs of the lower steps where they are valid, or none"
    )
    check: str = option(
        "none", choices=("none", "replay"), doc="replay: compute the first and last step of a program in both ways"
    )
    on_nonfinite: str = option("error", choices=("error", "report"), doc="what a NaN or an infinity leads to")

    def __post_init__(self) -> None:
        Memory(self.segment, self.memory)


def with_settings(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a method that takes `**settings`, with the settings written out in their place."""
    (_, *arguments, _) = inspect.signature(function).parameters.values()
    settings = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(SolverSettings)
    ]
    return inspect.Signature([*arguments, *settings])
