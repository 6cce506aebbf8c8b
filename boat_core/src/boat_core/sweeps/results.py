"""The results of a sweep as values: one for each run, and one row for each setting, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import BoatError, closest
from .place import FINISHED

#: The numbers of a run's summary that can order results, beside those of the problem's `evaluate`.
SUMMARY_METRICS = ("upper_loss", "lower_loss", "concerns", "seconds_computing", "seconds_compiling", "seconds_total")


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep that has ended.

    Args:
        name: its name, which is that of its folder too.
        settings: what varies, without the seed: the values by key, and the label of a method as `method`.
        seed: its seed.
        status: `finished`, `failed` or `interrupted`.
        metrics: the numbers of the problem's `evaluate` and of the run's summary; empty unless it has finished.
        error: why it failed, in one line; else None.
        folder: the folder of the run.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    status: str
    metrics: Mapping[str, float]
    error: str | None
    folder: Path


@dataclass(frozen=True)
class SweepRow:
    """The finished runs of one setting.

    Args:
        settings: what varies, without the seed.
        runs: how many runs the setting has.
        finished: how many of them have finished.
        mean: the mean of each metric over the finished runs.
        standard_error: the standard error of each mean: the sample's standard deviation over √n; None where n is 1.
    """

    settings: Mapping[str, Any]
    runs: int
    finished: int
    mean: Mapping[str, float]
    standard_error: Mapping[str, float | None]


@dataclass(frozen=True)
class SweepResults:
    """What a sweep has come to.

    Args:
        folder: the folder of the sweep.
        metric: the metric that orders the rows.
        best: `min` or `max`.
        planned: how many runs the sweep has.
        runs: the runs that have ended, in the order of their names.
        rows: one for each setting, the best first. A setting without a finished run, or whose metric is NaN, is last.
    """

    folder: Path
    metric: str
    best: str
    planned: int
    runs: tuple[SweptRun, ...] = field(repr=False)
    rows: tuple[SweepRow, ...] = field(repr=False)

    @property
    def failed(self) -> tuple[SweptRun, ...]:
        """The runs that have failed."""
        return tuple(run for run in self.runs if run.status == "failed")

    @property
    def finished(self) -> tuple[SweptRun, ...]:
        """The runs that have finished."""
        return tuple(run for run in self.runs if run.status == FINISHED)

    def metrics(self) -> list[str]:
        """Return the names of the metrics that the finished runs have, those of `evaluate` first."""
        names = dict.fromkeys(name for run in self.finished for name in run.metrics)
        return sorted(names, key=lambda name: name in SUMMARY_METRICS)

    def as_dict(self) -> dict[str, Any]:
        """Return the results as plain values, for JSON."""
        runs = [{**{f.name: getattr(run, f.name) for f in fields(run)}, "folder": str(run.folder)} for run in self.runs]
        rows = [{f.name: getattr(row, f.name) for f in fields(row)} for row in self.rows]
        order = {"metric": self.metric, "best": self.best, "planned": self.planned}
        return {"folder": str(self.folder), **order, "rows": rows, "runs": runs}

    def require_metric(self) -> None:
        """Raise `BoatError` if runs have finished, and none of them has the metric."""
        names = self.metrics()
        if names and self.metric not in names:
            near = closest(self.metric, names)
            meant = f"did you mean {near!r}? " if near else ""
            raise BoatError(f"no run has the metric {self.metric!r}", hint=f"{meant}the runs have {', '.join(names)}")


def metrics_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a run's summary. A number of `evaluate` comes before one of the summary of that name."""
    numbers = {name: summary[name] for name in SUMMARY_METRICS if name in summary}
    own = dict(summary.get("evaluation") or {})
    values = {**own, **{name: value for name, value in numbers.items() if name not in own}}
    return {name: float(value) for name, value in values.items() if value is not None}  # "nan" is a text in JSON


def results_of(
    folder: Path, metric: str, best: str, settings: Sequence[Mapping[str, Any]], runs: Sequence[SweptRun]
) -> SweepResults:
    """Return the results of a sweep.

    Args:
        folder: its folder.
        metric: the metric that orders the rows.
        best: `min` or `max`.
        settings: the settings of all runs that it has, also of those that have not ended.
        runs: the runs that have ended.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for setting in settings:
        groups.setdefault(repr(setting), []).append(setting)
    members: dict[str, list[SweptRun]] = {}
    for run in runs:
        members.setdefault(repr(run.settings), []).append(run)
    rows = [_row(same[0], members.get(key, []), len(same)) for key, same in groups.items()]
    sign = 1.0 if best == "min" else -1.0

    def order(row: SweepRow) -> tuple[bool, float]:
        mean = row.mean.get(metric, math.nan)
        return math.isnan(mean), 0.0 if math.isnan(mean) else sign * mean

    ordered = tuple(sorted(runs, key=lambda run: run.name))
    return SweepResults(folder, metric, best, len(settings), ordered, tuple(sorted(rows, key=order)))


def _row(setting: Mapping[str, Any], runs: Sequence[SweptRun], count: int) -> SweepRow:
    finished = [run for run in runs if run.status == FINISHED]
    names = dict.fromkeys(name for run in finished for name in run.metrics)
    columns = {name: [run.metrics[name] for run in finished if name in run.metrics] for name in names}
    mean = {name: _mean(values) for name, values in columns.items()}
    errors = {name: standard_error(values) for name, values in columns.items()}
    return SweepRow(setting, count, len(finished), mean, errors)


def _mean(values: Sequence[float]) -> float:
    # `fsum` of an infinity and its opposite raises; the mean is then no number.
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean: the sample's standard deviation over √n; None for a single value."""
    if len(values) < 2:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) / math.sqrt(len(values))
