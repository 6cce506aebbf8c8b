"""What this pack brings: BOAT finds it through the entry point of group "boat".

The work is in `new.py` and `check.py`, which are imported when their commands are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from boat_core import CommandDeclaration, hookimpl

BOAT_HOOK_API = 1


@hookimpl
def boat_commands() -> list[CommandDeclaration]:
    return [
        _command("ops check", "hold packs to all that is asked of them; exit 1 if something is amiss"),
        _command("ops new", "write a complete distribution for an operation of your own"),
        _command("init", "write a problem and its configuration, ready to run, to begin from"),
    ]


def _command(name: str, summary: str) -> CommandDeclaration:
    file = name.rpartition(" ")[2]

    def configure(parser: Any) -> None:
        import_module(f".{file}", __package__).configure(parser)

    def run(arguments: Any) -> int:
        code: int = import_module(f".{file}", __package__).run(arguments)
        return code

    return CommandDeclaration(name, summary, configure, run)
