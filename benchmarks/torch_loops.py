"""The four hyper-cleaning configurations as loops by hand in PyTorch, for `outer_steps.py`.

    python torch_loops.py CONFIGURATION DATA.npz WARM STEPS

Rates and options are those of the YAML files in `examples`.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

names, data = (), {}
LOWER_STEPS, RATE = 60, 0.5


def losses(y, rows):
    hidden = torch.tanh(F.linear(data[f"{rows}.images"], y[0], y[1]))
    logits = F.linear(hidden, y[2], y[3])
    shifted = logits - logits.max(dim=1, keepdim=True).values
    return torch.log(shifted.exp().sum(dim=1)) - (shifted * data[f"{rows}.one_hot"]).sum(dim=1)


def lower(x, y):
    return (torch.sigmoid(x) * losses(y, "train")).mean()


def upper(y):
    return losses(y, "validation").mean()


def leaves(y):
    return [value.detach().requires_grad_() for value in y]


def descend(x, y, alpha, decay, create_graph):
    """y_T of the lower steps, along the aggregated objective if alpha is not 0."""
    for t in range(LOWER_STEPS):
        weight = alpha * decay**t
        psi = weight * upper(y) + (1 - weight) * lower(x, y) if alpha else lower(x, y)
        gradients = torch.autograd.grad(psi, y, create_graph=create_graph)
        y = [value - RATE * g for value, g in zip(y, gradients)]
        if not create_graph:
            y = leaves(y)
    return y


def unrolled(alpha=0.0, decay=1.0):
    def hypergradient(x, y):
        y = descend(x, leaves(y), alpha, decay, True)
        (gradient,) = torch.autograd.grad(upper(y), [x])
        return gradient, [value.detach() for value in y]

    return hypergradient


def by_cg(x, y):
    y = descend(x, leaves(y), 0.0, 1.0, False)
    right = torch.cat([g.reshape(-1) for g in torch.autograd.grad(upper(y), y)])
    gradients = torch.autograd.grad(lower(x, y), y, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradients])

    def product(v):
        return torch.cat([h.reshape(-1) for h in torch.autograd.grad(flat, y, v, retain_graph=True)]) + 0.1 * v

    q, r, p = torch.zeros_like(right), right, right
    rr = torch.dot(r, r)
    least = 1e-3 * rr.sqrt()
    for _ in range(20):
        if rr.sqrt() <= least:
            break
        Ap = product(p)
        step = rr / torch.dot(p, Ap)
        q, r = q + step * p, r - step * Ap
        rr, before = torch.dot(r, r), rr
        p = r + (rr / before) * p
    (gradient,) = torch.autograd.grad(flat, [x], q)
    return -gradient, [value.detach() for value in y]


def value_function(x, y, velocity):
    """VFO: `u1` 0.5, 20 inner steps of rate 1, then momentum 0.9 and rate 0.5 along the direction of y."""
    target = leaves(y)
    for _ in range(20):
        gradients = torch.autograd.grad(lower(x, target), target)
        target = leaves([value - g for value, g in zip(target, gradients)])
    y = leaves(y)
    Fy = torch.autograd.grad(upper(y), y)
    fx, *fy = torch.autograd.grad(lower(x, y), [x, *y])
    (at_target,) = torch.autograd.grad(lower(x, target), [x])
    qx = fx - at_target
    inner = sum((a * b).sum() for a, b in zip(Fy, fy))
    square = (qx * qx).sum() + sum((g * g).sum() for g in fy)
    weight = torch.clamp((0.5 * square - inner) / square, min=0)
    velocity = [0.9 * v + a + weight * b for v, a, b in zip(velocity, Fy, fy)]
    return weight * qx, [value.detach() - 0.5 * v for value, v in zip(y, velocity)], velocity


def loop(name):
    """A function that takes one outer step; it keeps x, y and the optimizers' states."""
    x = torch.zeros(len(data["train.images"]), requires_grad=True)
    y = [data[name] for name in names]
    first_order = name == "hyper_cleaning_vfo"
    adam = torch.optim.Adam([x], lr=0.05 if first_order else 0.3)
    hypergradient = {"hyper_cleaning": unrolled(), "hyper_cleaning_gda": unrolled(0.2, 0.9)}.get(name, by_cg)
    velocity = [torch.zeros_like(value) for value in y]

    def step():
        nonlocal y, velocity
        if first_order:
            x.grad, y, velocity = value_function(x, y, velocity)
        else:
            x.grad, y = hypergradient(x, y)
        adam.step()

    return step, x


def main() -> None:
    global names
    name, path, warm, steps = sys.argv[1:]
    with np.load(path) as arrays:
        data.update({key: torch.tensor(arrays[key]) for key in arrays.files})
    names = tuple(key for key in data if key.startswith("y."))
    step, x = loop(name)
    for _ in range(int(warm)):
        step()
    begin = time.perf_counter()
    for _ in range(int(steps)):
        step()
    print(json.dumps({"seconds": time.perf_counter() - begin, "x": x.detach().tolist()}))


if __name__ == "__main__":
    main()
