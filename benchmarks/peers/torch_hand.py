"""PyTorch by hand: autograd through the steps, with their graph kept; for `ridge` double backward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch_model import Tensors, bound, host, leaf, objectives, outputs, tensors
from work import TERMS, Work

NAME, PACKAGES = "torch by hand", ("torch",)
VARIANTS = {"": ("mlp", "conv", "attention", "ridge_cg", "ridge_ns", "maml", "few_shot")}
NOTES = {"maml, few_shot": "`torch.func`: `grad` of a `vmap` over the tasks, which is faster than a loop over them"}


def build(work: Work, variant: str) -> Callable[[], np.ndarray]:
    if work.name.startswith("ridge"):
        return implicit(work)
    return tasks(work) if work.tasks else unrolled(work)


def unrolled(work: Work) -> Callable[[], np.ndarray]:
    lower, upper = bound(work)
    start = tensors(work.lower_start)

    def once() -> np.ndarray:
        x = leaf(work.upper_start)
        y: Tensors = {key: value.detach().requires_grad_() for key, value in start.items()}
        for _ in range(work.steps):
            gradients = torch.autograd.grad(lower(x, y), list(y.values()), create_graph=True)
            y = {key: value - work.rate * g for (key, value), g in zip(y.items(), gradients)}
        return host(torch.autograd.grad(upper(x, y), [x]))

    return once


def tasks(work: Work) -> Callable[[], np.ndarray]:
    lower, upper = objectives(work)
    both = tensors(work.lower_batch), tensors(work.upper_batch)

    def fitted(x: Tensors, points: Tensors, others: Tensors) -> Tensor:
        def error(y: Tensors) -> Tensor:
            return lower(x, y, outputs(work.layers, y, points["inputs"]), points["targets"])

        y = x
        for _ in range(work.steps):
            gradients = torch.func.grad(error)(y)
            y = {key: value - work.rate * gradients[key] for key, value in y.items()}
        return upper(x, y, outputs(work.layers, y, others["inputs"]), others["targets"])

    def mean(x: Tensors) -> Tensor:
        return torch.func.vmap(fitted, (None, 0, 0))(x, *both).mean()

    start = tensors(work.lower_start)
    return lambda: host(torch.func.grad(mean)(start).values())


def implicit(work: Work) -> Callable[[], np.ndarray]:
    """dF/dx = - ∇²_xy f · q at (x, y_1), ∇²_yy f · q = ∇_y F."""
    lower, upper = bound(work)
    solve = conjugate_gradient if work.name == "ridge_cg" else neumann
    start = tensors(work.lower_start)

    def once() -> np.ndarray:
        x = leaf(work.upper_start)
        y = {key: value.detach().requires_grad_() for key, value in start.items()}
        (gradient,) = torch.autograd.grad(lower(x, y), list(y.values()))
        (y1,) = (value.detach() - work.rate * gradient for value in y.values())
        y = {key: y1.requires_grad_() for key in y}
        (right,) = torch.autograd.grad(upper(x, y), [y1])
        (gradient,) = torch.autograd.grad(lower(x, y), [y1], create_graph=True)
        q = solve(lambda v: torch.autograd.grad(gradient, [y1], v, retain_graph=True)[0], right, work.rate)
        return -host(torch.autograd.grad(gradient, [x], q))

    return once


def conjugate_gradient(product: Callable[[Tensor], Tensor], right: Tensor, rate: float) -> Tensor:
    q, r, p = torch.zeros_like(right), right, right
    rr = torch.dot(r, r)
    for _ in range(TERMS):
        Ap = product(p)
        alpha = rr / torch.dot(p, Ap)
        q, r = q + alpha * p, r - alpha * Ap
        rr, before = torch.dot(r, r), rr
        p = r + (rr / before) * p
    return q


def neumann(product: Callable[[Tensor], Tensor], right: Tensor, rate: float) -> Tensor:
    term = total = right
    for _ in range(TERMS - 1):
        term = term - rate * product(term)
        total = total + term
    return rate * total
