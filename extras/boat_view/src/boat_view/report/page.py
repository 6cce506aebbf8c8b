"""The HTML of a report: one file that holds its data, its style and its program, and loads nothing.

Every text of a run is escaped by the template engine. Beyond that the page's content security policy lets nothing run
but the program whose hash it names, so a text that got through could still not act.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .charts import Chart, number
from .comparison import comparison_page
from .runs import RecordedRun
from .single import single_page

STYLES = ("uPlot.min.css", "sortable-base.min.css", "page.css")
PROGRAMS = ("uPlot.iife.min.js", "sortable.min.js", "sortable.a11y.min.js", "page.js")


def render(runs: list[RecordedRun], absent: Sequence[str] = (), drawing: bytes | None = None, live: str = "") -> str:
    """Return the page about these runs.

    Args:
        absent: what became of runs that cannot be shown.
        drawing: the graph of the hypergradient of the only run, as SVG.
        live: the state of the files, for a page that asks its server for a later state.
    """
    if len(runs) == 1:
        template, content = "single.html", {**single_page(runs[0]), "drawing": drawing}
    else:
        template, content = "comparison.html", comparison_page(runs)
    style, program = _joined(STYLES), _joined(PROGRAMS)
    drawn: list[Chart] = []
    return (
        _environment()
        .get_template(template)
        .render(
            content,
            title=f"{runs[0].label}: report" if len(runs) == 1 else f"{len(runs)} runs: report",
            style=Markup(style),
            program=Markup(program),
            policy=_policy(style, program, bool(live)),
            live=live,
            drawn=drawn,
            absent=absent,
            chart=lambda chart: _place(drawn, chart),
        )
    )


def _place(drawn: list[Chart], chart: Chart) -> int:
    """Note that the page shows a chart, and return its number."""
    drawn.append(chart)
    return len(drawn) - 1


def _policy(style: str, program: str, live: bool) -> str:
    parts = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'{_hash(style)}'",
        "script-src": f"'{_hash(program)}'",
        **({"connect-src": "'self'"} if live else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "sortable": sortable, "image": _image, "data": _data}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "ensure_ascii": False}
    return environment


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text("utf-8")


@lru_cache(maxsize=2)
def _joined(names: tuple[str, ...]) -> str:
    return "\n".join(map(_asset, names))


def figure(value: Any) -> str:
    """Return a number with five digits, and anything else as its text. What was not recorded is a dash."""
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def sortable(value: Any) -> str:
    """Return what the table sorts by: the exact number, or nothing, which comes last, for what is not finite."""
    finite = number(value)
    return "" if finite is None else repr(finite)


def _image(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _data(charts: list[Chart]) -> list[dict[str, Any]]:
    return [chart.as_dict() for chart in charts]
