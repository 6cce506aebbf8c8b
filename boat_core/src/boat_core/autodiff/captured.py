"""Finds what a function uses without receiving it: arrays in its closure, in a global name, in an attribute.

A solver, an iteration or a sampled function that is differentiated as one operator has the derivatives with respect to
its arguments. An array that reaches it in another way would silently have the derivative 0. Here its graph is asked
which arrays it uses. Two cases need an answer:

- A derivative is being taken with respect to the array. Whoever takes one says so (`evaluating(wrt=…)`), and such an
  array becomes one more input of the operator, with the right derivative.
- A derivative is taken later, by Jittor's own `grad`. It is an error then (`refuse`), which names the array.

Data, and parameters with respect to which nobody takes a derivative, are constants in both cases, and cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import optree

from ..errors import ObjectiveError
from .arrays import Array, is_jittor
from .operators import library
from .pytrees import path_text
from .switches import MODE

#: What a derivative is being taken with respect to: how messages call it, and a pytree, or a function that returns one.
Group = tuple[str, Any]


@dataclass(frozen=True)
class _Hidden:
    """The arrays that one call used without receiving them: the numbers of their nodes in Jittor's graph."""

    name: str
    hint: str
    nodes: frozenset[int]
    results: frozenset[int]


#: Whose call is running: what a call inside it uses without receiving it, the outer one uses too.
_running: ContextVar[Captured | None] = ContextVar("boat_captured", default=None)
#: The last calls that used such arrays. They hold numbers only, so that they keep no array in memory.
_calls: deque[_Hidden] = deque(maxlen=16)


class Captured:
    """What the calls of one function use without receiving it.

    Args:
        name: how messages call the function.
        hint: how the function can receive an array instead.

    Attributes:
        arrays: the arrays with respect to which a derivative is being taken, each once.
    """

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint
        self._nodes: set[int] = set()
        self._before, self._closed = 0, False
        self._active = _active()
        self.arrays: list[Array] = []

    def call(self, function: Callable[[], Any], leaves: Callable[[Any], Sequence[Array]]) -> Any:
        """Return `function()`, and note what the arrays `leaves(…)` of its result were made from before."""
        if self._closed:
            return function()
        operators = library.operators()
        if operators is None:
            # Nobody can ask the graph. Whatever is active is taken as used, and has the derivative 0 if it is not.
            self.arrays = list(self._active.values())
            return function()
        before = self._before = operators.newest()
        token = _running.set(self)
        try:
            result = function()
        finally:
            _running.reset(token)
        nodes = set(operators.made_from(list(leaves(result)), before, list(self._active))) - self._nodes
        if nodes:
            self._nodes |= nodes
            self.arrays += [array for node, array in self._active.items() if node in nodes]
        return result

    def close(self) -> None:
        """Note nothing from now on: later calls repeat the earlier ones."""
        self._closed = True

    def search(self, function: Callable[..., Any]) -> None:
        """Note what a callable holds, for one that may compute with numpy, which leaves no graph."""
        nodes = {leaf.id for leaf in _held(function) if is_jittor(leaf)} - self._nodes
        self._nodes |= nodes
        self.arrays += [array for node, array in self._active.items() if node in nodes]

    @property
    def place(self) -> str:
        """The place of the first array in `arrays` in what is being differentiated."""
        return next(place for place, leaf in _places() if leaf is self.arrays[0])

    def tie(self, results: Sequence[Array]) -> None:
        """Note the results of the call, so that a later derivative of them can be refused."""
        nodes = self._nodes - {array.id for array in self.arrays}
        outer = _running.get()
        if outer is not None:
            outer._nodes |= {node for node in nodes if node <= outer._before}
        if nodes and results:
            _calls.append(_Hidden(self._name, self._hint, frozenset(nodes), frozenset(leaf.id for leaf in results)))


def refuse(value: Array, wrt: Sequence[Array]) -> None:
    """Raise `ObjectiveError` if `value` depends on one of the arrays in a way that no derivative can follow."""
    if not _calls:
        return
    places = {array.id: place for place, array in enumerate(wrt)}
    for call in _calls:
        for node in call.nodes.intersection(places):
            if library.operators().depends(value, list(call.results)):
                array = wrt[places[node]]
                raise ObjectiveError(
                    f"{call.name} uses an array that it does not receive as an argument, and a derivative is taken with"
                    f" respect to it: number {places[node]} in the call of grad, of shape {list(array.shape)}. The"
                    f" derivative would lack what goes through {call.name}. {call.hint}"
                )


def derivative_of(array: Array) -> str | None:
    """Return the place of an array with respect to which a derivative is being taken and on which `array` depends."""
    operators = library.operators()
    if operators is None:
        return None
    return next((place for place, leaf in _places() if is_jittor(leaf) and operators.depends(array, [leaf.id])), None)


def _groups() -> Iterator[tuple[str, Any]]:
    for name, group in MODE.get().wrt:
        yield name, group() if callable(group) else group


def _is_vector(tree: Any) -> bool:
    """Whether it is a `boat_core.Vector`, whose module imports this one."""
    return hasattr(tree, "leaves") and hasattr(tree, "like_flat")


def _active() -> dict[int, Array]:
    """Return the arrays with respect to which a derivative is being taken, by their nodes."""
    groups = (tree.leaves if _is_vector(tree) else optree.tree_leaves(tree) for _, tree in _groups())
    return {leaf.id: leaf for leaves in groups for leaf in leaves if is_jittor(leaf)}


def _places() -> Iterator[tuple[str, Any]]:
    for name, tree in _groups():
        paths, leaves, _ = optree.tree_flatten_with_path(tree.tree if _is_vector(tree) else tree)
        for path, leaf in zip(paths, leaves):
            yield name + path_text(path), leaf


def _held(value: Any, depth: int = 4) -> Iterator[Any]:
    """Yield the leaves of what a callable or object holds: closure, names, defaults, bound arguments, attributes."""
    for leaf in optree.tree_leaves(_parts(value)):
        if is_jittor(leaf) or not depth or leaf is value:
            yield leaf
        elif isinstance(leaf, (FunctionType, MethodType, partial)) or hasattr(leaf, "named_modules"):
            yield from _held(leaf, depth - 1)


def _parts(value: Any) -> Any:
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [
            value.__func__,
            value.__self__,
            dict(vars(value.__self__)) if hasattr(value.__self__, "__dict__") else None,
        ]
    if not isinstance(value, FunctionType):
        return dict(vars(value)) if hasattr(value, "__dict__") else None
    known, code = value.__globals__, value.__code__
    names = [known[name] for name in code.co_names if is_jittor(known.get(name))]
    return [names, value.__defaults__, value.__kwdefaults__, *map(_content, value.__closure__ or ())]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None
