"""Both levels of a boat_config: the models, the arrays that each moves, and the objectives on them."""

from __future__ import annotations

from typing import Any

from .arrays import held_arrays
from .losses import Losses
from .objectives import Objectives
from .source import Source
from .twins import separate_copy, twin_of
from .variables import Handles, Variables


class Levels:
    """The user's models and arrays.

    Args:
        source: the boat_config.

    Attributes:
        x, y: the arrays of the upper and of the lower level.
        start_is_upper: whether x and y are the same arrays, as in meta-learning. Then x is the start of y.
        both: how many lower variables are upper variables too, where not all are. The lower level does not move them.

    Raises:
        ConfigError: a model or a list of variables is missing, or no such thing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.upper_model, self.lower_model = _model(source, "upper_level_model"), _model(source, "lower_level_model")
        self.x, self.y = Variables(source, "upper_level_var"), Variables(source, "lower_level_var")
        shared = self.y.shared_with(self.x)
        self.start_is_upper = len(shared) == len(self.y.handles)
        self.both = 0 if self.start_is_upper else len(shared)
        if self.both:
            self.y.without(self.x)

    def objectives(self, losses: Losses) -> Objectives:
        """Return the losses as functions of x and y, on the models as they are now."""
        upper_model, upper = self.upper_side()
        lower_model = twin_of(self.lower_model, self.y.handles)
        return Objectives(losses, upper, Handles(self.y.handles), Handles(self.rest()), upper_model, lower_model)

    def upper_side(self) -> tuple[Any, Handles]:
        """Return the upper model that losses get, and its arrays that stand for x.

        One array cannot hold x and y. Where both levels have the same arrays, the upper model is a copy that holds x.
        """
        if not self.start_is_upper:
            return self.upper_model, Handles(self.x.handles)
        upper_model, handles = separate_copy(self.upper_model, self.x.handles)
        return upper_model, Handles(handles)

    @property
    def shapes_differ(self) -> str:
        """Say how the arrays of the levels differ in number, shape or dtype; empty where they do not."""
        x, y = ([f"{array.dtype} {list(array.shape)}" for array in level.handles] for level in (self.x, self.y))
        if len(x) != len(y):
            return f"{len(y)} lower arrays for {len(x)} upper ones"
        return next((f"{b} for {a}" for a, b in zip(x, y) if a != b), "")

    def remember(self) -> None:
        """Take what all variables hold now as known. What was known before would keep its whole graph alive."""
        self.x.remember()
        self.y.remember()

    def rest(self) -> list[Any]:
        """Return the arrays of both models that no level moves, such as statistics."""
        moved = {id(array) for array in (*self.x.handles, *self.y.handles)}
        arrays = {**_by_id(self.upper_model), **_by_id(self.lower_model)}
        return [array for key, array in arrays.items() if key not in moved]

    def left_alone(self) -> list[str]:
        """Return the names of arrays of the lower model that look trainable and that no level moves."""
        moved = {id(array) for array in (*self.x.handles, *self.y.handles)}
        named = held_arrays(self.lower_model).items()
        return [name for name, array in named if id(array) not in moved and not array.is_stop_grad()]


def _by_id(model: Any) -> dict[int, Any]:
    return {id(array): array for array in held_arrays(model).values()}


def _model(source: Source, key: str) -> Any:
    model = source.require(key, "a Jittor module")
    if not callable(model):
        raise source.error(key, expected="a Jittor module", got=type(model).__name__)
    return model
