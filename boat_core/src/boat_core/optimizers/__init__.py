"""Functional, differentiable optimizers, one file each. Configurations find them by name through the core's plugin."""

from __future__ import annotations

from .adadelta import adadelta
from .adagrad import adagrad
from .adam import adam
from .adamax import adamax
from .adamw import adamw
from .adan import adan
from .asgd import asgd
from .lion import lion
from .radam import radam
from .rmsprop import rmsprop
from .rprop import rprop
from .sgd import sgd

RULES = (sgd, adam, adamw, adamax, radam, rmsprop, adagrad, adadelta, rprop, asgd, adan, lion)
DECLARATIONS = [rule.declaration for rule in RULES]
