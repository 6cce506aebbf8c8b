"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from boat_core import CommandDeclaration, Operation, OptimizerDeclaration, ProblemDeclaration, hookimpl

from .boml.masks import MASKED_SGD
from .boml.rates import meta_sgd
from .boml.warp import WARP
from .few_shot.problem import FEW_SHOT

BOAT_HOOK_API = 1


@hookimpl
def boat_commands() -> list[CommandDeclaration]:
    summary = "turn JBOAT's two JSON files into a configuration and a module of BOAT's; say what changed"
    return [CommandDeclaration("convert", summary, _configure_convert, _run_convert)]


@hookimpl
def boat_approximate_operations() -> list[Operation]:
    return [WARP]


@hookimpl
def boat_optimizers() -> list[OptimizerDeclaration]:
    return [meta_sgd.declaration, MASKED_SGD]


@hookimpl
def boat_problems() -> list[ProblemDeclaration]:
    return [FEW_SHOT]


def _configure_convert(parser: Any) -> None:
    import_module(".jboat.converting.command", __package__).configure(parser)


def _run_convert(arguments: Any) -> int:
    code: int = import_module(".jboat.converting.command", __package__).run(arguments)
    return code
