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
        _command("check", "hold packs to all that is asked of them; exit 1 if something is amiss"),
        _command("new", "write a complete distribution for an operation of your own"),
    ]


def _command(name: str, summary: str) -> CommandDeclaration:
    def configure(parser: Any) -> None:
        import_module(f".{name}", __package__).configure(parser)

    def run(arguments: Any) -> int:
        code: int = import_module(f".{name}", __package__).run(arguments)
        return code

    return CommandDeclaration(f"ops {name}", summary, configure, run)
