"""An executor of tasks, and a place for sweeps, on Ray."""

from __future__ import annotations

from typing import Any

__all__ = ["ExecutorOptions", "RayExecutor"]


def __getattr__(name: str) -> Any:
    if name == "RayExecutor":
        from .executor import RayExecutor

        return RayExecutor
    if name == "ExecutorOptions":
        from .options import ExecutorOptions

        return ExecutorOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
