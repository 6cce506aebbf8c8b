"""`boat run CONFIG`: the main job."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..plugins.hookspecs import hookimpl
from .output import print_facts, printable_json
from .parsing import add_config_arguments


def run_config_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        type=Path,
        help="go on from the newest checkpoint of a run, no CONFIG; --set run.steps=N makes it longer",
    )


def run_config(arguments: argparse.Namespace) -> int:
    from ..config.schema import read_config
    from ..runs.folder import CONFIG_NAME
    from ..runs.observers.progress import Progress
    from ..runs.run import run
    from ..runs.signals import Stopped

    if arguments.config is None and arguments.resume is None:
        arguments.parser.error("expected a CONFIG, or --resume FOLDER")
    config = read_config(arguments.config or arguments.resume / CONFIG_NAME, arguments.overrides)
    # The last is called first: the bar ends before the summary is printed.
    named = {name.rpartition(":")[2] for _, name, _ in config.run.named_observers()}
    progress = [] if "progress" in named else [Progress()]
    try:
        run(config, observers=[_Summary(arguments.json), *progress], resume=arguments.resume)
    except Stopped as stopped:
        print(f"boat: interrupted by {stopped.signal.name}", file=sys.stderr)
        raise
    return 0


class _Summary:
    """Prints the summary when the run ends, however it ends."""

    def __init__(self, json: bool) -> None:
        self._json = json

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if run.switched_off:  # this observer is called last, so it also knows those that failed over this very summary
            summary = {**summary, "observers_switched_off": run.switched_off}
        if self._json:
            print(printable_json(summary), flush=True)
            return
        computing, compiling = summary["seconds_computing"], summary["seconds_compiling"]
        rows = [
            (summary["status"], f"{summary['steps']} of {run.steps} steps"),
            ("seconds", f"{computing:.1f} computing, {compiling:.1f} compiling"),
            *((name.replace("_", " "), _short(summary[name])) for name in ("upper_loss", "lower_loss")),
            *((name.replace("_", " "), _short(value)) for name, value in summary["evaluation"].items()),
            *([("concerns", f"{summary['concerns']}, see metrics.jsonl")] if summary["concerns"] else []),
            *(("switched off", reason) for reason in run.switched_off),
            ("results", summary["folder"]),
        ]
        print_facts(rows)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
