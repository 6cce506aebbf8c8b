"""What this pack brings: BOAT finds it through the entry point of group "boat".

Everything that does the work is imported when it is used, for this file is imported whenever `boat` starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from boat_core import CommandDeclaration, ObserverDeclaration, hookimpl

from .observers.options import MLflowOptions, TensorBoardOptions

BOAT_HOOK_API = 1


@hookimpl
def boat_commands() -> list[CommandDeclaration]:
    summary = "draw the hypergradient of a configuration's first outer step; --json: print what is in the picture"
    return [
        CommandDeclaration("draw", summary, _configure_draw, _run_draw, _draw),
        CommandDeclaration("report", "write one HTML page about a run or several", _configure_report, _run_report),
    ]


@hookimpl
def boat_observers() -> list[ObserverDeclaration]:
    return [
        ObserverDeclaration(
            "tensorboard", "Curves for TensorBoard", _tensorboard, TensorBoardOptions, "boat-view[tensorboard]"
        ),
        ObserverDeclaration("mlflow", "A run in MLflow", _mlflow, MLflowOptions, "boat-view[mlflow]"),
    ]


def _own(module: str) -> Any:
    return import_module(f".{module}", __package__)


def _configure_draw(parser: Any) -> None:
    _own("command").configure(parser)


def _run_draw(arguments: Any) -> int:
    code: int = _own("command").run(arguments)
    return code


def _draw(*arguments: Any, **batches: Any) -> Any:
    return _own("drawing.picture").draw(*arguments, **batches)


def _configure_report(parser: Any) -> None:
    _own("report.command").configure(parser)


def _run_report(arguments: Any) -> int:
    code: int = _own("report.command").run(arguments)
    return code


def _tensorboard(options: TensorBoardOptions) -> Any:
    return _own("observers.tensorboard").TensorBoard(options)


def _mlflow(options: MLflowOptions) -> Any:
    return _own("observers.mlflow").MLflow(options)
