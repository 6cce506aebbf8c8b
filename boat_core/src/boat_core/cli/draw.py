"""`boat draw CONFIG`: a picture of what one hypergradient is made of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import RunError
from . import add_config, add_verb
from .output import print_json


def add_parsers(verbs: Any) -> None:
    summary = "draw the hypergradient of a configuration's first outer step; --json: print what is in the picture"
    draw = add_verb(verbs, "draw", draw_config, summary)
    add_config(draw)
    draw.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the picture (.svg, .png, .pdf), replaced if it is there; without it CONFIG.svg here, and none for --json",
    )


def draw_config(arguments: argparse.Namespace) -> int:
    from ..config.build import Job
    from ..config.schema import read_config
    from ..drawing.picture import draw

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
    """Where the picture goes, looked at before anything is computed."""
    from ..drawing.sheet import check_place

    if arguments.out is not None:
        return check_place(arguments.out)
    if arguments.json:
        return None
    place = check_place(f"{Path(arguments.config).stem}.svg")
    if place.exists():
        raise RunError(f"{place} exists; replace it with --out {place}, or choose another name there")
    return place
