"""`boat init FOLDER`: write a problem and its configuration, ready to run, to begin from."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from boat_core import BoatError
from boat_core.cli import print_facts, print_json, print_table

_PROBLEMS = Path(__file__).with_name("problems")
#: The templates and what each is about.
TEMPLATES = {
    "minimal": "a problem with a known solution, the shortest start",
    "hyperparameters": "penalties of a regression, by implicit differentiation",
    "cleaning": "weights of training rows with wrong labels, through the lower steps",
    "meta-learning": "a start for many tasks, by MAML",
    "first-order": "the cleaning problem by first derivatives alone",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="is made; without it, templates are listed"
    )
    parser.add_argument("--template", choices=tuple(TEMPLATES), default="minimal", help="what to begin from (minimal)")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and say what to do next."""
    if arguments.folder is None:
        if arguments.json:
            print_json({"templates": TEMPLATES})
        else:
            print_table(("template", "what it is"), list(TEMPLATES.items()))
        return 0
    files = write_problem(arguments.template, arguments.folder)
    if arguments.json:
        print_json({"folder": str(arguments.folder), "files": files})
        return 0
    print_facts([(str(arguments.folder), "\n".join(files))])
    config = arguments.folder / "config.yaml"
    print(f"\nNext:\n  boat explain {config}\n  boat check {config}\n  boat run {config}")
    return 0


def write_problem(template: str, folder: Path) -> list[str]:
    """Write the files of a template into a new folder, whole or not at all, and return their names.

    Raises:
        BoatError: the folder exists, or cannot be made.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        if folder.exists():
            raise BoatError(f"{folder} exists; choose another FOLDER")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        for file in (_PROBLEMS / template).iterdir():  # Python files end in .in there: they are no modules of the pack
            shutil.copyfile(file, partial / file.name.removesuffix(".in"))
        partial.rename(folder)
    except OSError as error:
        raise BoatError(f"{folder} cannot be made: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(path.name for path in folder.iterdir())
