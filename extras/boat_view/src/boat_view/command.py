"""`boat draw CONFIG`: a picture of one hypergradient."""

from __future__ import annotations

import argparse
from pathlib import Path

from boat_core import Job, RunError, read_config
from boat_core.cli import add_config_arguments, print_json

from .drawing.picture import draw
from .drawing.sheet import check_place


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_config_arguments(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the picture (.svg, .png, .pdf), replaced if it is there; without it CONFIG.svg here, and none for --json",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the hypergradient of the first outer step, or print it as JSON."""
    config = read_config(arguments.config, arguments.overrides)
    place = _place(arguments)
    job = Job(config)
    graph = job.solver.graph(**job.batches(0))
    if place is not None:
        draw(graph, place)
    if arguments.json:
        print_json({"picture": place, **graph.as_dict()})
    else:
        print(place)
    return 0


def _place(arguments: argparse.Namespace) -> Path | None:
    """Return where the picture goes. It is checked before anything is computed."""
    if arguments.out is not None:
        return check_place(arguments.out)
    if arguments.json:
        return None
    place = check_place(f"{Path(arguments.config).stem}.svg")
    if place.exists():
        raise RunError(f"{place} exists; replace it with --out {place}, or choose another name there")
    return place
