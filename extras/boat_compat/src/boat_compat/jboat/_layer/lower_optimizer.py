"""A Jittor optimizer as one of BOAT's, through whose steps derivatives pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boat_core as boat
from boat_core import Optimizer

from .source import Source

#: The settings that Jittor's optimizers read from a parameter group, or else from themselves.
SETTINGS = {
    "SGD": ("lr", "momentum", "weight_decay", "dampening", "nesterov"),
    "Adam": ("lr", "eps", "betas", "weight_decay"),
    "AdamW": ("lr", "eps", "betas", "weight_decay"),
    "RMSprop": ("lr", "eps", "alpha"),
    "Adan": ("lr", "eps", "betas", "weight_decay", "max_grad_norm"),
    "Optimizer": ("lr",),
}


@dataclass(frozen=True)
class Hyperparameters:
    """What a Jittor optimizer does to a list of arrays.

    Args:
        kind: the name of its class in jittor.optim.
        groups: the settings of each array, in the order of the arrays.
    """

    kind: str
    groups: tuple[tuple[tuple[str, Any], ...], ...]

    @property
    def rates(self) -> list[float]:
        """The step size of each array."""
        return [dict(group)["lr"] for group in self.groups]

    @property
    def plain(self) -> bool:
        """Whether a step is y - η g with one η."""
        return self.kind in ("SGD", "Optimizer") and len(set(self.groups)) == 1 and not self._extras

    @property
    def _extras(self) -> bool:
        return any(value for name, value in self.groups[0] if name in ("momentum", "weight_decay"))

    def with_rate(self, rate: float) -> Hyperparameters:
        """Return the same with another step size for all arrays."""
        groups = tuple(tuple((n, rate if n == "lr" else v) for n, v in group) for group in self.groups)
        return Hyperparameters(self.kind, groups)

    def __str__(self) -> str:
        settings = dict(self.groups[0])
        shown = [f"{name}={value}" for name, value in settings.items() if value or name == "lr"]
        return f"{self.kind}({', '.join(shown)})" + (" and other groups" if len(set(self.groups)) > 1 else "")


def read_optimizer(source: Source, key: str, arrays: Sequence[Any]) -> Hyperparameters:
    """Return what the optimizer at a key does now. Schedulers change it from one iteration to the next.

    Raises:
        ConfigError: it is no optimizer of Jittor's, of a class that BOAT has no counterpart for, or it does not move
            one of the arrays.
    """
    import jittor

    optimizer = require_optimizer(source, key)
    kind = _kind(jittor.optim, optimizer)
    if kind is None:
        valid = ", ".join(f"jittor.optim.{name}" for name in SETTINGS)
        expected = f"one of {valid}: derivatives pass through the steps of the lower optimizer"
        raise source.error(key, expected=expected, got=type(optimizer).__name__)
    places = {id(array): group for group in optimizer.param_groups for array in group["params"]}
    groups = []
    for place, array in enumerate(arrays):
        if id(array) not in places:
            variables = key.replace("_opt", "_var")
            expected = f"an optimizer of all arrays of {variables}"
            raise source.error(key, expected=expected, got=f"none of its groups holds trainable array {place}")
        group = places[id(array)]
        values = {name: group.get(name, getattr(optimizer, name, 0)) for name in SETTINGS[kind]}
        groups.append(tuple((name, _plain_value(source, key, name, value)) for name, value in values.items()))
    return Hyperparameters(kind, tuple(groups))


def require_optimizer(source: Source, key: str) -> Any:
    """Return the optimizer at a key, or raise `ConfigError`."""
    import jittor

    optimizer = source.require(key, "a Jittor optimizer such as jittor.nn.SGD(model.parameters(), lr=0.1)")
    if not isinstance(optimizer, jittor.optim.Optimizer):
        raise source.error(key, expected="a Jittor optimizer", got=type(optimizer).__name__)
    return optimizer


def _kind(optim: Any, optimizer: Any) -> str | None:
    """Return the name of the class of jittor.optim whose step this optimizer takes."""
    for name in SETTINGS:
        if type(optimizer).step is getattr(optim, name).step:
            return name
    return None


def _plain_value(source: Source, key: str, name: str, value: Any) -> Any:
    values = tuple(value) if isinstance(value, (list, tuple)) else value
    for number in values if isinstance(values, tuple) else (values,):
        if not isinstance(number, (int, float)):
            raise source.error((key, name), expected="a number", got=repr(value))
    return values if isinstance(values, (tuple, bool)) else float(values)


def as_boat_optimizer(source: Source, key: str, settings: Hyperparameters, arrays: Sequence[Any]) -> Optimizer:
    """Return BOAT's optimizer that takes the same steps.

    Raises:
        ConfigError: a setting has no counterpart.
    """
    if settings.kind == "SGD":
        for group in settings.groups:
            if dict(group)["nesterov"] and dict(group)["dampening"]:
                raise source.error(key, "nesterov goes with dampening 0")
        if len({dict(group)["nesterov"] for group in settings.groups}) > 1:
            raise source.error(key, "nesterov must be the same in all parameter groups")
    if settings.kind == "Adan" and any(dict(group)["max_grad_norm"] for group in settings.groups):
        raise source.error(key, "max_grad_norm has no counterpart in a lower optimizer; use 0")
    by_array = [_OPTIONS[settings.kind](dict(group)) for group in settings.groups]
    options = {name: _joined([one[name] for one in by_array], arrays) for name in by_array[0]}
    try:
        return _build(settings.kind, options)
    except boat.OptionError as error:
        raise source.relocated(error, key) from None


def boat_options(settings: Hyperparameters) -> tuple[str, dict[str, Any], float]:
    """Return the name and the options of BOAT's optimizer for the first array, and a weight decay before it."""
    options = _OPTIONS[settings.kind](dict(settings.groups[0]))
    decay = options.pop("l2", 0.0)
    return _NAMES[settings.kind], options, decay


