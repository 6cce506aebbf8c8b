"""What an optimizer is: two pure functions, as in optax; and how one is made from the formula of a single entry."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import optree

from ..autodiff import arrays
from ..autodiff.evaluation import exact_numbers
from ..declare.named import OptimizerDeclaration
from ..declare.options import check_option, read_options
from ..errors import OptionError, StructureError


@dataclass(frozen=True)
class Optimizer:
    """A functional optimizer.

    Args:
        name: as configurations name it.
        init: `(parameters) -> state`, a pytree of arrays and integers.
        update: `(gradient, state, parameters) -> (updates, state)`; the updates are *added* to the parameters.
            Pure and differentiable, so the very same function serves both levels.
        plain_rate: η where one update is exactly -η · gradient, else None. Estimators that take the step to be
            y - η∇ψ rely on it.
        rate: its step size where it has one that is a number; operations whose own is not given take it.
        options: what it was made with, for kernels that do the same step; without them it is stepped as `update` says.
        by_sign: it knows gradients by their signs alone, through which no derivative passes.
        rule: the `UpdateRule` that made it, set by that alone; kernels that do the same step are found by it.
    """

    name: str
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]
    plain_rate: float | None = None
    rate: float | None = None
    options: Any = None
    by_sign: bool = False
    rule: UpdateRule | None = field(default=None, init=False)


def apply_updates(parameters: Any, updates: Any) -> Any:
    """Return parameters + updates, in the structure of the parameters."""
    return optree.tree_map(lambda p, u: p + u, parameters, updates)


#: Keeps the count of steps; the first is 1.
COUNT = "count"


class UpdateRule:
    """An optimizer written as a formula for one array; call it with its options to make one.

        @dataclass(frozen=True)
        class Options:
            rate: float = option(gt=0, varies=True, doc="step size")
            momentum: float = option(0.9, ge=0, lt=1, varies=True, doc="momentum")

        def step(o, t, g, y, s):
            m = o.momentum * s.m + g
            return -o.rate * m, {"m": m}

        heavy_ball = UpdateRule("heavy_ball", "momentum", "Polyak 1964", Options, lambda o: ("m",), step)

    Args:
        name, summary, source: what `OptimizerDeclaration` takes.
        options: a dataclass of `option` fields. Those that vary may be arrays that broadcast against every leaf,
            pytrees of arrays like the parameters, or functions of the step (0, 1, …) that give one of these.
        slots: `(options) -> names` of what the state keeps for each array, zeros like it at the start. `"count"` among
            them numbers the steps.
        step: `(o, t, g, y, s) -> (update, kept)` for one array: o the options as they are for it in this step, t the
            number of the step from 1 as a float (0 without a count), g the gradient, y the parameters, s what is kept,
            by name; the update is added to y. Numbers in it are exact beside float64 arrays.
        plain: `(options) -> bool`, whether one update is exactly -rate · g.
        by_sign: see `Optimizer`.

    Calling it raises `OptionError` on values out of range; the optimizer's `update` raises `StructureError` on a state
    that is not its own.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        source: str,
        options: type,
        slots: Callable[[Any], tuple[str, ...]],
        step: Callable[..., tuple[Any, Mapping[str, Any]]],
        plain: Callable[[Any], bool] = lambda o: False,
        by_sign: bool = False,
    ) -> None:
        self.declaration = OptimizerDeclaration(name, summary, source, options, self.build)
        self.name, self.options, self.step = name, options, step
        self._slots, self._plain, self._by_sign = slots, plain, by_sign
        self.__doc__ = inspect.getdoc(inspect.getmodule(step))
        self.__name__, self.__module__ = name, step.__module__
        self.__signature__ = inspect.signature(options).replace(return_annotation="Optimizer")

    def __call__(self, *values: Any, **named: Any) -> Optimizer:
        return self.build(read_options(self.options, self._bound(values, named), self.name))

    def _bound(self, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        fields = [field.name for field in dataclasses.fields(self.options)]
        if len(values) > len(fields):
            raise OptionError(where=self.name, expected=f"{len(fields)} values at most", got=str(len(values)))
        given = dict(zip(fields, values))
        if twice := sorted(given.keys() & named):
            raise OptionError(f"option {twice[0]!r} is given twice", where=self.name)
        return given | named

    def build(self, o: Any) -> Optimizer:
        """Return the optimizer with these options, which have been read."""
        values = {field.name: getattr(o, field.name) for field in dataclasses.fields(o)}
        varies = [key for key, value in values.items() if not isinstance(value, (int, float, str, type(None)))]
        scheduled = any(_is_schedule(values[key]) for key in varies)
        kept = tuple(self._slots(o))
        names = (COUNT, *kept) if scheduled and COUNT not in kept else kept
        arrays_kept = [key for key in names if key != COUNT]

        def init(parameters: Any) -> Any:
            zeros = {key: optree.tree_map(arrays.zeros_like, parameters) for key in arrays_kept}
            return {COUNT: 0, **zeros} if COUNT in names else zeros

        def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
            leaves, structure = optree.tree_flatten(g)
            if optree.tree_structure(y) != structure:
                found = optree.tree_structure(y)
                raise StructureError(f"{self.name}: expected parameters like the gradient, {structure} (got {found})")
            _check_state(self.name, names, state, structure, leaves)
            t = state[COUNT] + 1 if COUNT in names else 0
            now = {key: self._at(key, value, t - 1) for key, value in values.items()}
            own = dict(now)
            columns = {key: structure.flatten_up_to(state[key]) for key in arrays_kept}
            updates: list[Any] = []
            after: dict[str, list[Any]] = {key: [] for key in arrays_kept}
            step = float(t)  # beside an integer Jittor differentiates powers of arrays in float32
            with exact_numbers():
                for place, (leaf, at) in enumerate(zip(leaves, structure.flatten_up_to(y))):
                    for key in varies:
                        own[key] = _for_leaf(now[key], place, structure, leaf, f"{self.name}.{key}")
                    s = SimpleNamespace(**{key: column[place] for key, column in columns.items()})
                    move, new = self.step(SimpleNamespace(**own), step, leaf, at, s)
                    updates.append(move)
                    for key in arrays_kept:
                        after[key].append(new[key])
            trees = {key: structure.unflatten(column) for key, column in after.items()}
            return structure.unflatten(updates), {COUNT: t, **trees} if COUNT in names else trees

        rate = values.get("rate") if "rate" not in varies else None
        plain = not varies and self._plain(o)
        options = None if varies else o
        optimizer = Optimizer(self.name, init, update, rate if plain else None, rate, options, self._by_sign)
        # Not an argument, so that `dataclasses.replace` drops it: with another update it is no longer this rule's.
        object.__setattr__(optimizer, "rule", self)
        return optimizer

    def _at(self, key: str, value: Any, count: int) -> Any:
        """What an option is at a step: a schedule's value must be in the range of the option."""
        if not _is_schedule(value):
            return value
        where = f"{self.name}.{key}: its schedule at step {count}"
        value = value(count)
        if _is_schedule(value):
            raise OptionError(f"{where}: expected a number or an array (got a function)")
        return check_option(self.options, key, value, where, scheduled=True)


def power(beta: Any, t: float) -> Any:
    """βᵗ for a number or an array; its second derivative is finite at β = 0 too."""
    return beta if t == 1 else beta**t


def _is_schedule(value: Any) -> bool:
    return callable(value) and not hasattr(value, "dtype")


def _for_leaf(value: Any, place: int, structure: Any, leaf: Any, where: str) -> Any:
    """What a hyperparameter is for one array of the parameters, in its dtype."""
    if isinstance(value, (int, float)):
        return value
    if not arrays.is_array(value):
        found = optree.tree_structure(value)
        if found != structure:
            raise StructureError(f"{where}: expected a number, an array or a pytree {structure} (got {found})")
        value = optree.tree_leaves(value)[place]
    shape, own = list(leaf.shape), list(value.shape)
    fits = len(own) <= len(shape) and all(n in (1, m) for n, m in zip(own[::-1], shape[::-1]))
    if not fits and own != [1]:
        raise StructureError(f"{where}: expected an array that broadcasts to shape {shape} (got {own})")
    value = arrays.as_array(value, where)
    return value if str(value.dtype) == str(leaf.dtype) else value.cast(str(leaf.dtype))


def _check_state(name: str, names: tuple[str, ...], state: Any, structure: Any, leaves: list[Any]) -> None:
    """Raise `StructureError` unless this state was made by such an optimizer for such parameters."""
    if not isinstance(state, Mapping) or set(state) != set(names):
        found = ", ".join(map(repr, sorted(state))) if isinstance(state, Mapping) else type(state).__name__
        expected = ", ".join(map(repr, sorted(names))) or "nothing"
        raise StructureError(
            f"{name}: expected a state that holds {expected} (got {found or 'nothing'}); "
            "is it that of another optimizer, or of other options?"
        )
    for key in names:
        if key == COUNT:
            if not isinstance(state[key], int):
                raise StructureError(f"{name}: state[{key!r}]: expected an integer (got {state[key]!r})")
            continue
        paths, kept, own = optree.tree_flatten_with_path(state[key])
        if own != structure:
            raise StructureError(f"{name}: state[{key!r}]: expected the structure {structure} (got {own})")
        for path, have, want in zip(paths, kept, leaves):
            if list(have.shape) != list(want.shape):
                place = "".join(f"[{step!r}]" for step in path)
                raise StructureError(
                    f"{name}: state[{key!r}]{place}: expected shape {list(want.shape)} (got {list(have.shape)})"
                )
