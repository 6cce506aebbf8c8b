"""Curves for TensorBoard, written by tensorboardX. `tensorboard --logdir runs` shows the curves of all runs."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from boat_core import hookimpl

from .curves import evaluation_curves, step_curves
from .options import TensorBoardOptions

#: Seconds after which written numbers are on disk.
FLUSH_SECONDS = 10


class TensorBoard:
    """Writes losses, the norm of the hypergradient, the numbers of reports, evaluations, and concerns as texts."""

    def __init__(self, options: TensorBoardOptions) -> None:
        self._summary_writer = _import_writer()
        self._folder = options.folder
        self._writer: Any = None

    @hookimpl
    def boat_run_started(self, run: Any) -> None:
        first = run.resumed_from or 0
        self._writer = self._summary_writer(
            str(self._folder or run.folder / "tensorboard"),
            # TensorBoard hides what earlier files have from this step on. The first such mark hides nothing, so a new
            # run needs one too.
            purge_step=first,
            filename_suffix=f".from-{first}",  # without it the names of two files differ by the second only
            flush_secs=FLUSH_SECONDS,
        )

    @hookimpl
    def boat_step_finished(self, run: Any, step: Any) -> None:
        self._write(step_curves(step), step.iteration)
        if step.report.concerns:
            self._writer.add_text("concerns", "\n\n".join(step.report.concerns), step.iteration)

    @hookimpl
    def boat_evaluated(self, run: Any, iteration: int, numbers: dict[str, float]) -> None:
        self._write(evaluation_curves(numbers), iteration)

    @hookimpl
    def boat_run_finished(self, run: Any, summary: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, numbers: dict[str, float], iteration: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, iteration)


def _import_writer() -> Any:
    """Import tensorboardX without PyTorch, whose import takes seconds and is not needed here."""
    modules: dict[str, Any] = sys.modules
    hidden = "torch" not in modules
    if hidden:
        modules["torch"] = None
    try:
        return import_module("tensorboardX").SummaryWriter
    finally:
        if hidden:
            del modules["torch"]
