"""Functional, differentiable optimizers, one file each; configurations find them by name through the core's plugin."""

from __future__ import annotations

from ..declarations import OptimizerDeclaration
from . import adam, sgd

DECLARATIONS = [
    OptimizerDeclaration("sgd", "Gradient descent, momentum", "Sutskever et al. 2013", sgd.Options, sgd.build),
    OptimizerDeclaration("adam", "Adaptive moments", "arXiv 1412.6980", adam.Options, adam.build),
]
