"""Models and loss functions of a JBOAT script as a `boat_core.Problem`: what `boat convert` writes a module around."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boat_core as boat

from ._layer.levels import Levels
from ._layer.losses import Losses
from ._layer.objectives import Feeds
from ._layer.source import read_source

FeedsOf = Callable[[int, Any], tuple[Any, Any]]


def as_problem(
    upper_model: Any,
    lower_model: Any,
    losses: Mapping[str, Callable[..., Any]],
    feeds: FeedsOf,
    *,
    upper_var: Sequence[Any] | None = None,
    lower_var: Sequence[Any] | None = None,
    alpha: tuple[float, float] | None = None,
    lower_steps: int | None = None,
    name: str = "jboat",
) -> boat.Problem:
    """Return a problem for `boat_core.Solver` and `boat run`.

    Args:
        upper_model, lower_model: the models, which may be one object.
        losses: the functions "lower_level_loss" and "upper_level_loss", and "gda_loss" if `alpha` is given.
        feeds: a function `(k, rng)` that returns `(ll_feed_dict, ul_feed_dict)` of iteration k, or two lists with a
            dictionary for each task.
        upper_var, lower_var: the arrays of each level; by default the parameters of its model.
        alpha: `(alpha_init, alpha_decay)`: the lower steps descend gda_loss, with these in `ll_feed_dict["alpha"]`.
        lower_steps: T, needed with `alpha`.
        name: the name in reports.

    Raises:
        ConfigError: a model or a list of variables is no such thing.
    """
    content = {
        "upper_level_model": upper_model,
        "lower_level_model": lower_model,
        "upper_level_var": upper_model.parameters() if upper_var is None else upper_var,
        "lower_level_var": lower_model.parameters() if lower_var is None else lower_var,
    }
    levels = Levels(read_source("as_problem", content))
    functions = Losses(losses["lower_level_loss"], losses["upper_level_loss"], losses.get("gda_loss"))
    objectives = levels.objectives(functions)
    if alpha is not None and (functions.gda is None or lower_steps is None):
        raise boat.OptionError(where="as_problem", expected="gda_loss and lower_steps beside alpha")

    def pair(lower: Any, upper: Any) -> tuple[Any, Any]:
        if alpha is None or lower_steps is None:
            return Feeds(lower, upper), Feeds(lower, upper)
        steps = [Feeds({**lower, "alpha": alpha[0] * alpha[1] ** t}, upper) for t in range(lower_steps)]
        return boat.PerStep(steps), Feeds(lower, upper)

    def batches(k: int, rng: Any) -> Any:
        lower, upper = feeds(k, rng)
        if isinstance(lower, (list, tuple)):
            return boat.Tasks([pair(*both) for both in zip(lower, upper)])
        return pair(lower, upper)

    return boat.Problem(
        objectives.upper,
        objectives.lower if alpha is None else objectives.aggregated,
        levels.x.values(),
        levels.y.values(),
        batches=batches,
        name=name,
    )
