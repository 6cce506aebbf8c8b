"""higher: it patches a module and an optimizer so that the steps are differentiable."""

from __future__ import annotations

from collections.abc import Callable

import higher
import numpy as np
import torch
from torch import Tensor
from torch_model import Tensors, host, leaf, network, objectives, task_batches, tensors
from work import Work

NAME, PACKAGES = "higher", ("higher",)
VARIANTS = {"": ("mlp", "conv", "attention", "maml", "few_shot")}
NOTES = {"ridge_cg, ridge_ns": "no implicit differentiation"}


def build(work: Work, variant: str) -> Callable[[], np.ndarray]:
    lower, upper = objectives(work)
    net = network(work)
    optimizer = torch.optim.SGD(net.parameters(), work.rate)

    def loss_after(x: Tensor | None, points: Tensors, others: Tensors, of_start: bool) -> Tensor:
        """Return F after the steps, differentiable with respect to their start if `of_start` is set."""
        with higher.innerloop_ctx(net, optimizer, copy_initial_weights=not of_start) as (patched, steps):
            for _ in range(work.steps):
                steps.step(lower(x, None, patched(points["inputs"]), points["targets"]))
            return upper(x, None, patched(others["inputs"]), others["targets"])

    if work.tasks:
        batches = task_batches(work)

        def once() -> np.ndarray:
            loss = sum(loss_after(None, *pair, of_start=True) for pair in batches) / len(batches)
            return host(torch.autograd.grad(loss, list(net.parameters())))

    else:
        points, others = tensors(work.lower_batch), tensors(work.upper_batch)

        def once() -> np.ndarray:
            x = leaf(work.upper_start)
            return host(torch.autograd.grad(loss_after(x, points, others, of_start=False), [x]))

    return once
