"""`boat sweep CONFIG`: many runs of one configuration."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import print_facts, print_json, print_table
from .parsing import add_config_arguments

if TYPE_CHECKING:
    from ..config.source import Source
    from ..sweeps.results import SweepResults


def sweep_config_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V1,V2", help="values of a key; every combination is run"
    )
    parser.add_argument("--methods", metavar="M1,M2", help="whole solvers, by the names of their methods")
    parser.add_argument("--seeds", metavar="SEEDS", help="values of run.seed: 0..4, or 0,3,5")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at once; without it the place decides")
    parser.add_argument("--metric", metavar="NAME", help="what orders the results, a number of `evaluate` say")
    parser.add_argument("--best", metavar="{min,max}", help="whether the smallest or the largest metric is best")
    parser.add_argument("--on", metavar="PLACE", help="where the runs are carried out: a name, or {name: …, OPTION: …}")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the sweep, new")
    parser.add_argument(
        "--resume", metavar="FOLDER", type=Path, help="go on with a sweep, no CONFIG; finished runs are kept"
    )


def sweep_config(arguments: argparse.Namespace) -> int:
    from ..config.source import read_file
    from ..runs.signals import Stopped
    from ..sweeps.sweep import carry_out, sweep_file

    if (arguments.config is None) == (arguments.resume is None):
        arguments.parser.error("expected a CONFIG, or --resume FOLDER")
    if arguments.resume is not None and arguments.overrides:
        arguments.parser.error("a sweep goes on with its own configuration: leave out --set")
    path = Path(arguments.config) if arguments.resume is None else sweep_file(arguments.resume)
    values, source = read_file(path, arguments.overrides)
    settings = _settings(arguments, source)
    try:
        results = carry_out(values, source, path.stem, settings, arguments.resume, _view(arguments.json))
    except Stopped as stopped:
        print(f"boat: interrupted by {stopped.signal.name}", file=sys.stderr)
        raise
    return 0 if len(results.finished) == results.planned else 1


def _settings(arguments: argparse.Namespace, source: Source) -> dict[str, Any]:
    """Return what the flags add to the section `sweep`, and note the places of the flags."""
    from ..config.source import parse_value
    from ..sweeps.section import grid_of, listed, seeds_of

    settings: dict[str, Any] = {name: getattr(arguments, name) for name in ("metric", "best", "jobs", "out")}
    if arguments.on is not None:
        settings["on"] = parse_value(arguments.on, source, "sweep.on", lambda line: "--on")
    settings = {name: value for name, value in settings.items() if value is not None}
    source.places |= {f"sweep.{name}": f"--{name}" for name in settings}
    if arguments.grid:
        settings["grid"] = grid_of(arguments.grid, source)
    if arguments.methods is not None:
        settings["methods"] = listed(arguments.methods, source, "methods")
    if arguments.seeds is not None:
        settings["seeds"] = seeds_of(arguments.seeds, source)
    return settings


def _view(json: bool) -> Any:
    from ..sweeps.view import LiveView

    class SweepView(LiveView):
        """Prints the results when the sweep is over, however it ends."""

        def closed(self, results: SweepResults) -> None:
            super().closed(results)
            _print_results(results, json)

    return SweepView()


def _print_results(results: SweepResults, json: bool) -> None:
    from ..sweeps.table import cells_of, columns_of

    if json:
        print_json(results.as_dict())
        return
    print_table(columns_of(results), cells_of(results))
    print()
    ended = f"{len(results.finished)} of {results.planned} runs finished"
    failed = f", {len(results.failed)} failed" if results.failed else ""
    rows = [("sweep", ended + failed), ("results", str(results.folder))]
    if len(results.finished) < results.planned:
        rows.append(("go on with", f"boat sweep --resume {results.folder}"))
    print_facts(rows)
