"""Whole solvers as one more thing that varies: `sweep.methods`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.source import Source, is_mapping
from ..errors import BoatError, suggestion
from ..plugins.composition import Composition, compose
from ..plugins.registry import Registry
from .section import SweepConfig, located
from .space import Setting, Value, flow_text

#: The keys of the section solver that name operations.
CHAINS = ("map", "approximate", "first_order", "method")


def methods_of(
    section: SweepConfig, values: Mapping[str, Any], source: Source, registry: Registry
) -> list[tuple[str, Setting]]:
    """Return each method of a sweep by its label, as the values that put it in place of the configuration's solver.

    Options of operations (`solver.options`) that the configuration holds go to those methods that have the operation.

    Args:
        section: the section `sweep`.
        values: the values of the configuration.
        source: their places.
        registry: where methods and operations are looked up.

    Raises:
        ConfigError: a method is unknown (with the nearest), listed twice or no valid solver, or no method has an
            operation for which the configuration holds options.
    """
    if section.methods is None:
        return []
    solver = values.get("solver")
    base: Mapping[str, Any] = solver if is_mapping(solver) else {}
    options = base.get("options")
    own = options if is_mapping(options) else {}
    settings: dict[str, Setting] = {}
    used: set[str] = set()
    for index, entry in enumerate(section.methods):
        place = f"sweep.methods[{index}]"
        keys = {"method": entry} if isinstance(entry, str) else dict(entry)
        label = entry if isinstance(entry, str) else flow_text(entry).strip("{}")
        if label in settings:
            raise located(source, BoatError(f"{label} is listed twice"), place)
        try:
            present = {operation.name for operation in _composition(registry, keys).operations}
        except BoatError as error:
            raise located(source, error, place) from None
        used |= present
        settings[label] = _setting(keys, base, {n: v for n, v in own.items() if n in present}, place)
    for name in own:
        if name not in used:
            hint = suggestion(name, used)
            raise located(source, BoatError(f"no method of the sweep has the operation {name}", hint=hint), _path(name))
    return list(settings.items())


def _path(operation: str) -> str:
    return f"solver.options.{operation}"


def _composition(registry: Registry, keys: Mapping[str, Any]) -> Composition:
    """Compose a method without options, which come with the rest of the configuration."""
    return compose(registry, **{name: keys[name] for name in CHAINS if keys.get(name) is not None})


def _setting(keys: dict[str, Any], base: Mapping[str, Any], own: dict[str, Any], place: str) -> Setting:
    """Return the values that replace the solver `base` by one with these keys, which keeps its `own` options."""
    cleared = {name: None for name in CHAINS if base.get(name) is not None and name not in keys}
    given = keys.pop("options", None)
    if not is_mapping(given or {}):
        return (Value("solver.options", given, place),)  # the configuration refuses it, with this place
    options = {name: {**(own.get(name) or {}), **((given or {}).get(name) or {})} for name in {**own, **(given or {})}}
    values = {**cleared, **keys}
    if base.get("options") is not None or options:
        values["options"] = options or None
    return tuple(Value(f"solver.{name}", value, place) for name, value in values.items())
