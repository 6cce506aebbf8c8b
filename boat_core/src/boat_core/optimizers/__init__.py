"""Functional, differentiable optimizers, one file each; configurations find them by name through the core's plugin."""

from __future__ import annotations

from .adam import adam
from .sgd import sgd

DECLARATIONS = [rule.declaration for rule in (sgd, adam)]
