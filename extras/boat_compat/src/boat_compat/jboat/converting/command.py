"""`boat convert BOAT_CONFIG LOSS_CONFIG`: BOAT's configuration and module, and what changed in meaning."""

from __future__ import annotations

import argparse
from collections import ChainMap
from pathlib import Path
from typing import Any

from boat_core import OptionError
from boat_core.cli import print_json, print_table

from .._layer.levels import Levels
from .._layer.source import Source
from ..read_script import read_script
from .files import read_json
from .plan import Optimizer, make_plan, optimizer_of_script
from .write import Origin, write


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("boat_config", metavar="BOAT_CONFIG", type=Path, help="JBOAT's boat_config.json")
    parser.add_argument("loss_config", metavar="LOSS_CONFIG", type=Path, help="JBOAT's loss_config.json")
    parser.add_argument(
        "--out", "-o", metavar="FOLDER", type=Path, default=Path(), help="where the files go; by default here"
    )
    for key in ("gm_op", "na_op", "fo_op"):
        parser.add_argument(f"--{key}", metavar="OPS", help=f"in place of {key} of the file, as scripts take it: A,B")
    for level, default in (("lower", "sgd:0.01"), ("upper", "adam:0.01")):
        text = f"the {level} optimizer, NAME:RATE; the JSON files do not say it ({default})"
        parser.add_argument(f"--{level}", metavar="NAME:RATE", help=text)
    parser.add_argument("--steps", metavar="N", type=int, help="outer steps; the JSON files do not say it (10)")
    parser.add_argument("--models", metavar="MODULE:FUNCTION", help="a function that returns upper and lower model")
    parser.add_argument("--feeds", metavar="MODULE:FUNCTION", help="a function (k, rng) that returns both feed dicts")

    parser.add_argument(
        "--script",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT",
        help="the script that uses the files, with its arguments; last on the line",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print what changed."""
    source, losses = read_json(arguments.boat_config), read_json(arguments.loss_config)
    lower, upper = _optimizer(arguments.lower, "sgd", "--lower"), _optimizer(arguments.upper, "adam", "--upper")
    if arguments.script:
        source, lower, upper = _from_script(arguments, source, lower, upper)
    source = Source(source.file, ChainMap(_operations(arguments), dict(source.content)))
    plan = make_plan(source, lower, upper, arguments.steps)
    origin = Origin(arguments.models, arguments.feeds, arguments.script)
    yaml, module = write(plan, source, losses, arguments.out, origin)
    missing = origin.missing
    rows = [{"jboat": one.theirs, "boat": one.ours, "why": one.why} for one in plan.reasons]
    if arguments.json:
        print_json({"config": yaml, "module": module, "fill_in": missing, "changes": rows})
        return 0
    print_table(["JBOAT", "BOAT", "why"], [[row["jboat"], row["boat"], row["why"]] for row in rows])
    print(f"\n{yaml}\n{module}")
    if missing:
        names = " and ".join(f"{name}()" for name in missing)
        print(f"Fill in {names} in {module.name}: the JSON files do not hold them.")
    print(f"Then: boat run {yaml}" if missing else f"Next: boat run {yaml}")
    return 0


def _from_script(
    arguments: argparse.Namespace, source: Source, lower: Optimizer, upper: Optimizer
) -> tuple[Source, Optimizer, Optimizer]:
    """Return the configuration and the optimizers that the script has when it reaches its first iteration."""
    path, *its_arguments = arguments.script
    script = read_script(path, its_arguments)
    made = Source(source.file, script.config)
    levels = Levels(made)
    lower = lower if lower.named else optimizer_of_script(made, "lower_level_opt", levels.y.handles)
    upper = upper if upper.named else optimizer_of_script(made, "upper_level_opt", levels.x.handles)
    return made, lower, upper


def _operations(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the operations that the command line names. Either kind replaces the other one of the file."""
    named = {key: getattr(arguments, key) for key in ("gm_op", "na_op", "fo_op") if getattr(arguments, key) is not None}
    if named.keys() & {"gm_op", "na_op"}:
        named.setdefault("fo_op", None)
    return named


def _optimizer(text: str | None, default: str, flag: str) -> Optimizer:
    if text is None:
        return Optimizer({"name": default, "rate": 0.01}, 0.01)
    name, _, rate = text.partition(":")
    try:
        return Optimizer({"name": name, "rate": float(rate)}, float(rate), named=True)
    except ValueError:
        raise OptionError(where=flag, expected="NAME:RATE, such as sgd:0.1", got=repr(text)) from None
