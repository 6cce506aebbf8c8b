"""Records what a hypergradient asks of the lower steps: which were pulled back, built again or computed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..autodiff.unrolled import Unrolled
from .trajectory import Trajectory


class Recorder:
    """What one hypergradient did. `Unrolled` calls its three events, the outer step names the operation at work.

    Attributes:
        unrolled: the lower steps of the trajectory; None before an approximate operation runs.
        view: the trajectory that the last operation was given.
        pulled: the steps t that were pulled back, in that order, each once.
        pulled_by: the operations that pulled them.
        rebuilt: the steps whose graph was built again for that.
        recomputed: the indices t whose iterate y_t was computed again.
        reruns: how many more trajectories were run, from elsewhere or under another x.
        end_point: whether the last operation took derivatives of F or ψ at the end.
    """

    def __init__(self, after: str = "") -> None:
        """`after` names who pulls back once the approximate operations are done: a modifier that learns the start."""
        self.unrolled: Unrolled | None = None
        self.view: Trajectory | None = None
        self.pulled: dict[int, None] = {}
        self.pulled_by: dict[str, None] = {}
        self.rebuilt: set[int] = set()
        self.recomputed: set[int] = set()
        self.reruns, self.end_point = 0, False
        self._at_work = self._after = after

    @contextmanager
    def watching(self, name: str, trajectory: Trajectory) -> Iterator[None]:
        """Inside this block the operation `name` works on a trajectory."""
        self.unrolled, self.view, self._at_work = self.unrolled or trajectory.unrolled, trajectory, name
        try:
            yield
        finally:
            # `end` is a cached property: it is there once it was asked for.
            self._at_work, self.end_point = self._after, "end" in vars(trajectory)

    def recompute(self, t: int) -> None:
        """The iterate y_t is computed again."""
        self.recomputed.add(t)

    def rerun(self) -> None:
        """Another trajectory is run; nothing of it is kept."""
        self.reruns += 1

    def pull_back(self, t: int, rebuilt: bool) -> None:
        """Step t is pulled back; `rebuilt` says that its graph was not kept."""
        self.pulled[t] = self.pulled_by[self._at_work] = None
        if rebuilt:
            self.rebuilt.add(t)
