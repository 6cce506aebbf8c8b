"""The contents of a report that compares runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from typing import Any

from .charts import Chart, Curve, number
from .findings import Finding, findings
from .runs import RecordedRun
from .series import Series, evaluation_names, evaluations, hypergradient_norms, losses, seconds
from .single import SECONDS, STEP
from .solver import CHAIN_KEYS, SolverFacts, solver_facts

#: The key in which runs of one setting differ, and those that say where and what a run records.
SEED, IGNORED = "run.seed", ("run.out", "run.observers", "run.checkpoint_every", "run.keep_checkpoints")
#: The x of charts over the gradients that the operations declare.
GRADIENTS = "declared gradients for each task"

Recorded = tuple[RecordedRun, SolverFacts]


def comparison_page(runs: list[RecordedRun]) -> dict[str, Any]:
    """Return what the page shows of several runs."""
    recorded = [(run, solver_facts(run)) for run in runs]
    keys = [key for key in differing_keys(runs) if key != SEED]
    groups = _groups(recorded, keys)
    return {
        "groups": groups,
        "keys": keys,
        "seeds_differ": SEED in differing_keys(runs),
        "charts": [chart for chart in _charts(groups) if chart.shows_something],
        "columns": _columns(runs),
        "rows": [_row(run, solver, keys, _columns(runs)) for run, solver in recorded],
        "findings": [(run.label, finding) for run, solver in recorded for finding in findings(run, solver)],
        "doubts": _doubts(recorded),
    }


def flat(values: dict[str, Any], above: str = "") -> dict[str, str]:
    """Return nested values by their dotted keys, as texts."""
    texts: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):  # an empty one is like a key that is not there
            texts |= flat(value, f"{above}{key}.")
        elif value is not None:  # null says the same as a key that is not there
            texts[f"{above}{key}"] = (
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            )
    return texts


def differing_keys(runs: list[RecordedRun]) -> list[str]:
    """Return the keys of the configurations that do not have the same value in all runs."""
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if key not in IGNORED and len({config.get(key) for config in configs}) > 1]


def _groups(recorded: list[Recorded], keys: list[str]) -> dict[str, list[Recorded]]:
    """Return the runs by what they differ in beside the seed; if that is the chain, the label begins with it."""
    chain = {f"solver.{key}" for key in CHAIN_KEYS}
    settings: dict[tuple[str | None, ...], list[Recorded]] = {}
    for run, solver in recorded:
        config = flat(run.config)
        settings.setdefault(tuple(config.get(key) for key in keys), []).append((run, solver))
    groups: dict[str, list[Recorded]] = {}
    for values, runs in settings.items():
        parts = [runs[0][1].name] if chain & set(keys) else []
        parts += [
            f"{key.rpartition('.')[2]} {value}"
            for key, value in zip(keys, values)
            if value is not None and key not in chain
        ]
        label = ", ".join(parts) or "all runs"
        groups[label if label not in groups else f"{label}, as {runs[0][0].label}"] = runs
    return groups


def _charts(groups: dict[str, list[Recorded]]) -> list[Chart]:
    charts = []
    for level in ("upper", "lower"):
        title = f"{level.capitalize()} loss"

        def of_level(run: RecordedRun, level: str = level) -> Series:
            return losses(run, level)

        charts += [_with_bands(title, groups, of_level), _over_seconds(title, groups, of_level)]
        charts.append(_over_gradients(title, groups, of_level))
    charts.append(_with_bands("Norm of the hypergradient", groups, hypergradient_norms))
    names = dict.fromkeys(name for runs in groups.values() for run, _ in runs for name in evaluation_names(run))
    for name in names:
        charts.append(_with_bands(name, groups, lambda run, name=name: evaluations(run, name)))  # type: ignore[misc]
    return charts


def _with_bands(title: str, groups: dict[str, list[Recorded]], series_of: Callable[[RecordedRun], Series]) -> Chart:
    """Draw the median of each group. Where it has several runs, a band reaches from the least to the largest value."""
    curves = [
        _band(label, color, [series_of(run) for run, _ in runs]) for color, (label, runs) in enumerate(groups.items())
    ]
    return Chart(title, STEP, curves)


def _band(label: str, color: int, series: list[Series]) -> Curve:
    """Return the band over the outer steps that all of these series have."""
    values = [dict(zip(one.iterations, one.values)) for one in series]
    shared = sorted(set.intersection(*(set(of_run) for of_run in values)))
    xs = [float(k + 1) for k in shared]
    columns = [[of_run[k] for of_run in values] for k in shared]
    # One run without a finite number leaves a gap: a band of the others would look better than the group is.
    finite = [[value for value in column if value is not None] for column in columns]
    whole = [entries if len(entries) == len(values) else None for entries in finite]
    middle = [None if entries is None else median(entries) for entries in whole]
    if len(series) == 1:
        return Curve(label, color, xs, middle)
    low = [None if entries is None else min(entries) for entries in whole]
    high = [None if entries is None else max(entries) for entries in whole]
    return Curve(f"{label} (median of {len(series)})", color, xs, middle, low, high)


def _over_seconds(title: str, groups: dict[str, list[Recorded]], series_of: Callable[[RecordedRun], Series]) -> Chart:
    """Draw every run alone: no two runs have their steps at the same seconds."""
    curves = [
        Curve(run.label, color, seconds(run), series_of(run).values)
        for color, runs in enumerate(groups.values())
        for run, _ in runs
    ]
    return Chart(title, SECONDS, curves)


def _over_gradients(title: str, groups: dict[str, list[Recorded]], series_of: Callable[[RecordedRun], Series]) -> Chart:
    """Draw the median of each group over the gradients that its operations declare, where these are known."""
    curves = []
    for color, (label, runs) in enumerate(groups.items()):
        gradients = runs[0][1].gradients
        if gradients is not None:
            band = _band(label, color, [series_of(run) for run, _ in runs])
            curves.append(Curve(band.label, color, [x * gradients for x in band.x], band.y, band.low, band.high))
    return Chart(title, GRADIENTS, curves)


def _columns(runs: list[RecordedRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in evaluation_names(run)))


def _row(run: RecordedRun, solver: SolverFacts, keys: list[str], names: list[str]) -> dict[str, Any]:
    config, line = flat(run.config), run.steps[-1] if run.steps else {}
    evaluated = run.evaluations[-1] if run.evaluations else {}
    concerns = sum(len(step.get("report", {}).get("concerns", [])) for step in run.steps)
    gradients, hvps = solver.gradients, solver.hvps
    return {
        "label": run.label,
        "status": run.status,
        "settings": [config.get(key) for key in keys],
        "seed": run.seed,
        "numbers": [
            len(run.steps),
            line.get("upper_loss"),
            line.get("lower_loss"),
            *(evaluated.get(name) for name in names),
            sum(number(step.get("seconds")) or 0.0 for step in run.steps),
            run.summary.get("seconds_compiling"),
            None if gradients is None else gradients * len(run.steps),
            None if hvps is None else hvps * len(run.steps),
            concerns,
        ],
    }


def _doubts(recorded: list[Recorded]) -> list[Finding]:
    """Say what makes the comparison itself doubtful."""
    doubts = []
    versions = {json.dumps(run.versions.get("packs"), sort_keys=True) for run, _ in recorded}
    if len(versions) > 1:
        doubts.append(Finding("The runs were made with different versions of the packs."))
    platforms = {(run.versions.get("platform"), run.versions.get("device")) for run, _ in recorded}
    if len(platforms) > 1:
        doubts.append(Finding("The runs were made on different machines or devices. Do not compare their seconds."))
    if len({run.config.get("problem") for run, _ in recorded}) > 1:
        doubts.append(Finding("The runs solve different problems. Do not compare their losses."))
    unknown = [run.label for run, solver in recorded if solver.gradients is None]
    if unknown:
        doubts.append(Finding(f"The operations of {', '.join(unknown)} cannot be looked up here."))
    return doubts
