"""BOML's methods on BOAT's solvers, and the parts that they need of any network.

boml.method("MAML", T=5, learning_rate=0.1)     settings of a solver: boat.Solver(problem, **settings)
boml.masked_learner(boml.with_transforms(net))  a network as x and y
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "methods": "METHODS method",
    "adaptation": "adapt as_jittor",
    "layers": "is_behind split with_transforms with_warps",
    "learner": ("Learner feature_learner masked_learner meta_sgd_learner start_learner warped_learner"),
    "masks": "carried draw_noise mask_logits masked_sgd sample_mask",
    "networks": "batch_statistics cross_entropy four_blocks",
    "rates": "initial_rates meta_sgd",
    "warp": "WARP",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    # Some parts import Jittor, and the plugin of this distribution must not.
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
