"""The grammar: which operations form a solver, in which order, and why other combinations do not.

    map          = modifier* base
    approximate  = selector* estimator
    first order  = method

Each operation declares its own rules (`needs`, `excludes`). Nothing here refers to an operation by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations, pairwise
from typing import Any, TypeVar

from ..autodiff.kernels import FusedStep, Kernel
from ..declare.operation import ACTING, ROLES, STARTS, Cost, Work, undeclared
from ..declare.options import fill_rates, read_options, unfilled_rates
from ..errors import BoatError, CompositionError, OptionError, shown, suggestion
from .discovery import installed
from .entries import Registered
from .registry import Registry

T = TypeVar("T")

_LAST = {"map": "base", "approximate": "estimator"}


@dataclass(frozen=True)
class Composition:
    """A valid solver.

    Args:
        map: the operations of the map stage, in the order in which they act.
        approximate: those of the approximate stage, likewise.
        first_order: the first-order method instead of both.
        options: the options of each operation by its name.
    """

    map: tuple[Registered, ...] = ()
    approximate: tuple[Registered, ...] = ()
    first_order: Registered | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def operations(self) -> tuple[Registered, ...]:
        return self.map + self.approximate + ((self.first_order,) if self.first_order else ())

    @property
    def own_adjoint(self) -> bool:
        """Whether the base map computes the hypergradient itself."""
        return bool(self.map) and self.map[-1].operation.own_adjoint

    @property
    def stateful_operation(self) -> Registered | None:
        """The operation that may keep its own state between outer iterations, or None."""
        return self.map[-1] if self.own_adjoint else self.first_order

    def work(self, steps: int) -> Work:
        """Return what one outer step with `steps` lower steps will do.

        Raises:
            OptionError: an operation cannot work with so many steps.
        """
        labels = frozenset().union(*(entry.operation.labels for entry in self.operations))
        learned = any(entry.operation.start == "learned" for entry in self.operations)
        work = Work(steps, steps, labels=labels, learned_start=learned)
        for entry in self.operations:
            only = entry.operation.lower_steps
            if only not in (None, steps):
                raise OptionError(f"{entry.name} works with {only} only", where="lower_steps", got=str(steps))
            if entry.operation.view:
                work = _declared(entry, "view", entry.operation.view, self.options[entry.name], work, Work)
        return work

    def cost(self, steps: int) -> Cost:
        """Return the gradients and products of one outer step at most, as the operations declare them."""
        work = self.work(steps)
        acting = self.map if self.own_adjoint else self.operations
        return sum((_declared(o, "cost", o.operation.cost, self.options[o.name], work, Cost) for o in acting), Cost())

    def second_order(self, steps: int) -> bool:
        """Whether a second derivative of an objective is taken. An operation without a declared cost may take any."""
        silent = any(o.operation.cost is undeclared for o in self.operations if o.operation.role in ACTING)
        return silent or self.cost(steps).hvps > 0

    def start_rule(self, start: str | None) -> str:
        """Return where y starts in every outer iteration: as an operation requires, else as `start` says, else "warm".

        Raises:
            CompositionError: `start` is not what an operation requires.
        """
        for entry in self.operations:
            rule = entry.operation.start_rule
            if rule and start is not None and (start != rule or rule == "learned"):
                expected = "no start" if rule == "learned" else f"start={rule!r}, or none"
                message = f"{entry.name} {STARTS[rule]}"
                raise CompositionError(message, where="start", expected=expected, got=repr(start))
            if rule:
                return rule
        return start or "warm"

    @property
    def needs_lower_rate(self) -> bool:
        """Whether a step size of an operation is left to the lower optimizer."""
        return any(unfilled_rates(options) for options in self.options.values())

    def with_rates(self, rate: float | None, plain_rate: float | None) -> Composition:
        """Return this composition with the step sizes that were left to the lower optimizer filled in.

        Raises:
            OptionError: the lower optimizer has no such step size.
        """
        filled = {n: fill_rates(o, ("options", n), rate, plain_rate) for n, o in self.options.items()}
        return replace(self, options=filled)

    def own_options(self, entry: Registered) -> dict[str, Any]:
        """Return the options of one of its operations, without those that another one sets."""
        by_others = _claimed(self, entry)
        options = self.options[entry.name]
        return {f.name: getattr(options, f.name) for f in fields(options) if f.name not in by_others}

    def executed_by(self, entry: Registered) -> str:
        """Return which operation does the work of `entry`: a base map with its own adjoint does that of estimators."""
        return self.map[-1].name if self.own_adjoint and entry in self.approximate else entry.name

    def kernels(self, fused: FusedStep | None) -> list[Kernel]:
        """Return the packs' kernels that it can use; `fused` is the step of its lower optimizer, if there is one."""
        operations = [entry.operation for entry in self.operations]
        steps = [step for o in operations for step in o.optimizer_steps.values()]
        others = {id(kernel) for step in steps if step is not fused for kernel in step.kernels}
        return [kernel for o in operations for kernel in o.kernels if id(kernel) not in others]

    def as_config(self) -> dict[str, Any]:
        """Return the keys of a configuration that name this solver."""
        if self.first_order:
            return {"first_order": self.first_order.address}
        return {"map": [o.address for o in self.map], "approximate": [o.address for o in self.approximate]}

    def __str__(self) -> str:
        if self.first_order:
            return self.first_order.name
        return " + ".join(o.name for o in self.map) + " | " + " + ".join(o.name for o in self.approximate)


