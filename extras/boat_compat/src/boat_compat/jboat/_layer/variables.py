"""The user's own arrays as the variables of a level, and how a value is put in their place for one evaluation.

A `jittor.Var` is a handle on a node of the graph. `assign` points the handle to another node, so that whatever holds
the handle (a module, a list, a closure) then computes with that node, and derivatives lead to it. Pointing it back
restores everything. No copy of the model is needed, and no place where the array is held has to be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .source import Source


class Handles:
    """A list of the user's arrays that can be pointed elsewhere and back."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = list(handles)
        self._homes = [_handle_on(handle) for handle in self.handles]

    def remember(self) -> None:
        """Take the arrays that they hold now as those to come back to."""
        pairs = zip(self._homes, self.handles)
        self._homes = [home if home.id == handle.id else _handle_on(handle) for home, handle in pairs]

    @property
    def changed(self) -> bool:
        """Whether somebody has given them other arrays since `remember`."""
        return any(home.id != handle.id for home, handle in zip(self._homes, self.handles))

    def point(self, values: Iterable[Any]) -> None:
        """Point them to these arrays, with their graph."""
        for handle, value in zip(self.handles, values):
            handle.assign(value)

    def restore(self) -> None:
        """Point them back."""
        self.point(self._homes)


def _handle_on(array: Any) -> Any:
    """Return another handle on the node of an array.

    It is a new one: `assign` makes a constant of what is assigned to a handle that held a constant.
    """
    import jittor

    handle = jittor.zeros(1)
    handle.assign(array)
    return handle


class Variables(Handles):
    """The arrays that one level moves.

    Args:
        source: the boat_config.
        key: "upper_level_var" or "lower_level_var".

    Attributes:
        positions: the place of each of them in the list that the user gave, in which constants are left out.
    """

    def __init__(self, source: Source, key: str) -> None:
        import jittor

        given = source.require(key, "a list of jittor arrays, such as list(model.parameters())")
        if isinstance(given, jittor.Var) or not isinstance(given, Iterable):
            raise source.error(key, expected="a list of jittor arrays", got=type(given).__name__)
        self.given = list(given)
        for place, array in enumerate(self.given):
            if not isinstance(array, jittor.Var):
                raise source.error((key, str(place)), expected="a jittor array", got=type(array).__name__)
        trainable = _set_aside(source, key.replace("_var", "_model"))
        places = {id(array): place for place, array in reversed(list(enumerate(self.given)))}
        self.positions = [
            place
            for place, array in enumerate(self.given)
            if places[id(array)] == place and (not array.is_stop_grad() or id(array) in trainable)
        ]
        if not self.positions:
            got = f"{len(self.given)} constants" if self.given else "an empty list"
            hint = "Jittor's parameters() does not look into plain lists of modules; use jittor.nn.ModuleList"
            raise source.error(key, expected="at least one trainable array", got=got, hint=hint)
        super().__init__([self.given[place] for place in self.positions])

    def without(self, others: Variables) -> None:
        """Leave out the arrays that are among the others."""
        ids = {id(handle) for handle in others.handles}
        kept = [place for place in self.positions if id(self.given[place]) not in ids]
        self.positions = kept
        Handles.__init__(self, [self.given[place] for place in kept])

    def shared_with(self, others: Variables) -> list[int]:
        """Return the places at which both hold the same array."""
        ids = {id(handle) for handle in others.handles}
        return [place for place, handle in enumerate(self.handles) if id(handle) in ids]

    def values(self) -> list[Any]:
        """Return what they hold, without its history."""
        return [handle.detach() for handle in self.handles]

    def write(self, values: Iterable[Any]) -> None:
        """Give them these values for good. Whether they are constants for Jittor stays as it is."""
        for handle, value in zip(self.handles, values):
            handle.update(value)
        self.remember()


@contextmanager
def trainable(arrays: Sequence[Any]) -> Iterator[None]:
    """Inside this block derivatives reach the arrays, also those of a module that a script has left in `eval()`."""
    stopped = [array for array in arrays if array.is_stop_grad()]
    for array in stopped:
        array.start_grad()
    try:
        yield
    finally:
        for array in stopped:
            array.stop_grad()


@contextmanager
def derivatives_allowed(arrays: Sequence[Any]) -> Iterator[None]:
    """Inside this block derivatives can be taken, also within a script's `jittor.no_grad()`, and reach the arrays."""
    import jittor

    with jittor.flag_scope(no_grad=0), trainable(arrays):
        yield


def _set_aside(source: Source, key: str) -> set[int]:
    """Return the arrays that are constants only while a module of the model is in `eval()`."""
    import jittor

    model, noted = source.find(key), set()
    parts = [part for _, part in model.named_modules()] if isinstance(model, jittor.Module) else []
    for part in parts:
        noted |= {key for key, trainable in vars(part).get("backup_grad_state", {}).items() if trainable}
    return noted
