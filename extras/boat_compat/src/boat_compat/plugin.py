"""What this pack brings: BOAT finds it through the entry point of group "boat".

Everything that does the work is imported when it is used, for this file is imported whenever `boat` starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from boat_core import CommandDeclaration, hookimpl

BOAT_HOOK_API = 1


@hookimpl
def boat_commands() -> list[CommandDeclaration]:
    summary = "turn JBOAT's two JSON files into a configuration and a module of BOAT's; say what changed"
    return [CommandDeclaration("convert", summary, _configure_convert, _run_convert)]


def _configure_convert(parser: Any) -> None:
    import_module(".jboat.converting.command", __package__).configure(parser)


def _run_convert(arguments: Any) -> int:
    code: int = import_module(".jboat.converting.command", __package__).run(arguments)
    return code
