"""Function values at several points, which an estimator without derivatives asks of a trajectory.

    values = trajectory.values_from(points)        by default map(trajectory.value_from, points)

The values do not depend on one another, so several processes can share them. Each process does the same outer step, in
which the operation makes the same points. It computes its own share of the values and ends the step there. Only numbers
travel back: `OuterStep.share_of_values` computes a share, and `OuterStep.with_values` is the step that uses them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

from ..autodiff.vectors import Vector
from ..errors import OperationError

#: How `Trajectory.values_from` computes: `(value, points)` -> the values, in the order of the points.
PointValues = Callable[[Callable[[Vector], float], Iterable[Vector]], Iterable[float]]


class ShareDone(BaseException):
    """Ends an outer step whose share of the values is computed. No operation may catch it, so it is no Exception."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values


class Share:
    """Computes the values at every `count`-th point, beginning with the point `place`, and ends the step."""

    def __init__(self, place: int, count: int) -> None:
        self._place, self._count = place, count

    def __call__(self, value: Callable[[Vector], float], points: Iterable[Vector]) -> NoReturn:
        raise ShareDone([value(point) for i, point in enumerate(points) if i % self._count == self._place])


class Given:
    """Returns values that are known, in the order of the points."""

    def __init__(self, shares: Sequence[Sequence[float]]) -> None:
        self._shares = shares

    def __call__(self, value: Callable[[Vector], float], points: Iterable[Vector]) -> Iterator[float]:
        # The points are drawn all the same, because the operation may need what it draws for them.
        rest = [iter(share) for share in self._shares]
        for i, _ in enumerate(points):
            known = next(rest[i % len(rest)], None)
            if known is None:
                raise OperationError(f"the step has more points than values: there is none for point {i}")
            yield known
