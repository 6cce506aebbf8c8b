"""`boat report RUN [RUN …]`: one HTML file about one run or several, or a server that follows them."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from boat_core import Job, OptionError, RunError, read_config
from boat_core.cli import print_json

from ..drawing.picture import draw
from ..files import write_atomically
from .live import LiveServer
from .page import render
from .runs import CONFIG, absent_runs, find_runs, read_runs


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="the folder of a run, or of a sweep")
    parser.add_argument(
        "--out",
        "-o",
        metavar="FILE",
        type=Path,
        help="the page, replaced if it is there; without it report.html here, which must not exist",
    )
    parser.add_argument(
        "--draw",
        action="store_true",
        help="draw the graph of one run's hypergradient too; that runs the problem's code for one outer step",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="write nothing: serve the page to this machine alone, and follow the runs until Ctrl-C",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page, or serve it."""
    if arguments.live:
        return _serve(arguments)
    place = _place(arguments.out)
    folders = find_runs(arguments.runs)
    if arguments.draw and len(folders) > 1:
        raise OptionError(where="--draw", expected="one run", got=f"{len(folders)} runs")
    runs = read_runs(folders)
    drawing = _drawing(folders[0]) if arguments.draw else None
    page = render(runs, absent_runs(arguments.runs), drawing).encode()
    try:
        write_atomically(place, lambda file: file.write(page))
    except OSError as error:
        raise RunError(f"{place} cannot be written: {error.strerror}") from None
    if arguments.json:
        print_json({"page": place, "bytes": len(page), "runs": folders})
    else:
        print(place)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    for flag, value in (("--out", arguments.out), ("--draw", arguments.draw)):
        if value:
            raise OptionError("--live writes nothing and runs nothing: leave this out", where=flag)
    read_runs(find_runs(arguments.runs))  # what is wrong with the folders is an error now, not in the browser
    with LiveServer(arguments.runs) as server:
        if arguments.json:
            print_json({"url": server.url})
        else:
            print(f"{server.url} (Ctrl-C ends the server)")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def _place(out: Path | None) -> Path:
    """Return where the page goes. It is checked before anything is read."""
    place = Path("report.html") if out is None else out
    if out is None and place.exists():
        raise RunError(f"{place} exists; replace it with --out {place}, or choose another name there")
    if not place.parent.is_dir():
        raise RunError(f"no folder {place.parent}", where="--out")
    if place.is_dir():
        raise RunError("expected the name of a file (it is a folder)", where=str(place))
    return place


def _drawing(folder: Path) -> bytes:
    """Compute the hypergradient of the first outer step again, and draw its graph."""
    job = Job(read_config(folder / CONFIG))
    graph = job.solver.graph(**job.batches(0))
    with tempfile.TemporaryDirectory() as scratch:
        return draw(graph, Path(scratch) / "graph.svg").read_bytes()
