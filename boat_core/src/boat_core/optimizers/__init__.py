"""Functional, differentiable optimizers, one file each; configurations find them by name through this plugin."""

from __future__ import annotations

from ..declarations import OptimizerDeclaration
from ..hookspecs import hookimpl
from . import adam, sgd

BOAT_HOOK_API = 1


@hookimpl
def boat_optimizers() -> list[OptimizerDeclaration]:
    return [
        OptimizerDeclaration("sgd", "Gradient descent, momentum", "Sutskever et al. 2013", sgd.Options, sgd.build),
        OptimizerDeclaration("adam", "Adaptive moments", "arXiv 1412.6980", adam.Options, adam.build),
    ]
