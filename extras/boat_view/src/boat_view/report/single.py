"""The contents of a report on one run."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from .charts import Chart, Curve, Value, number
from .findings import findings
from .runs import RecordedRun
from .series import Series, evaluation_names, evaluations, figures, hypergradient_norms, losses, seconds, words
from .solver import SolverFacts, solver_facts

STEP, SECONDS = "outer step", "seconds, compiling included"


def single_page(run: RecordedRun) -> dict[str, Any]:
    """Return what the page shows of one run."""
    solver = solver_facts(run)
    varying, constant = _split(figures(run))
    return {
        "run": run,
        "solver": solver,
        "findings": findings(run, solver),
        "last": _last(run),
        "settings": _settings(run),
        "loss_charts": _shown(_loss_charts(run)),
        "evaluation_charts": _shown(_evaluation_charts(run)),
        "diagnostic_charts": _shown(
            [
                _over_steps("Norm of the hypergradient", hypergradient_norms(run)),
                *(_over_steps(name, series) for name, series in varying.items()),
            ]
        ),
        "constant_figures": constant,
        "words": words(run),
        "cost": _cost(run, solver),
        "versions": _versions(run),
        "decisions": run.versions.get("decisions", []),
    }


def _shown(charts: list[Chart]) -> list[Chart]:
    return [chart for chart in charts if chart.shows_something]


def _over_steps(title: str, series: Series) -> Chart:
    return Chart(title, STEP, [Curve(title, 0, [k + 1 for k in series.iterations], series.values)])


def _loss_charts(run: RecordedRun) -> list[Chart]:
    charts = []
    for color, level in enumerate(("upper", "lower")):
        series, title = losses(run, level), f"{level.capitalize()} loss"
        charts.append(Chart(title, STEP, [Curve(title, color, [k + 1 for k in series.iterations], series.values)]))
        charts.append(Chart(title, SECONDS, [Curve(title, color, seconds(run), series.values)]))
    return charts


def _evaluation_charts(run: RecordedRun) -> list[Chart]:
    return [_over_steps(name, evaluations(run, name)) for name in evaluation_names(run)]


def _split(series: dict[str, Series]) -> tuple[dict[str, Series], dict[str, Value]]:
    """Separate the figures that vary from those that are the same in every step, which need no chart."""
    constant = {name: one.values[0] for name, one in series.items() if len(set(one.values)) == 1}
    return {name: one for name, one in series.items() if name not in constant}, constant


def _last(run: RecordedRun) -> list[tuple[str, Any]]:
    """Return the numbers at the end of the run: losses and evaluations, as they were recorded."""
    line = run.steps[-1] if run.steps else {}
    evaluated = run.evaluations[-1] if run.evaluations else {}
    return [
        *((f"{level} loss", line[f"{level}_loss"]) for level in ("upper", "lower") if f"{level}_loss" in line),
        *((name, value) for name, value in evaluated.items() if name != "iteration"),
    ]


def _settings(run: RecordedRun) -> list[tuple[str, str]]:
    solver, ran = run.config.get("solver", {}), run.config.get("run", {})
    names = ("lower_steps", "start", "lower_state", "lower_optimizer", "upper_optimizer")
    return [
        ("problem", str(run.config.get("problem"))),
        *((f"problem option {name}", _text(value)) for name, value in run.config.get("problem_options", {}).items()),
        *((name.replace("_", " "), _text(solver[name])) for name in names if name in solver),
        *((name, _text(ran[name])) for name in ("seed", "executor") if name in ran),
    ]


def _text(value: Any) -> str:
    """Return a value of the configuration as text; an optimizer as `sgd(rate=0.1)`."""
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        options = ", ".join(f"{name}={_text(option)}" for name, option in value.items() if name != "name")
        return f"{value['name']}({options})"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cost(run: RecordedRun, solver: SolverFacts) -> list[tuple[str, Any]]:
    summary = run.summary
    taken = [value for line in run.steps if (value := number(line.get("seconds"))) is not None]
    rows: list[tuple[str, Any]] = [("outer steps", len(run.steps))]
    if taken:
        rows += [("seconds of all outer steps", sum(taken)), ("seconds of the first outer step", taken[0])]
    if len(taken) > 1:
        rows.append(("seconds of a later outer step (median)", median(taken[1:])))
    last = " (of the last process alone)" if summary.get("resumed_from") is not None else ""
    for key in ("seconds_total", "seconds_computing", "seconds_compiling", "kernels_compiled"):
        if key in summary:
            rows.append((key.replace("_", " ") + last, summary[key]))
    if solver.gradients is not None and solver.hvps is not None:
        rows += [
            ("gradients of one outer step, for each task, at most", solver.gradients),
            ("Hessian-vector products of one outer step, for each task, at most", solver.hvps),
            ("gradients of all outer steps, for each task, at most", solver.gradients * len(run.steps)),
            ("Hessian-vector products of all outer steps, for each task, at most", solver.hvps * len(run.steps)),
        ]
    memory = run.config.get("solver", {}).get("memory")
    if memory is not None:
        rows.append(("memory allowed for graphs of lower steps", memory))
    return rows


def _versions(run: RecordedRun) -> list[tuple[str, str]]:
    versions = run.versions
    plain = [(name, str(value)) for name, value in versions.items() if name not in ("packs", "decisions")]
    return [*plain, *versions.get("packs", {}).items()]
