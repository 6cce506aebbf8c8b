"""What a loss function gets as a model: the user's module, or another object of its class with the same arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from boat_core import ObjectiveError

from .arrays import held_arrays
from .variables import Handles

Current = Callable[[], Sequence[Any]]


def twin_of(
    model: Any,
    variables: Sequence[Any],
    current: Current | None = None,
    iterate: Callable[[int], Sequence[Any]] | None = None,
    **attributes: Any,
) -> Any:
    """Return an object that is the module in all but two methods. Both have the same attributes, in one dictionary.

    Args:
        model: the module.
        variables: its arrays that the level moves.
        current: the arrays with which the twin computes; by default those that the module holds.
        iterate: a function from the number t of a lower step to the arrays y_t, for `parameters(time=t)`.
        attributes: more attributes of the twin, which the module does not get.

    The twin is called with `params=[…]`, arrays in the order of `parameters()` or of the variables, to compute with
    these. Its `parameters()` returns the arrays with which it computes.
    """
    base = type(model)
    own = model.parameters if callable(getattr(model, "parameters", None)) else lambda: list(variables)

    def __call__(self: Any, *inputs: Any, params: Sequence[Any] | None = None, **keywords: Any) -> Any:
        values = params if params is not None else current() if current else None
        if values is None:
            return base.__call__(self, *inputs, **keywords)
        everything = list(own())
        targets = everything if len(values) == len(everything) else list(variables)
        if len(values) != len(targets):
            expected = f"{len(targets)} arrays, as parameters() returns them"
            raise ObjectiveError(where="params", expected=expected, got=str(len(values)))
        handles = Handles(targets)
        try:
            handles.point(values)
            return _own_handles(base.__call__(self, *inputs, **keywords), targets)
        finally:
            handles.restore()

    def parameters(self: Any, recurse: bool = True, time: int | None = None) -> list[Any]:
        if current is None:
            return list(own())
        values = current() if time is None or time < 0 or iterate is None else iterate(time)
        replaced = {id(variable): value for variable, value in zip(variables, values)}
        return [replaced.get(id(array), array) for array in own()]

    methods = {"__call__": __call__, "parameters": parameters, "__module__": base.__module__}
    twin_class = type(base.__name__, (base,), {**attributes, **methods})
    twin: Any = object.__new__(twin_class)
    object.__setattr__(twin, "__dict__", model.__dict__)
    return twin


def _own_handles(output: Any, targets: Sequence[Any]) -> Any:
    """Return what a module returned, with handles of its own: a module may return a parameter itself."""
    if isinstance(output, (list, tuple)):
        entries = [_own_handles(entry, targets) for entry in output]
        return entries if isinstance(output, list) else tuple(entries)
    if isinstance(output, dict):
        return {key: _own_handles(entry, targets) for key, entry in output.items()}
    return output.clone() if any(output is target for target in targets) else output


def separate_copy(model: Any, variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return a copy of a module with handles of its own for some arrays, and those handles.

    All other arrays are shared. So the copy can hold x while the module itself holds y.
    """
    import jittor

    keep = {id(array): array for array in held_arrays(model).values()}
    own = {id(array): jittor.zeros(1) for array in variables}
    for array in variables:
        own[id(array)].assign(array)
    try:
        copy = deepcopy(model, {**keep, **own})
    except Exception as error:
        message = f"{type(model).__name__} is both levels' model, and copy.deepcopy of it failed: {error}"
        raise ObjectiveError(message, where="upper_level_model") from error
    return copy, [own[id(array)] for array in variables]
