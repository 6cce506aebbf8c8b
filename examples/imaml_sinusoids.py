"""iMAML on sinusoids: learn a start by implicit differentiation of the solution to which adaptation converges.

Rajeswaran et al. 2019 (arXiv 1909.04630). A task is a curve a·sin(u + p), seen at 10 points; adaptation is proximal:
    y(x) = argmin over y of the error on the points + ½ λ ‖y - x‖²        F(x) = error of y(x) on other points
The derivative of y(x) needs no iterate of the adaptation.        python examples/imaml_sinusoids.py [PICTURE]
"""

import sys
from itertools import pairwise

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from matplotlib.figure import Figure

SIZES, PROXIMITY = (1, 32, 32, 1), 0.5


def curves(rng, tasks, points=10):
    at, a = rng.uniform(-5, 5, (tasks, points, 1)), rng.uniform(0.1, 5, (tasks, 1, 1))
    return [jt.array(v.astype("float32")) for v in (at, a * np.sin(at + rng.uniform(0, np.pi, a.shape)))]


def call(y, at):
    for layer in y[:-1]:
        at = jt.tanh(jt.matmul(at, layer["weight"]) + layer["bias"])
    return jt.matmul(at, y[-1]["weight"]) + y[-1]["bias"]


def error(y, points):
    return ((call(y, points[0]) - points[1]) ** 2).mean(1).sum()


def inner(y, x, points):
    return error(y, points) + 0.5 * PROXIMITY * sum(((a[k] - b[k]) ** 2).sum() for a, b in zip(y, x) for k in a)


# As in the paper, adaptation ends early, so the optimality condition is only small, not zero. CG ends early too.
@boat.custom_root(boat.grad(inner), boat.conjugate_gradient(max_iterations=10, tolerance=0.5, ridge=1.0), tolerance=1.0)
def adapt(y, x, points, steps=20):
    gradient, optimizer = boat.grad(inner), boat.adam(0.03)
    state = optimizer.init(y)
    for _ in range(steps):
        updates, state = optimizer.update(gradient(y, x, points), state, y)
        y, state = boat.stop_gradient((boat.apply_updates(y, updates), state))
    return y


def F(x, tasks, support, query):
    x = [{key: jt.concat([leaf] * tasks) for key, leaf in layer.items()} for layer in x]
    return error(adapt(x, x, support), query) / tasks


def main(picture="imaml_sinusoids.png", steps=300, tasks=10):
    rng, losses, unseen = np.random.default_rng(0), [], curves(np.random.default_rng(1), 1)
    x = [{"weight": rng.normal(0, n**-0.5, (1, n, m)), "bias": rng.normal(0, 1, (1, 1, m))} for n, m in pairwise(SIZES)]
    x = first = [{key: jt.array(leaf.astype("float32")) for key, leaf in layer.items()} for layer in x]
    optimizer, value_and_grad = boat.adam(3e-3), boat.value_and_grad(F)
    state = optimizer.init(x)
    for _ in range(steps):
        points = curves(rng, tasks, 20)
        loss, gradient = value_and_grad(x, tasks, [a[:, :10] for a in points], [a[:, 10:] for a in points])
        updates, state = optimizer.update(gradient, state, x)
        x, state = boat.stop_gradient((boat.apply_updates(x, updates), state))
        losses.append(float(loss.numpy()[0]))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(losses, label="error after adaptation, by step")
    at = jt.array(np.linspace(-5, 5, 100, dtype="float32")[None, :, None])
    for name, start in (("random", first), ("learned", x)):
        right.plot(at.numpy().ravel(), call(adapt(start, start, unseen), at).numpy().ravel(), label=f"{name} start")
    right.plot(*(a.numpy().ravel() for a in unseen), "k+", label="a new curve")
    figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(picture)
    return {"first": float(np.mean(losses[:20])), "last": float(np.mean(losses[-20:]))}


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
