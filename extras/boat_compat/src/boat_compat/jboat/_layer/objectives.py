"""The user's loss functions as BOAT's objectives: pure functions of x, y and a batch.

    F(x, y, feeds) = upper_level_loss(ul_feed_dict, upper_model, lower_model)      the models hold x and y
    f(x, y, feeds) = lower_level_loss(ll_feed_dict, upper_model, lower_model)
    ψ(x, y, feeds) = gda_loss({**ll_feed_dict, "alpha": α}, ul_feed_dict, upper_model, lower_model)

This is the only place where their way to call a loss meets ours. An evaluation points the user's arrays to x and y, and
afterwards back. Every other array of the models, such as the running mean of a BatchNorm, is put back as well: a
pullback evaluates a step again, and must get the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from boat_core import PerStep

from .draws import Draws
from .losses import Losses
from .variables import Handles


@dataclass(frozen=True)
class Feeds:
    """The feed dictionaries of one lower step. BOAT passes this batch on without a look at what it holds.

    Args:
        lower, upper: `ll_feed_dict` and `ul_feed_dict`.
        draws: the random numbers that losses have drawn with them.
    """

    lower: Any
    upper: Any
    draws: Draws = field(default_factory=Draws)

    def nonfinite(self, which: str = "") -> list[str]:
        """Return the names of arrays of the feeds that hold a NaN or an infinity."""
        feeds = {f"ll_feed_dict{which}": self.lower, f"ul_feed_dict{which}": self.upper}
        return [f"{name}[{key!r}]" for name, feed in feeds.items() for key, value in feed.items() if not _finite(value)]

    def per_step(self, steps: int) -> PerStep:
        """Return the same feeds for each lower step, with random numbers of its own."""
        return PerStep([Feeds(self.lower, self.upper) for _ in range(steps)])


def _finite(value: Any) -> bool:
    import jittor
    import numpy

    array = value.numpy() if isinstance(value, jittor.Var) else value
    is_float = isinstance(array, numpy.ndarray) and array.dtype.kind == "f"
    return not is_float or bool(numpy.isfinite(array).all())


class Objectives:
    """F, f and the aggregate of GDA on the user's models.

    Args:
        losses: the user's functions.
        upper, lower: the user's arrays that stand for x and y.
        rest: all other arrays of both models.
        upper_model, lower_model: what the functions get.
    """

    def __init__(
        self, losses: Losses, upper: Handles, lower: Handles, rest: Handles, upper_model: Any, lower_model: Any
    ) -> None:
        self.losses, self.upper_model, self.lower_model = losses, upper_model, lower_model
        self._rest, self._upper, self._lower = rest, upper, lower
        self._alpha: float | None = None

    def upper(self, x: Sequence[Any], y: Sequence[Any], feeds: Feeds) -> Any:
        """Return F(x, y)."""
        with self.holding(x, y), feeds.draws.of("upper"):
            return self.losses.upper(feeds.upper, self.upper_model, self.lower_model)

    def lower(self, x: Sequence[Any], y: Sequence[Any], feeds: Feeds) -> Any:
        """Return f(x, y), or ψ(x, y) inside an `aggregate`."""
        if self._alpha is not None:
            return self.aggregated(x, y, Feeds({**feeds.lower, "alpha": self._alpha}, feeds.upper, feeds.draws))
        with self.holding(x, y), feeds.draws.of("lower"):
            return self.losses.lower(feeds.lower, self.upper_model, self.lower_model)

    def aggregated(self, x: Sequence[Any], y: Sequence[Any], feeds: Feeds) -> Any:
        """Return ψ(x, y), where the lower feed holds `alpha`."""
        assert self.losses.gda is not None
        with self.holding(x, y), feeds.draws.of("lower"):
            return self.losses.gda(feeds.lower, feeds.upper, self.upper_model, self.lower_model)

    def aggregate(self, upper: Callable[..., Any], lower: Callable[..., Any], options: Any) -> Callable[..., Any]:
        """Return ψ_t with α_t = α_0 decay^t: what GDA applies, with the user's `gda_loss` in place of α F + (1-α) f."""

        def psi(x: Any, y: Any, t: int) -> Any:
            before, self._alpha = self._alpha, options.alpha * options.decay**t
            try:
                return lower(x, y, t)
            finally:
                self._alpha = before

        return psi

    @contextmanager
    def holding(self, x: Sequence[Any], y: Sequence[Any]) -> Iterator[None]:
        """Inside this block the models hold x and y."""
        try:
            self._upper.point(x)
            self._lower.point(y)
            yield
        finally:
            for handles in (self._upper, self._lower, self._rest):
                handles.restore()

    def renew_upper(self, model: Any, handles: Handles) -> None:
        """Take another upper model, with its arrays that stand for x."""
        self.upper_model, self._upper = model, handles

    def remember(self) -> None:
        """Take what the models hold now as what every evaluation comes back to."""
        for handles in (self._upper, self._lower, self._rest):
            handles.remember()
