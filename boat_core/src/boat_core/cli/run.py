"""`boat run CONFIG`: the main job."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..files import json_text
from ..hookspecs import hookimpl
from . import add_config, add_verb
from .output import print_facts


def add_parsers(verbs: Any) -> None:
    run = add_verb(verbs, "run", run_config, "run a configuration; --json: the last line is the summary")
    add_config(run, required=False)
    run.add_argument(
        "--resume", metavar="FOLDER", type=Path, help="go on from the newest checkpoint of a run, no CONFIG"
    )


def run_config(arguments: argparse.Namespace) -> int:
    from ..config import read_config
    from ..observers.progress import Progress
    from ..resume import CONFIG_NAME
    from ..run import run

    if arguments.config is None and arguments.resume is None:
        arguments.parser.error("expected a CONFIG, or --resume FOLDER")
    config = read_config(arguments.config or arguments.resume / CONFIG_NAME, arguments.overrides)
    # The last is called first: the bar ends before the summary is printed.
    run(config, observers=[_Summary(arguments.json), Progress()], resume=arguments.resume)
    return 0


class _Summary:
    """Prints the summary when the run ends, however it ends."""

    def __init__(self, json: bool) -> None:
        self._json = json

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if self._json:
            print(json_text(summary), flush=True)
            return
        losses = f"upper {summary['upper_loss']}, lower {summary['lower_loss']}"
        times = f"{summary['seconds_computing']} s computing, {summary['seconds_compiling']} s compiling"
        rows = [
            (summary["status"], f"{summary['steps']} of {run.steps} steps, {times}"),
            ("losses", losses),
            ("evaluation", ", ".join(f"{name} {value}" for name, value in summary["evaluation"].items())),
            ("concerns", summary["concerns"] or ""),
            ("results", summary["folder"]),
        ]
        print_facts([row for row in rows if row[1] != ""])
