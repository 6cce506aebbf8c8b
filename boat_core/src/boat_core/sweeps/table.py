"""The table of a sweep: mean ± standard error over the seeds, the best setting first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .results import SUMMARY_METRICS, SweepResults, SweepRow
from .space import flow_text

#: Numbers of the summary that the table leaves out; results.jsonl has them.
_LEFT_OUT = ("concerns", "seconds_compiling", "seconds_computing")


def columns_of(results: SweepResults) -> list[str]:
    """Return the headings: what varies, the finished runs, the metric that orders the rows, and the other metrics."""
    return [*_keys(results), "runs", *(_heading(results, name) for name in _metrics(results))]


def cells_of(results: SweepResults) -> list[list[str]]:
    """Return the cells of the table, a list for each row."""
    keys, metrics = _keys(results), _metrics(results)
    return [
        [*(setting_text(row.settings, key) for key in keys), _runs(row), *(_number(row, name) for name in metrics)]
        for row in results.rows
    ]


def as_markdown(results: SweepResults) -> str:
    """Return the table as Markdown."""
    rows = [columns_of(results), *cells_of(results)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def _keys(results: SweepResults) -> list[str]:
    return list(dict.fromkeys(key for row in results.rows for key in row.settings))


def _metrics(results: SweepResults) -> list[str]:
    others = [name for name in results.metrics() if name != results.metric and name not in _LEFT_OUT]
    return [results.metric, *others]


def _heading(results: SweepResults, name: str) -> str:
    title = name.replace("_", " ") if name in SUMMARY_METRICS else name
    return f"{title} ({results.best})" if name == results.metric else title


def setting_text(settings: Mapping[str, Any], key: str) -> str:
    """Return one value of a setting as text; empty if the setting leaves the key alone."""
    if key not in settings:
        return ""
    value = settings[key]
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else str(value) if type(value) is int else flow_text(value)


def _runs(row: SweepRow) -> str:
    return str(row.runs) if row.finished == row.runs else f"{row.finished} of {row.runs}"


def _number(row: SweepRow, name: str) -> str:
    if name not in row.mean:
        return ""
    error = row.standard_error[name]
    return f"{row.mean[name]:.4g}" + (f" ± {error:.2g}" if error is not None else "")
