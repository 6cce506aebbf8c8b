"""`boat ops new NAME`: write a pack for an operation of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from boat_core import installed
from boat_core.cli import print_facts, print_json

from .scaffold import STAGES, write_pack


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("name", metavar="NAME", help="of the operation, such as NYSTROM; the pack is boat-nystrom")
    parser.add_argument("--stage", required=True, choices=STAGES)
    parser.add_argument("--into", metavar="FOLDER", type=Path, default=Path(), help="where its folder is made")


def run(arguments: argparse.Namespace) -> int:
    """Write the pack, and print its files and what to do next."""
    folder, files = write_pack(arguments.name, arguments.stage, arguments.into, installed())
    if arguments.json:
        print_json({"folder": str(folder), "files": files})
        return 0
    print_facts([(str(folder), "\n".join(files))])
    print(f"\nNext:\n  pip install -e '{folder}[test]'\n  pytest {folder}\n  boat ops check {folder.name}")
    return 0
