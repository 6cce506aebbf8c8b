"""Schedules: functions of the step, counted from 0. A hyperparameter that varies accepts one.

    constant       v
    polynomial     e + (v - e) (1 - τ)^p                τ = min(max(t - begin, 0), steps) / steps
    exponential    v · d^((t - begin) / steps)          v before step `begin`; staircase: the exponent is rounded down
    cosine         e + (v - e) (1 + cos πτ) / 2         τ = min(t, steps) / steps
    warmup         a line from `start` to `then` at 0 over `steps` steps; afterwards `then` at t - steps
    piecewise      v · the product of the factors of all boundaries b <= t

Values may be arrays, such as upper variables, and a schedule is differentiable in them. Sources: optax's schedules of
these names; cosine: Loshchilov and Hutter, ICLR 2017, arXiv 1608.03983; warm-up: Goyal et al. 2017, arXiv 1706.02677.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .._util.integers import as_integer
from ..autodiff.evaluation import exact_numbers
from ..declare.options import option, read_options
from ..errors import Keys, OptionError, as_keys, suggestion


class Schedule(Protocol):
    """A function from the number of a step to the value of a hyperparameter."""

    def __call__(self, count: int) -> Any:
        """Return the value at step `count` >= 0. It is an array if the schedule was made from one, else a number."""


@dataclass(frozen=True)
class Constant:
    value: float = option(varies=True, doc="v, the value at every step")

    def at(self, t: int) -> Any:
        return self.value


@dataclass(frozen=True)
class Polynomial:
    initial: float = option(varies=True, doc="v, the initial value")
    end: float = option(varies=True, doc="e, the final value")
    steps: int = option(ge=1, doc="steps from the initial to the final value")
    power: float = option(1.0, gt=0, doc="p; 1 is a line")
    begin: int = option(0, ge=0, doc="steps before the value begins to change")

    def at(self, t: int) -> Any:
        tau = min(max(t - self.begin, 0), self.steps) / self.steps
        return self.end + (self.initial - self.end) * (1 - tau) ** self.power


@dataclass(frozen=True)
class Exponential:
    initial: float = option(varies=True, doc="v, the initial value")
    decay: float = option(gt=0, varies=True, doc="d, the factor over `steps` steps")
    steps: int = option(1, ge=1, doc="steps in which the value changes by one factor")
    begin: int = option(0, ge=0, doc="steps before the value begins to change")
    staircase: bool = option(False, doc="change the value only every `steps` steps")

    def at(self, t: int) -> Any:
        exponent = max(t - self.begin, 0) / self.steps
        return self.initial * self.decay ** float(math.floor(exponent) if self.staircase else exponent)


@dataclass(frozen=True)
class Cosine:
    initial: float = option(varies=True, doc="v, the initial value")
    steps: int = option(ge=1, doc="steps to the final value")
    end: float = option(0.0, varies=True, doc="e, the final value")

    def at(self, t: int) -> Any:
        return self.end + (self.initial - self.end) * (0.5 * (1 + math.cos(math.pi * min(t, self.steps) / self.steps)))


@dataclass(frozen=True)
class Warmup:
    steps: int = option(ge=1, doc="steps of the warm-up")
    then: float = option(varies=True, doc="the value or the schedule after the warm-up")
    start: float = option(0.0, varies=True, doc="the initial value")

    def at(self, t: int) -> Any:
        then = self.then if callable(self.then) else lambda t: self.then
        return then(t - self.steps) if t >= self.steps else self.start + (then(0) - self.start) * (t / self.steps)


@dataclass(frozen=True)
class Piecewise:
    initial: float = option(varies=True, doc="v, the initial value")
    factors: dict[Any, Any] = option(doc="a mapping from a step to the factor from that step on")

    def __post_init__(self) -> None:
        for step, factor in self.factors.items():
            number = as_integer(step)
            if number is None or number < 1 or not isinstance(factor, numbers.Real) or not math.isfinite(factor):
                got = f"{step!r}: {factor!r}"
                raise OptionError(where="factors", expected="steps >= 1 with numbers", got=got)

    def at(self, t: int) -> Any:
        return self.initial * math.prod(float(factor) for step, factor in self.factors.items() if step <= t)


_KINDS: dict[str, type] = {
    "constant": Constant,
    "polynomial": Polynomial,
    "exponential": Exponential,
    "cosine": Cosine,
    "warmup": Warmup,
    "piecewise": Piecewise,
}


def _maker(name: str) -> Callable[..., Schedule]:
    kind = _KINDS[name]
    signature = inspect.signature(kind)

    def make(*values: Any, **named: Any) -> Schedule:
        return read_schedule(name, signature.bind(*values, **named).arguments, f"{name}_schedule")

    make.__signature__ = signature.replace(return_annotation="Schedule")  # type: ignore[attr-defined]
    make.__name__ = make.__qualname__ = f"{name}_schedule"
    make.__doc__ = f"The schedule `{name}`: see `boat_core.optimizers.schedules`. Raises `OptionError`."
    return make


def read_schedule(name: str, options: Mapping[str, Any], where: Keys) -> Schedule:
    """Return the schedule of that name; errors place its options under the keys `where`.

    Raises:
        OptionError: unknown (with the nearest), or an option is missing or out of its range.
    """
    if name not in _KINDS:
        raise OptionError(f"no schedule {name!r}", where=where, hint=suggestion(str(name), _KINDS))
    for key, value in options.items():
        if key != "then" and callable(value) and not hasattr(value, "dtype"):
            raise OptionError(where=(*as_keys(where), key), expected="a number or an array", got="a function")
    return _Schedule(read_options(_KINDS[name], options, where), where)


@dataclass(frozen=True, eq=False)
class _Schedule:
    """A schedule as an object, so that it can be pickled.

    Args:
        curve: one of the kinds above.
        where: the place that errors name.
    """

    curve: Any
    where: Keys

    def __call__(self, count: int) -> Any:
        number = as_integer(count)
        if number is None or number < 0:
            raise OptionError(where=self.where, expected="a step >= 0", got=repr(count))
        with exact_numbers():
            return self.curve.at(number)


def describe_schedules() -> list[tuple[str, type]]:
    """Return the name and the options of every schedule."""
    return list(_KINDS.items())


constant_schedule = _maker("constant")
polynomial_schedule = _maker("polynomial")
exponential_schedule = _maker("exponential")
cosine_schedule = _maker("cosine")
warmup_schedule = _maker("warmup")
piecewise_schedule = _maker("piecewise")
