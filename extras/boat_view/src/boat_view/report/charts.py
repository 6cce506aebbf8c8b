"""Charts as plain data: what the page hands to the plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: A curve with more points is thinned to about this number, and further if its chart has many curves: to about as many
#: that the chart has `CHART_POINTS`, but to no fewer than `LEAST_POINTS`.
POINTS, CHART_POINTS, LEAST_POINTS = 2000, 12_000, 200

#: A number, or None where a curve has a gap.
Value = float | None


@dataclass(frozen=True)
class Curve:
    """One curve of a chart.

    Args:
        label: its name in the legend.
        color: the number of its colour; curves of one group share it.
        x, y: its points. A value that is not finite is None.
        low, high: the edges of the band around it, as long as y, or None.
    """

    label: str
    color: int
    x: Sequence[float]
    y: Sequence[Value]
    low: Sequence[Value] | None = None
    high: Sequence[Value] | None = None


@dataclass(frozen=True)
class Chart:
    """Curves over one axis."""

    title: str
    x_label: str
    curves: Sequence[Curve]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the chart in types of strict JSON, its curves thinned and its numbers with seven digits."""
        points = min(POINTS, max(LEAST_POINTS, CHART_POINTS // max(1, len(self.curves))))
        curves = [_as_dict(thinned(curve, points)) for curve in self.curves]
        return {"title": self.title, "x": self.x_label, "curves": curves, "note": self.note}

    @property
    def shows_something(self) -> bool:
        """Whether a curve has two points that can be drawn."""
        return any(sum(value is not None for value in curve.y) > 1 for curve in self.curves)


def number(value: Any) -> Value:
    """Return a recorded number, or None for what is not finite: NaN and infinities are recorded as texts."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        converted = float(value)
    except (ValueError, OverflowError):
        return None
    return converted if math.isfinite(converted) else None


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """Return a curve of about so many points that keeps the least and the largest value of every stretch.

    So no spike is lost, neither of the curve nor of its band. A stretch without any number stays a gap.
    """
    total = len(curve.y)
    if total <= points:
        return curve
    low, high = curve.low or curve.y, curve.high or curve.y
    size = math.ceil(total / (points // 2))
    places = {0, total - 1}
    for start in range(0, total, size):
        stretch = range(start, min(start + size, total))
        lows, highs = ([(value, i) for i in stretch if (value := edge[i]) is not None] for edge in (low, high))
        places |= {min(lows)[1] if lows else start, max(highs)[1] if highs else start}
    kept = sorted(places)
    return Curve(
        curve.label,
        curve.color,
        [curve.x[i] for i in kept],
        [curve.y[i] for i in kept],
        curve.low and [curve.low[i] for i in kept],
        curve.high and [curve.high[i] for i in kept],
    )


def _as_dict(curve: Curve) -> dict[str, Any]:
    numbers: dict[str, Sequence[Value]] = {"x": curve.x, "y": curve.y}
    if curve.low is not None and curve.high is not None:
        numbers |= {"low": curve.low, "high": curve.high}
    return {
        "label": curve.label,
        "color": curve.color,
        **{name: list(map(_seven_digits, values)) for name, values in numbers.items()},
    }


def _seven_digits(value: Value) -> Value:
    if value is None or value == int(value):  # steps are exact
        return None if value is None else int(value)
    return float(f"{value:.7g}")
