"""What watches a run: the record of its steps, what a user sees of it, and curves. Packs add theirs by the same hooks.

An observer's library is imported when it is built, never before.
"""

from __future__ import annotations

from ...declare.named import ObserverDeclaration
from ...declare.options import NoOptions
from . import mlflow, progress, tensorboard

DECLARATIONS = [
    ObserverDeclaration("progress", "What boat run shows", progress.build, NoOptions),
    ObserverDeclaration(
        "tensorboard", "Curves for TensorBoard", tensorboard.build, tensorboard.Options, "boat-core[tensorboard]"
    ),
    ObserverDeclaration("mlflow", "A run in MLflow", mlflow.build, mlflow.Options, "boat-core[mlflow]"),
]
