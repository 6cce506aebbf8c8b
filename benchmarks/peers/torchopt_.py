"""TorchOpt: MetaSGD through the steps, `custom_root` with its own linear solvers for `ridge`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torchopt
from torch import Tensor
from torch_model import Tensors, bound, host, leaf, network, objectives, task_batches, tensors
from work import TERMS, Work

NAME, PACKAGES = "TorchOpt", ("torchopt",)
VARIANTS = {"": ("mlp", "conv", "attention", "ridge_cg", "ridge_ns", "maml", "few_shot")}
NOTES = {"ridge_cg": "its CG takes one more Hessian product, at its start of zero"}


def build(work: Work, variant: str) -> Callable[[], np.ndarray]:
    return implicit(work) if work.name.startswith("ridge") else unrolled(work)


def unrolled(work: Work) -> Callable[[], np.ndarray]:
    lower, upper = objectives(work)
    net = network(work)
    start = torchopt.extract_state_dict(net, by="reference")

    def loss_after(x: Tensor | None, points: Tensors, others: Tensors) -> Tensor:
        torchopt.recover_state_dict(net, start)
        optimizer = torchopt.MetaSGD(net, lr=work.rate)
        for _ in range(work.steps):
            optimizer.step(lower(x, None, net(points["inputs"]), points["targets"]))
        return upper(x, None, net(others["inputs"]), others["targets"])

    if work.tasks:
        batches, leaves = task_batches(work), list(net.parameters())

        def once() -> np.ndarray:
            loss = sum(loss_after(None, *pair) for pair in batches) / len(batches)
            return host(torch.autograd.grad(loss, leaves))

    else:
        points, others = tensors(work.lower_batch), tensors(work.upper_batch)

        def once() -> np.ndarray:
            x = leaf(work.upper_start)
            return host(torch.autograd.grad(loss_after(x, points, others), [x]))

    return once


def implicit(work: Work) -> Callable[[], np.ndarray]:
    lower, upper = bound(work)
    if work.name == "ridge_cg":
        solve = torchopt.linear_solve.solve_cg(maxiter=TERMS, rtol=0.0, atol=0.0)
    else:
        solve = torchopt.linear_solve.solve_inv(ns=True, maxiter=TERMS - 1, alpha=work.rate)
    ((name, start),) = tensors(work.lower_start).items()
    gradient = torch.func.grad(lambda y, x: lower(x, {name: y}))

    @torchopt.diff.implicit.custom_root(gradient, argnums=1, solve=solve)
    def stepped(y: Tensor, x: Tensor) -> Tensor:
        return y - work.rate * gradient(y, x)

    def once() -> np.ndarray:
        x = leaf(work.upper_start)
        return host(torch.autograd.grad(upper(x, {name: stepped(start, x)}), [x]))

    return once