def _joined(values: list[Any], arrays: Sequence[Any]) -> Any:
    """Return one value where all arrays have the same, else a list with an array for each."""
    import numpy

    if all(value == values[0] for value in values):
        return values[0]
    return [numpy.array([value], dtype=str(array.dtype)) for value, array in zip(values, arrays)]


def _build(kind: str, options: Mapping[str, Any]) -> Optimizer:
    make: Callable[..., Optimizer] = getattr(boat, _NAMES[kind])
    decay = options.get("l2", 0.0)
    own = {name: value for name, value in options.items() if name != "l2"}
    if isinstance(decay, float) and not decay:
        return make(**own)
    return boat.chain(boat.add_weight_decay(decay), make(**own))


_NAMES = {
    "SGD": "sgd",
    "Optimizer": "sgd",
    "Adam": "adam",
    "AdamW": "adamw",
    "RMSprop": "rmsprop",
    "Adan": "adan",
}
#: From the settings of one group to the options of BOAT's optimizer. `l2` is a weight decay before the optimizer.
_OPTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # v = μ v + (1 - d) g is (1 - d) times v = μ v + g.
    "SGD": lambda s: {
        "rate": s["lr"] * (1 - s["dampening"]),
        "momentum": s["momentum"],
        "nesterov": bool(s["nesterov"]),
        "weight_decay": s["weight_decay"],
    },
    "Optimizer": lambda s: {"rate": s["lr"]},
    "Adam": lambda s: {**_adam(s), "l2": s["weight_decay"]},
    "AdamW": lambda s: {**_adam(s), "weight_decay": s["weight_decay"]},
    # Jittor adds ε to √v, ours adds its ε to v: √(v + ε²) is differentiable at 0 and between √v and √v + ε.
    "RMSprop": lambda s: {"rate": s["lr"], "decay": s["alpha"], "epsilon": s["eps"] ** 2},
    "Adan": lambda s: {
        "rate": s["lr"],
        **{f"beta{n + 1}": beta for n, beta in enumerate(s["betas"])},
        "epsilon": s["eps"],
        "weight_decay": s["weight_decay"],
    },
}


def _adam(settings: dict[str, Any]) -> dict[str, Any]:
    beta1, beta2 = settings["betas"]
    return {"rate": settings["lr"], "beta1": beta1, "beta2": beta2, "epsilon": settings["eps"]}