def _declared(entry: Registered, what: str, function: Any, options: Any, work: Work, kind: type[T]) -> T:
    """Return what an operation declares of its work or cost.

    Raises:
        OptionError: the operation refuses its options.
        CompositionError: its function failed, or returned nothing of that kind.
    """
    try:
        value = function(options, work)
    except BoatError as error:
        raise error.within("options", entry.name) from None
    except Exception as error:
        message = f"{entry.origin}: its {what} raised {type(error).__name__}: {error}"
        raise CompositionError(message, where=_key(entry)) from error
    if not isinstance(value, kind):
        message = f"{entry.origin}: its {what} returned {value!r}, expected {kind.__name__}"
        raise CompositionError(message, where=_key(entry))
    return value


def _key(entry: Registered) -> str:
    """Return the argument of `compose` that names an operation of this stage."""
    return entry.operation.stage.replace("-", "_")


def compose(
    registry: Registry | None = None,
    map: Sequence[str] | str | None = None,
    approximate: Sequence[str] | str | None = None,
    first_order: str | None = None,
    method: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Composition:
    """Put named operations in order, complete the chains, and check them against every rule.

    Args:
        registry: where operations are looked up; by default what is installed.
        map, approximate: the chains, as names in any order; their defaults complete them.
        first_order: the name of one first-order method instead.
        method: the field's name for a whole chain instead, such as "RHG".
        options: the options of each operation by its name, such as `{"CG": {"max_iterations": 20}}`.

    Raises:
        CompositionError: an operation is unknown or absent, stands in the wrong stage or twice, or excludes another.
        OptionError: an option is unknown or out of range.
    """
    registry = installed() if registry is None else registry
    for key, name in (("first_order", first_order), ("method", method)):
        if name is not None and not isinstance(name, str):
            raise CompositionError(where=key, expected="one name", got=shown(name))
    place: str | None = None
    if method is not None:
        place = "method"
        if map or approximate or first_order:
            raise CompositionError("method is a whole solver: leave out map, approximate and first_order")
        try:
            alias = registry.alias(method)
        except CompositionError as error:
            raise error.within(place) from None
        map, approximate, first_order = alias.map, alias.approximate, alias.first_order
        own = options or {}
        options = {name: {**alias.options.get(name, {}), **(own.get(name) or {})} for name in {*alias.options, *own}}
    if first_order is not None:
        if map or approximate:
            raise CompositionError("first_order is a whole solver: leave out map and approximate")
        entry = _of_stage(registry, first_order, "first-order", place or "first_order")
        return _with_options(Composition(first_order=entry), options)
    composition = Composition(
        map=_chain(registry, map, "map", place or "map"),
        approximate=_chain(registry, approximate, "approximate", place or "approximate"),
    )
    if refusal := conflict(composition.operations):
        entry, message = refusal
        raise CompositionError(message, where=place or _key(entry))
    return _with_options(composition, options)


def _of_stage(registry: Registry, name: str, stage: str, place: str) -> Registered:
    """Return the operation called `name`; errors are placed at the key `place`."""
    try:
        entry = registry.find(name)
    except CompositionError as error:
        raise error.within(place) from None
    if entry.operation.stage != stage:
        raise CompositionError(
            f"{name} is an operation of stage {entry.operation.stage}, not {stage}",
            where=place,
            hint=f"valid: {', '.join(sorted(e.name for e in registry.operations(stage)))}",
        )
    return entry


def _listed(names: Any, place: str) -> list[str]:
    """Return a chain as a list of names. It may be one name, None, or whatever names can be read from."""
    is_chain = isinstance(names, Iterable) and not isinstance(names, Mapping)
    listed: list[Any] = [names] if isinstance(names, str) else list(names or ()) if is_chain or not names else [names]
    if not all(isinstance(name, str) for name in listed):
        raise CompositionError(where=place, expected="names of operations", got=shown(names))
    return listed


def _chain(registry: Registry, names: Sequence[str] | str | None, stage: str, place: str) -> tuple[Registered, ...]:
    names = _listed(names, place)
    entries = [_of_stage(registry, name, stage, place) for name in names]
    bare = [entry.name for entry in entries]
    for name in bare:
        if bare.count(name) > 1:
            raise CompositionError(f"{name} is listed twice", where=place)
    last = [e for e in entries if e.operation.role == _LAST[stage]]
    if len(last) > 1:
        message = f"one {_LAST[stage]} at most"
        raise CompositionError(message, where=place, got=", ".join(e.name for e in last))
    if not last:
        defaults = registry.defaults(stage, _LAST[stage])
        if len(defaults) != 1:
            have = ", ".join(e.name for e in registry.operations(stage, _LAST[stage])) or "none is installed"
            raise CompositionError(f"name one {_LAST[stage]} ({have})", where=place)
        entries += defaults
    roles = ROLES[stage]
    return tuple(sorted(entries, key=lambda e: (roles.index(e.operation.role), e.operation.order, e.name)))


def conflict(entries: Sequence[Registered]) -> tuple[Registered, str] | None:
    """Return why these operations do not go together, and the operation whose rule says so; None where they do."""
    present = {e.name for e in entries}
    for entry in entries:
        for need in entry.operation.needs:
            if not present & set(need.names):
                return entry, f"{entry.name} needs {' or '.join(need.names)}: {need.reason}"
        for rule in entry.operation.excludes:
            for other in entries:
                labels = other.operation.labels
                if other is not entry and not labels & set(rule.unless) and labels & set(rule.what):
                    return entry, f"{entry.name} cannot go with {other.name}: {rule.reason}"
    starting = [e for e in entries if e.operation.start_rule]
    for one, other in pairwise(starting):
        rules = one.operation.start_rule or "", other.operation.start_rule or ""
        if rules[0] != rules[1] or rules[0] == "learned":
            both = f"one {STARTS[rules[0]]}, the other {STARTS[rules[1]]}"
            return one, f"{one.name} cannot go with {other.name}: {both}"
    return None


def _claimed(composition: Composition, entry: Registered) -> dict[str, Registered]:
    """Return the options of an operation that another one of the solver sets, with the operation that sets them."""
    return {
        key: other
        for other in composition.operations
        for label, keys in other.operation.claims.items()
        if label in entry.operation.labels
        for key in keys
    }


def _with_options(composition: Composition, options: Mapping[str, Mapping[str, Any]] | None) -> Composition:
    if not isinstance(options or {}, Mapping) or not all(_is_options(one) for one in (options or {}).values()):
        expected = "a mapping from operations to mappings of their options"
        raise CompositionError(where="options", expected=expected, got=shown(options))
    values = dict(options or {})
    present = [o.name for o in composition.operations]
    for name in values:
        if name not in present:
            message = f"{name!r} is no operation of this solver"
            raise CompositionError(message, where=("options", name), hint=suggestion(name, present))
    read: dict[str, Any] = {
        o.name: read_options(o.operation.options, values.get(o.name) or {}, ("options", o.name))
        for o in composition.operations
    }
    for entry in composition.operations:
        claimed = _claimed(composition, entry)
        for key in values.get(entry.name) or {}:
            if key in claimed:
                message = f"{claimed[key].name} sets this option itself"
                raise OptionError(message, where=("options", entry.name, key), hint="leave it out")
    return replace(composition, options=read)


def _is_options(values: Any) -> bool:
    return values is None or isinstance(values, Mapping)


def solvers(registry: Registry | None = None) -> Iterator[Composition]:
    """Yield every valid solver over the operations of a registry, each once; by default of what is installed."""
    registry = installed() if registry is None else registry
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
            if conflict(map_chain + approximate_chain) is None:
                yield Composition(map_chain, approximate_chain)
    for entry in registry.operations("first-order"):
        yield Composition(first_order=entry)


def _subsets(entries: Sequence[Registered]) -> Iterator[tuple[Registered, ...]]:
    for size in range(len(entries) + 1):
        yield from combinations(entries, size)
