"""Curves for TensorBoard: `tensorboard --logdir runs` shows them of all runs. Written by tensorboardX."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...declare.options import option
from ...plugins.hookspecs import hookimpl
from .curves import evaluation_curves, step_curves

#: Seconds after which what was written is on disk.
FLUSH_SECONDS = 10


@dataclass(frozen=True)
class Options:
    folder: str | None = option(
        None, doc="where the event files of this run go; without it tensorboard in the run's folder"
    )


class TensorBoard:
    """Writes losses, the hypergradient's norm, the figures of the reports, evaluations, and concerns as texts."""

    def __init__(self, options: Options) -> None:
        self._summary_writer = _import_writer()
        self._folder = options.folder
        self._writer: Any = None

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        since = run.resumed_from or 0
        self._writer = self._summary_writer(
            str(self._folder or run.folder / "tensorboard"),
            # What earlier files have from this step on is hidden; by the first of such marks TensorBoard hides nothing,
            # so a new run needs one too.
            purge_step=since,
            filename_suffix=f".from-{since}",  # otherwise names differ by the second only
            flush_secs=FLUSH_SECONDS,
        )

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        self._draw(step_curves(step), step.iteration)
        if step.report.concerns:
            self._writer.add_text("concerns", "\n\n".join(step.report.concerns), step.iteration)

    @hookimpl
    def boat_evaluated(self, run: Any, iteration: int, numbers: dict[str, float]) -> None:
        self._draw(evaluation_curves(numbers), iteration)

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.close()

    def _draw(self, numbers: dict[str, float], iteration: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, iteration)


def _import_writer() -> Any:
    """Import tensorboardX, and keep it from PyTorch, which it imports where it finds one: seconds, for nothing."""
    modules: dict[str, Any] = sys.modules
    hidden = "torch" not in modules
    if hidden:
        modules["torch"] = None
    try:
        return import_module("tensorboardX").SummaryWriter
    finally:
        if hidden:
            del modules["torch"]


def build(options: Options) -> TensorBoard:
    return TensorBoard(options)
