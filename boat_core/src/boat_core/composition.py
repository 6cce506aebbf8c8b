"""The grammar: which operations form a solver, in which order, and why others do not.

    map          = modifier* base
    approximate  = selector* estimator
    first order  = method

The rules stand in the operations' own declarations (`needs`, `excludes`); nothing here knows an operation by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from .errors import CompositionError, nearest
from .operation import ROLES, Cost
from .options import read_options
from .registry import Registered, Registry

_LAST = {"map": "base", "approximate": "estimator"}


@dataclass(frozen=True)
class Composition:
    """A valid solver: its operations in the order in which they act, and the options of each."""

    map: tuple[Registered, ...] = ()
    approximate: tuple[Registered, ...] = ()
    first_order: Registered | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def operations(self) -> tuple[Registered, ...]:
        return self.map + self.approximate + ((self.first_order,) if self.first_order else ())

    def cost(self, steps: int) -> Cost:
        """Gradients and products of one outer step with `steps` lower steps, as the operations declare them."""
        return sum((o.operation.cost(self.options[o.name], steps) for o in self.operations), Cost())

    @property
    def second_order(self) -> bool:
        """Whether second derivatives of an objective are taken."""
        return any(o.operation.takes_second_derivatives(self.options[o.name]) for o in self.operations)

    def as_config(self) -> dict[str, Any]:
        """The lines of a configuration that name this solver."""
        if self.first_order:
            return {"first_order": self.first_order.name}
        return {"map": [o.name for o in self.map], "approximate": [o.name for o in self.approximate]}

    def __str__(self) -> str:
        if self.first_order:
            return self.first_order.name
        return " + ".join(o.name for o in self.map) + " | " + " + ".join(o.name for o in self.approximate)


def compose(
    registry: Registry,
    map: Sequence[str] | str | None = None,
    approximate: Sequence[str] | str | None = None,
    first_order: str | None = None,
    method: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Composition:
    """Put named operations in order, complete the chains, and check them against every rule.

    Raises:
        CompositionError: an operation is unknown or absent, stands in the wrong stage or twice, or excludes another.
        OptionError: an option is unknown or out of range.
    """
    if method is not None:
        if map or approximate or first_order:
            raise CompositionError("method is a whole solver: leave out map, approximate and first_order")
        known = registry.aliases()
        if method not in known:
            raise CompositionError(f"no method {method!r}{nearest(method, known) or '; no installed pack names one'}")
        alias = known[method]
        map, approximate, first_order = alias.map, alias.approximate, alias.first_order
    if first_order is not None:
        if map or approximate:
            raise CompositionError("first_order is a whole solver: leave out map and approximate")
        entry = _of_stage(registry, first_order, "first-order")
        return _with_options(Composition(first_order=entry), options)
    chains = {stage: _chain(registry, names, stage) for stage, names in (("map", map), ("approximate", approximate))}
    composition = Composition(map=chains["map"], approximate=chains["approximate"])
    refusal = why_not(composition.operations)
    if refusal:
        raise CompositionError(refusal)
    return _with_options(composition, options)


def _of_stage(registry: Registry, name: str, stage: str) -> Registered:
    entry = registry.find(name)
    if entry.operation.stage != stage:
        raise CompositionError(
            f"{name} is an operation of stage {entry.operation.stage}, not {stage}"
            f"{nearest('', [e.name for e in registry.operations(stage)])}"
        )
    return entry


def _chain(registry: Registry, names: Sequence[str] | str | None, stage: str) -> tuple[Registered, ...]:
    names = [names] if isinstance(names, str) else list(names or ())
    entries = [_of_stage(registry, name, stage) for name in names]
    for name in names:
        if names.count(name) > 1:
            raise CompositionError(f"{stage}: {name} stands there twice")
    last = [e for e in entries if e.operation.role == _LAST[stage]]
    if len(last) > 1:
        raise CompositionError(f"{stage}: one {_LAST[stage]} at most (got {', '.join(e.name for e in last)})")
    if not last:
        candidates = registry.operations(stage, _LAST[stage])
        defaults = [e for e in candidates if e.operation.default]
        if len(defaults) != 1:
            have = ", ".join(e.name for e in candidates) or "none is installed"
            raise CompositionError(f"{stage}: name one {_LAST[stage]} ({have})")
        entries += defaults
    roles = ROLES[stage]
    return tuple(sorted(entries, key=lambda e: (roles.index(e.operation.role), e.operation.order, e.name)))


def why_not(entries: Sequence[Registered]) -> str | None:
    """Say why these operations do not go together, or return None where they do."""
    present = {e.name for e in entries}
    for entry in entries:
        for need in entry.operation.needs:
            if not present & set(need.names):
                return f"{entry.name} needs {' or '.join(need.names)}: {need.reason}"
        for rule in entry.operation.excludes:
            for other in entries:
                if other is not entry and other.name not in rule.unless and other.operation.words & set(rule.what):
                    return f"{entry.name} cannot go with {other.name}: {rule.reason}"
    return None


def _with_options(composition: Composition, options: Mapping[str, Mapping[str, Any]] | None) -> Composition:
    given = dict(options or {})
    present = [o.name for o in composition.operations]
    for name in given:
        if name not in present:
            raise CompositionError(f"options: {name!r} is no operation of this solver{nearest(name, present)}")
    read: dict[str, Any] = {
        o.name: read_options(o.operation.options, given.get(o.name) or {}, f"options.{o.name}")
        for o in composition.operations
    }
    return Composition(composition.map, composition.approximate, composition.first_order, read)


def enumerate_solvers(registry: Registry) -> Iterator[Composition]:
    """Yield every valid solver over what is installed, each once."""
    chains = {
        stage: [
            (*extras, last)
            for last in registry.operations(stage, last_role)
            for extras in _subsets(registry.operations(stage, ROLES[stage][0]))
        ]
        for stage, last_role in _LAST.items()
    }
    for map_chain in chains["map"]:
        for approximate_chain in chains["approximate"]:
            if why_not(map_chain + approximate_chain) is None:
                yield Composition(map_chain, approximate_chain)
    for entry in registry.operations("first-order"):
        yield Composition(first_order=entry)


def _subsets(entries: Sequence[Registered]) -> Iterator[tuple[Registered, ...]]:
    for size in range(len(entries) + 1):
        yield from combinations(entries, size)
