"""Optimizers as configurations name them.

lower_optimizer: sgd                                               where no option is required
lower_optimizer: {name: adam, rate: 0.01}
lower_optimizer: [{name: clip_by_norm, norm: 1}, {name: sgd, rate: 0.1}]            a chain
lower_optimizer: {name: sgd, rate: {schedule: cosine, initial: 0.1, steps: 100}}
lower_optimizer: {name: sgd, rate: {upper: log_rate, through: exp}}     the entry `log_rate` of the upper variables
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..declare.named import OptimizerDeclaration
from ..declare.options import check_option, read_options
from ..errors import ConfigError, OptionError, shown, suggestion
from ..plugins.registry import Registry
from .schema import Config

if TYPE_CHECKING:
    from ..optimizers.base import Optimizer

#: Functions that keep a hyperparameter in its range, by name.
THROUGH = ("identity", "exp", "sigmoid", "softplus")


@dataclass(frozen=True)
class FromUpper:
    """A hyperparameter that is an entry of x, or a function of one."""

    path: tuple[Any, ...]
    through: str

    def __call__(self, x: Any) -> Any:
        """Return its value at x. Raises `OptionError` if x has no such entry."""
        from ..autodiff import arrays

        value = x
        for place, key in enumerate(self.path):
            known = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            if key not in known:
                where = ".".join(map(str, self.path[:place])) or "the upper variables"
                raise OptionError(f"no entry {key!r} in {where}", hint=suggestion(str(key), map(str, known)))
            value = value[key]
        return arrays.mapped(self.through, value)


@dataclass(frozen=True)
class Part:
    """One optimizer or transform of a chain: its key in the configuration, its declaration, and its options, read."""

    key: str
    declaration: OptimizerDeclaration
    options: Any

    def build(self, x: Any) -> Optimizer:
        """Return the optimizer at x, which may hold some of its hyperparameters."""
        options = self.options
        for name, value in self.taken.items():
            try:
                number = check_option(type(options), name, value(x), ())
            except OptionError as error:
                raise error.within(self.key, name) from None
            options = dataclasses.replace(options, **{name: number})
        optimizer: Optimizer = self.declaration.build(options)
        return optimizer

    @property
    def values(self) -> dict[str, Any]:
        """The options by name."""
        return {field.name: getattr(self.options, field.name) for field in dataclasses.fields(self.options)}

    @property
    def taken(self) -> dict[str, FromUpper]:
        """The options that are upper variables."""
        return {name: value for name, value in self.values.items() if isinstance(value, FromUpper)}


def parts_of(config: Config, registry: Registry, level: str) -> list[Part]:
    """Read the `lower` or `upper` optimizer; nothing is built.

    Raises:
        ConfigError: unknown optimizer, schedule (with the nearest) or option, or one out of range; with its line.
    """
    parts = []
    for key, name, options in config.solver.optimizer_parts(level):
        name_key = f"{key}.name" if f"{key}.name" in config.source.places else key
        try:
            declaration = registry.optimizer(name)
        except ConfigError as error:
            raise config.located(error, name_key) from None
        try:
            values = {option: _value(value, (option,), level) for option, value in options.items()}
            parts.append(Part(key, declaration, read_options(declaration.options, values, ())))
        except OptionError as error:
            raise config.located(error, key) from None
    return parts


def build_optimizer(parts: Sequence[Part]) -> Optimizer | Callable[[Any], Optimizer]:
    """Return the optimizer of these parts, or a function of x, where hyperparameters are upper variables."""

    def build(x: Any) -> Optimizer:
        from ..optimizers.transforms import chain

        built = [part.build(x) for part in parts]
        return built[0] if len(built) == 1 else chain(*built)

    return build if any(part.taken for part in parts) else build(None)


def _value(value: Any, where: tuple[str, ...], level: str) -> Any:
    """Read a hyperparameter of a configuration: a schedule, an upper variable, or a plain value."""
    if not isinstance(value, dict) or not {"schedule", "upper"} & value.keys():
        return value
    options = dict(value)
    if "schedule" in options:
        from ..optimizers.schedules import read_schedule

        name = options.pop("schedule")
        return read_schedule(name, {key: _value(one, (*where, key), "") for key, one in options.items()}, where)
    if level != "lower":
        raise OptionError("upper variables can be hyperparameters of the lower optimizer only", where=where)
    path, through = options.pop("upper"), options.pop("through", "identity")
    if options:
        name = next(iter(options))
        raise OptionError("unknown option", where=(*where, name), hint=suggestion(name, ("upper", "through")))
    if not isinstance(path, (str, list)):
        expected = "an entry of the upper variables, such as log_rate"
        raise OptionError(where=(*where, "upper"), expected=expected, got=shown(path))
    if through not in THROUGH:
        expected = f"one of {', '.join(THROUGH)}"
        raise OptionError(where=(*where, "through"), expected=expected, got=shown(through))
    return FromUpper(tuple(path.split(".")) if isinstance(path, str) else tuple(path), through)
