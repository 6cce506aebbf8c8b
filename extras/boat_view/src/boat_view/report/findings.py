"""What casts doubt on the numbers of a run, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .charts import number
from .runs import RecordedRun
from .series import figures, hypergradient_norms, losses
from .solver import SolverFacts

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Finding:
    """One doubt.

    Args:
        text: what was noticed.
        where: in which outer steps, or nothing.
        remedy: what to try, or nothing.
    """

    text: str
    where: str = ""
    remedy: str = ""


def findings(run: RecordedRun, solver: SolverFacts) -> list[Finding]:
    """Return what casts doubt on a run: how it ended, numbers that are not finite, concerns of its operations."""
    return [*_ending(run), *_not_finite(run), *_concerns(run, solver)]


def _ending(run: RecordedRun) -> list[Finding]:
    summary, resume = run.summary, f"Go on with boat run --resume {run.folder}."
    ends = []
    if not summary:
        ends.append(Finding("The run has no summary: it is going on, or it was killed.", "", resume))
    elif summary.get("status") != "finished":
        reason = f": {summary['message']}" if summary.get("message") else "."
        ends.append(Finding(f"The run ended early ({summary.get('status')}){reason}", "", resume))
    for name, reason in summary.get("not_written", {}).items():
        ends.append(Finding(f"{name} was not written: {reason}"))
    for reason in summary.get("observers_switched_off", []):
        ends.append(Finding(f"An observer was switched off: {reason}"))
    if summary and summary.get("steps") != len(run.steps):
        counted = f"The summary counts {summary.get('steps')} outer steps, and metrics.jsonl has {len(run.steps)}."
        ends.append(Finding(counted))
    return ends


def _not_finite(run: RecordedRun) -> list[Finding]:
    named = {
        "The upper loss": losses(run, "upper"),
        "The lower loss": losses(run, "lower"),
        "The norm of the hypergradient": hypergradient_norms(run),
        **figures(run),
    }
    found = []
    for name, series in named.items():
        missing = [k for k, value in zip(series.iterations, series.values) if value is None]
        if missing:
            remedy = "Try a smaller rate of the optimizers, or check the objectives with boat check."
            found.append(Finding(f"{name} is not a finite number.", _steps(missing), remedy))
    return found


def _concerns(run: RecordedRun, solver: SolverFacts) -> list[Finding]:
    """Collect the concerns of all steps. Those that differ in their numbers alone are one, shown as it was last."""
    latest: dict[str, str] = {}
    steps: dict[str, list[int]] = {}
    for line in run.steps:
        for text in line.get("report", {}).get("concerns", []):
            kind = NUMBER.sub("#", str(text))
            latest[kind] = str(text)
            steps.setdefault(kind, []).append(line["iteration"])
    total = len(run.steps)
    return [Finding(latest[kind], _steps(steps[kind], total), _remedy(latest[kind], solver)) for kind in latest]


def _remedy(concern: str, solver: SolverFacts) -> str:
    """Return the options of the operation that the concern names first, for these are what can be changed."""
    for row in solver.operations:
        if concern.startswith(f"{row['name']}:") and row["options"]:
            options = ", ".join(f"{name} = {_short(value)}" for name, value in row["options"].items())
            return f"Its options were {options}. boat ops show {row['name']} explains them."
    return ""


def _short(value: Any) -> str:
    finite = number(value) if isinstance(value, float) else None
    return str(value) if finite is None else f"{finite:.4g}"


def _steps(iterations: list[int], total: int | None = None) -> str:
    of = f" of {total}" if total is not None else ""
    if len(iterations) == 1:
        return f"in outer step {iterations[0] + 1}"
    return f"in {len(iterations)}{of} outer steps, from {iterations[0] + 1} to {iterations[-1] + 1}"
