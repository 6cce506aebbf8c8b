"""The problem on which the optimizers run, and the counterparts of our optimizers in PyTorch and optax. Needs numpy
alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: The gradient at step t (1, 2, …) is `MATRIX` y + (-1)ᵗ `WAVE`: signs turn, and the last entry is always 0.
MATRIX = np.array([[2.0, 0.5, 0.0, 0.0], [0.5, 1.0, 0.25, 0.0], [0.0, 0.25, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
WAVE = np.array([0.3, -0.2, 0.7, 0.0])
START = np.array([1.0, -2.0, 3.0, 0.5])
STEPS = 100
#: The steps after which iterates are recorded.
RECORDED = (1, 2, 3, 5, 10, 20, 50, 100)


def gradient(y: np.ndarray, t: int) -> np.ndarray:
    return MATRIX @ y + (-1) ** t * WAVE


@dataclass(frozen=True)
class Case:
    """One of our optimizers, and the same in the other libraries.

    Args:
        torch: a class of `torch.optim` and its arguments.
        optax: functions of optax and their arguments, chained.
        average: run its state's average instead of its iterates; it is PyTorch's `ax`.
        differs: where a library is another by definition, and how. Such figures are printed and not recorded.
    """

    name: str
    optimizer: str
    options: dict[str, Any]
    torch: tuple[str, dict[str, Any]] | None = None
    optax: tuple[tuple[str, dict[str, Any]], ...] = ()
    average: bool = False
    differs: dict[str, str] = field(default_factory=dict)


#: As good as no ε: with it those agree that put ε in different places.
TINY = 1e-30
LATE = "moves by the step of the iteration before (its pull request 1725)"


def _optax(rate: float, **others: Any) -> dict[str, Any]:
    return {"learning_rate": rate, **others}


CASES = [
    Case("sgd", "sgd", {"rate": 0.1}, ("SGD", {"lr": 0.1}), (("sgd", _optax(0.1)),)),
    Case(
        "sgd, momentum, weight decay",
        "sgd",
        {"rate": 0.05, "momentum": 0.9, "weight_decay": 0.1},
        ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
        (("add_decayed_weights", {"weight_decay": 0.1}), ("sgd", _optax(0.05, momentum=0.9))),
    ),
    Case(
        "sgd, Nesterov",
        "sgd",
        {"rate": 0.05, "momentum": 0.9, "nesterov": True},
        ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        (("sgd", _optax(0.05, momentum=0.9, nesterov=True)),),
    ),
    Case("adam", "adam", {"rate": 0.1}, ("Adam", {"lr": 0.1}), (("adam", _optax(0.1)),)),
    Case(
        "adam, all options",
        "adam",
        {"rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2},
        ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2}),
        (("adam", _optax(0.1, b1=0.5, b2=0.9, eps=1e-2)),),
    ),
    Case(
        "adamw",
        "adamw",
        {"rate": 0.1, "beta2": 0.9, "epsilon": 1e-2, "weight_decay": 0.1},
        ("AdamW", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
        (("adamw", _optax(0.1, b2=0.9, eps=1e-2, weight_decay=0.1)),),
    ),
    Case(
        "adam, AMSGrad",
        "adam",
        {"rate": 0.1, "beta2": 0.9, "epsilon": 1e-2, "amsgrad": True},
        ("Adam", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-2, "amsgrad": True}),
        (("amsgrad", _optax(0.1, b2=0.9, eps=1e-2)),),
        differs={"optax": "takes the maximum of v̂ instead of v"},
    ),
    Case(
        "adamw, AMSGrad",
        "adamw",
        {"rate": 0.1, "beta2": 0.9, "epsilon": 1e-2, "weight_decay": 0.1, "amsgrad": True},
        ("AdamW", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-2, "weight_decay": 0.1, "amsgrad": True}),
    ),
    Case(
        "adamax",
        "adamax",
        {"rate": 0.1, "beta2": 0.9, "epsilon": 1e-2},
        ("Adamax", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-2}),
        (("adamax", _optax(0.1, b2=0.9, eps=1e-2)),),
    ),
    Case(
        "radam",
        "radam",
        {"rate": 0.1, "epsilon": TINY},
        ("RAdam", {"lr": 0.1, "eps": TINY}),
        (("radam", _optax(0.1, eps=TINY)),),
    ),
    Case(
        "radam, ε, β₂",
        "radam",
        {"rate": 0.1, "beta2": 0.9, "epsilon": 1e-2},
        ("RAdam", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-2}),
        (("radam", _optax(0.1, b2=0.9, eps=1e-2)),),
        differs={"optax": "adds ε to √v̂ instead of √v"},
    ),
    Case(
        "radam, never adaptive",
        "radam",
        {"rate": 0.1, "beta2": 0.6},
        ("RAdam", {"lr": 0.1, "betas": (0.9, 0.6)}),
        (("radam", _optax(0.1, b2=0.6)),),
    ),
    Case(
        "rmsprop",
        "rmsprop",
        {"rate": 0.05, "epsilon": TINY},
        ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": TINY}),
        (("rmsprop", _optax(0.05, eps=TINY)),),
    ),
    Case(
        "rmsprop, ε",
        "rmsprop",
        {"rate": 0.05, "epsilon": 1e-2},
        ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-2}),
        (("rmsprop", _optax(0.05, eps=1e-2)),),
        differs={"torch": "adds ε to √v instead of v"},
    ),
    Case(
        "rmsprop, centred, momentum",
        "rmsprop",
        {"rate": 0.02, "decay": 0.95, "epsilon": 1e-2, "momentum": 0.5, "centred": True},
        ("RMSprop", {"lr": 0.02, "alpha": 0.95, "eps": 1e-2, "momentum": 0.5, "centered": True}),
        (("rmsprop", _optax(0.02, decay=0.95, eps=1e-2, momentum=0.5, centered=True)),),
        differs={"torch": "adds ε to √v instead of v"},
    ),
    Case(
        "rmsprop, centred, momentum, no ε",
        "rmsprop",
        {"rate": 0.02, "decay": 0.95, "epsilon": TINY, "momentum": 0.5, "centred": True},
        ("RMSprop", {"lr": 0.02, "alpha": 0.95, "eps": TINY, "momentum": 0.5, "centered": True}),
        (("rmsprop", _optax(0.02, decay=0.95, eps=TINY, momentum=0.5, centered=True)),),
    ),
    Case(
        "adagrad",
        "adagrad",
        {"rate": 0.5, "initial": 0.1, "epsilon": TINY},
        ("Adagrad", {"lr": 0.5, "initial_accumulator_value": 0.1, "eps": TINY}),
        (("adagrad", _optax(0.5, initial_accumulator_value=0.1, eps=0.0)),),
    ),
    Case(
        "adagrad, ε",
        "adagrad",
        {"rate": 0.5, "epsilon": 1e-2},
        ("Adagrad", {"lr": 0.5, "eps": 1e-2}),
        (("adagrad", _optax(0.5, initial_accumulator_value=0.0, eps=1e-2)),),
        differs={"optax": "adds ε to v instead of √v"},
    ),
    Case(
        "adadelta",
        "adadelta",
        {"rate": 2.0, "epsilon": 1e-3},
        ("Adadelta", {"lr": 2.0, "rho": 0.95, "eps": 1e-3}),
        (("adadelta", _optax(2.0, rho=0.95, eps=1e-3)),),
    ),
    Case("rprop", "rprop", {"rate": 0.1}, ("Rprop", {"lr": 0.1}), (("rprop", _optax(0.1)),), differs={"optax": LATE}),
    Case(
        "rprop, all options",
        "rprop",
        {"rate": 0.2, "grow": 1.5, "shrink": 0.25, "smallest": 0.03, "largest": 0.4},
        ("Rprop", {"lr": 0.2, "etas": (0.25, 1.5), "step_sizes": (0.03, 0.4)}),
        (("rprop", _optax(0.2, eta_minus=0.25, eta_plus=1.5, min_step_size=0.03, max_step_size=0.4)),),
        differs={"optax": LATE},
    ),
    Case(
        "asgd",
        "asgd",
        {"rate": 0.2, "weight_decay": 0.1, "exponent": 0.6},
        ("ASGD", {"lr": 0.2, "lambd": 0.1, "alpha": 0.6}),
    ),
    Case(
        "asgd, average",
        "asgd",
        {"rate": 0.2, "weight_decay": 0.1, "start": 7},
        ("ASGD", {"lr": 0.2, "lambd": 0.1, "t0": 5}),
        average=True,
    ),
    Case(
        "adan, β₂ = ½",
        "adan",
        {"rate": 0.1, "beta2": 0.5},
        optax=(("adan", _optax(0.1, b2=0.5, eps_root=0.0)),),
    ),
    Case(
        "adan",
        "adan",
        {"rate": 0.1},
        optax=(("adan", _optax(0.1, eps_root=0.0)),),
        differs={"optax": "multiplies the differences by 1 - β₂ instead of β₂"},
    ),
    Case(
        "adan, ε",
        "adan",
        {"rate": 0.1, "beta2": 0.5, "epsilon": 1e-2},
        optax=(("adan", _optax(0.1, b2=0.5, eps=1e-2)),),
        differs={"optax": "adds another ε, 1e-8, inside the root"},
    ),
    Case(
        "adan, weight decay",
        "adan",
        {"rate": 0.1, "beta2": 0.5, "weight_decay": 0.1},
        optax=(("adan", _optax(0.1, b2=0.5, eps_root=0.0, weight_decay=0.1)),),
        differs={"optax": "decays y by 1 - ηλ instead of 1/(1 + ηλ)"},
    ),
    Case(
        "lion",
        "lion",
        {"rate": 0.02, "weight_decay": 0.1},
        optax=(("lion", _optax(0.02, weight_decay=0.1)),),
    ),
]
