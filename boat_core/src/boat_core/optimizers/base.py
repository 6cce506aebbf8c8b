"""Optimizers: two pure functions, as in optax, and `UpdateRule`, which makes them from the formula for one array."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pickle import PicklingError
from types import SimpleNamespace
from typing import Any

import optree

from ..autodiff import arrays
from ..autodiff.evaluation import exact_numbers
from ..autodiff.step_numbers import is_step_number
from ..declare.named import OptimizerDeclaration
from ..declare.options import check_option, read_options
from ..errors import OptionError, StructureError


@dataclass(frozen=True)
class Optimizer:
    """A functional optimizer.

    Args:
        name: The name that configurations use.
        init: A function `(parameters) -> state`. The state is a pytree of arrays and integers.
        update: A function `(gradient, state, parameters) -> (updates, state)`. The caller *adds* the updates to the
            parameters. The function is pure and differentiable, so the same one serves both levels.
        plain_rate: η if one update is exactly -η · gradient, else None. Estimators whose formula assumes the step
            y - η∇ψ take η from here.
        rate: The step size if it is a number, else None. Operations without a step size of their own use it.
        options: The options it was made with. A kernel that computes the same step needs them; without them the solver
            calls `update`.
        by_sign: Whether it uses only the signs of gradients. No derivative passes through a sign.
        rule: The `UpdateRule` that made it. Only the rule sets it. The solver finds the kernel of the step by it.
    """

    name: str
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]
    plain_rate: float | None = None
    rate: float | None = None
    options: Any = None
    by_sign: bool = False
    rule: UpdateRule | None = field(default=None, init=False)
    _recipe: tuple[Callable[..., Optimizer], tuple[Any, ...]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    # An optimizer is a value: its copy is itself, and it is pickled as the call that made it.

    def __copy__(self) -> Optimizer:
        return self

    def __deepcopy__(self, memo: Any) -> Optimizer:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._recipe or super().__reduce_ex__(protocol)


def made_by(optimizer: Optimizer, maker: Callable[..., Optimizer], *arguments: Any) -> Optimizer:
    """Return the optimizer, which `maker(*arguments)` makes again, so that it can be pickled."""
    # Not an argument of the class, so that `dataclasses.replace` drops it as it drops `rule`.
    object.__setattr__(optimizer, "_recipe", (maker, arguments))
    return optimizer


def apply_updates(parameters: Any, updates: Any) -> Any:
    """Return parameters + updates, in the structure and the dtypes of the parameters."""
    return optree.tree_map(lambda p, u: p + arrays.as_dtype_of(u, p), parameters, updates)


#: The slot that holds the number of steps taken.
COUNT = "count"


class UpdateRule:
    """An optimizer written as a formula for one array. Call the rule with options to make an `Optimizer`.

        @dataclass(frozen=True)
        class Options:
            rate: float = option(gt=0, varies=True, doc="step size")
            momentum: float = option(0.9, ge=0, lt=1, varies=True, doc="momentum")

        def step(o, t, g, y, s):
            m = o.momentum * s.m + g
            return -o.rate * m, {"m": m}

        heavy_ball = UpdateRule("heavy_ball", "momentum", "Polyak 1964", Options, lambda o: ("m",), step)

    Args:
        name, summary, source: These go to `OptimizerDeclaration`.
        options: A dataclass of `option` fields. A field that varies accepts a number, an array that broadcasts against
            every leaf, a pytree of arrays like the parameters, or a function of the step (0, 1, …) that returns one of
            these.
        slots: A function `(options) -> names`. The state holds one array per name for each array of the parameters, and
            all start at zero. The name `"count"` adds a count of the steps instead.
        step: A function `(o, t, g, y, s) -> (update, kept)` for one array. `o` holds the values of the options for this
            array in this step. `t` is the number of the step as a float, from 1; without a count it is 0. `g` is the
            gradient in the dtype of `y`, the parameters, and `s` the arrays of the state by name. The caller adds the
            update to y and puts `kept` in place of `s`. Numbers in the formula are exact beside float64 arrays.
        plain: A function `(options) -> bool` that tells whether one update is exactly -rate · g.
        by_sign: See `Optimizer`.

    Calling the rule raises `OptionError` if a value is out of range. The `update` of the optimizer raises
    `StructureError` if the state belongs to another optimizer, or to parameters of another structure.
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

    def __reduce__(self) -> str:
        """Pickle the rule by the name under which its module holds it."""
        for name, value in vars(sys.modules[self.__module__]).items():
            if value is self:
                return name
        raise PicklingError(f"the rule {self.name} is no global name of {self.__module__}, so it cannot be pickled")

    def __copy__(self) -> UpdateRule:
        return self

    def __deepcopy__(self, memo: Any) -> UpdateRule:
        return self

    def __call__(self, *values: Any, **named: Any) -> Optimizer:
        return self.build(read_options(self.options, self._bound(values, named), self.name))

    def _bound(self, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        fields = [field.name for field in dataclasses.fields(self.options)]
        if len(values) > len(fields):
            raise OptionError(where=self.name, expected=f"{len(fields)} values at most", got=str(len(values)))
        positional = dict(zip(fields, values))
        if twice := sorted(positional.keys() & named):
            raise OptionError(f"option {twice[0]!r} is given twice", where=self.name)
        return positional | named

    def build(self, o: Any) -> Optimizer:
        """Return the optimizer with these options. The caller has checked them."""
        values = {field.name: getattr(o, field.name) for field in dataclasses.fields(o)}
        varies = [key for key, value in values.items() if not isinstance(value, (int, float, str, type(None)))]
        scheduled = any(_is_schedule(values[key]) for key in varies)
        kept = tuple(self._slots(o))
        # A schedule is a function of the step, so the state must count steps even if the formula does not use t.
        names = (COUNT, *kept) if scheduled and COUNT not in kept else kept
        arrays_kept = [key for key in names if key != COUNT]

        def init(parameters: Any) -> Any:
            zeros = {key: optree.tree_map(arrays.zeros_like, parameters) for key in arrays_kept}
            return {COUNT: 0, **zeros} if COUNT in names else zeros

        def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
            leaves, structure = optree.tree_flatten(g)
            if optree.tree_structure(y) != structure:
                actual = optree.tree_structure(y)
                raise StructureError(f"{self.name}: expected parameters like the gradient, {structure} (got {actual})")
            _check_state(self.name, names, state, structure, leaves)
            t = state[COUNT] + 1 if COUNT in names else 0
            now = {key: self._at(key, value, t - 1) for key, value in values.items()}
            own = dict(now)
            columns = {key: structure.flatten_up_to(state[key]) for key in arrays_kept}
            updates: list[Any] = []
            after: dict[str, list[Any]] = {key: [] for key in arrays_kept}
            # With an integer exponent, Jittor differentiates powers of arrays in float32.
            step = 1.0 * t  # not float(t), which a number in a trace is not asked for
            with exact_numbers():
                for place, (leaf, at) in enumerate(zip(leaves, structure.flatten_up_to(y))):
                    leaf = arrays.as_dtype_of(leaf, at)
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
        # The kernels take numbers only. An optimizer whose options vary does without `options`, and so without kernels.
        options = None if varies else o
        optimizer = Optimizer(self.name, init, update, rate if plain else None, rate, options, self._by_sign)
        # `rule` is not an argument, so that `dataclasses.replace` drops it: a copy with another `update` does not step
        # by this rule, and must not get its kernels.
        object.__setattr__(optimizer, "rule", self)
        return made_by(optimizer, self.build, o)

    def _at(self, key: str, value: Any, count: Any) -> Any:
        """Return the value of an option at a step. A value from a schedule must be in the range of the option."""
        if not _is_schedule(value):
            return value
        if is_step_number(count):
            return count.map(lambda number: self._at(key, value, number))
        where = f"{self.name}.{key}: its schedule at step {count}"
        value = value(count)
        if _is_schedule(value):
            raise OptionError(f"{where}: expected a number or an array (got a function)")
        return check_option(self.options, key, value, where, scheduled=True)


def power(beta: Any, t: float) -> Any:
    """Return βᵗ for a number or an array, with a second derivative that is finite at β = 0 too."""
    if isinstance(beta, (int, float)):
        return beta**t
    # The second derivative of the general power is t (t - 1) β^(t-2): for t = 1 and β = 0 that is 0 · ∞.
    return beta if t == 1 else beta**t


def _is_schedule(value: Any) -> bool:
    return callable(value) and not hasattr(value, "dtype")


def _for_leaf(value: Any, place: int, structure: Any, leaf: Any, where: str) -> Any:
    """Return the value of a hyperparameter for one array of the parameters, in the dtype of that array."""
    if isinstance(value, (int, float)):
        return value
    if not arrays.is_array(value):
        actual = optree.tree_structure(value)
        if actual != structure:
            raise StructureError(f"{where}: expected a number, an array or a pytree {structure} (got {actual})")
        value = optree.tree_leaves(value)[place]
    shape, own = list(leaf.shape), list(value.shape)
    fits = len(own) <= len(shape) and all(n in (1, m) for n, m in zip(own[::-1], shape[::-1]))
    if not fits and own != [1]:
        raise StructureError(f"{where}: expected an array that broadcasts to shape {shape} (got {own})")
    value = arrays.as_array(value, where)
    return value if str(value.dtype) == str(leaf.dtype) else value.cast(str(leaf.dtype))


def _check_state(name: str, names: tuple[str, ...], state: Any, structure: Any, leaves: list[Any]) -> None:
    """Raise `StructureError` unless the state fits these slots and these parameters."""
    if not isinstance(state, Mapping) or set(state) != set(names):
        actual = ", ".join(map(repr, sorted(state))) if isinstance(state, Mapping) else type(state).__name__
        expected = ", ".join(map(repr, sorted(names))) or "nothing"
        raise StructureError(
            f"{name}: expected a state that holds {expected} (got {actual or 'nothing'}); "
            "does it belong to another optimizer, or to other options?"
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
