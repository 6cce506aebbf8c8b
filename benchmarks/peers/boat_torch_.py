"""The torch edition of BOAT, with its own names: NGD with RAD, CG or NS, or with IAD if x is the start of y."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import boat_torch
import numpy as np
import torch
from torch import Tensor, nn
from torch_model import Objective, host, leaf, network, objectives, task_batches, tensors
from work import TERMS, Work

NAME, PACKAGES = "BOAT (torch)", ("boat-torch",)
VARIANTS = {"": ("mlp", "conv", "ridge_cg", "ridge_ns", "maml")}
NOTES = {
    "all": "`run_iter` also evaluates both losses once more and writes them to a file; here this is the null device",
    "maml": "it adds up the gradients of the tasks, which the benchmark then divides by their number",
}
ESTIMATORS = {"ridge_cg": "CG", "ridge_ns": "NS", "maml": "IAD"}


class Upper(nn.Module):
    """Its upper variables live in a module."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(x)


def loss(
    batch: dict[str, Tensor], upper: Any, lower: Any, params: Any = None, *, objective: Objective, names: list[str]
) -> Tensor:
    """An objective in the form that it loads by name; `params` are the lower parameters where it gives them."""
    outputs = lower(batch["inputs"]) if params is None else lower(batch["inputs"], params=params)
    y = dict(zip(names, lower.parameters() if params is None else params))
    return objective(getattr(upper, "x", None), y, outputs, batch["targets"])


def build(work: Work, variant: str) -> Callable[[], np.ndarray]:
    tasks = work.tasks
    net = network(work)
    upper_net = network(work) if tasks else Upper(leaf(work.upper_start))
    x = list(upper_net.parameters())
    lower_loss, upper_loss = (
        {"function": f"{__name__}.loss", "params": {"objective": objective, "names": list(work.lower_start)}}
        for objective in objectives(work)
    )
    problem = boat_torch.Problem(
        {
            "fo_op": None,
            "gm_op": ["NGD"],
            "na_op": [ESTIMATORS.get(work.name, "RAD")],
            "lower_level_model": net,
            "upper_level_model": upper_net,
            "lower_level_var": list(net.parameters()),
            "upper_level_var": x,
            "lower_level_opt": torch.optim.SGD(net.parameters(), work.rate),
            "upper_level_opt": torch.optim.SGD(x, work.rate),
            "lower_iters": work.steps,
            "device": "cpu",
            "accumulate_grad": tasks,
            "return_grad": True,
            "copy_last_param": False,
            "loss_log_path": os.devnull,
            "GDA": {"alpha_init": 0.0, "alpha_decay": 0.9},
            "RGT": {"truncate_iter": 0},
            # The peer's count of terms leaves out the first.
            "CG": {"tolerance": 0.0, "k": TERMS - (work.name == "ridge_ns")},
        },
        {"lower_level_loss": lower_loss, "upper_level_loss": upper_loss},
    )
    problem.build_ll_solver()
    problem.build_ul_solver()
    batches = list(zip(*task_batches(work))) if tasks else [tensors(work.lower_batch), tensors(work.upper_batch)]

    def once() -> np.ndarray:
        for value in x:
            value.grad = None  # the peer adds to the gradient that is already there
        gradients, _ = problem.run_iter(*map(list, batches) if tasks else batches, current_iter=0)
        return host(gradients) / (len(batches[0]) if tasks else 1)

    return once
