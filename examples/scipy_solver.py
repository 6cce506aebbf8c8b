"""Infer the springs of a hanging chain from its shape, by the derivative of an equilibrium that scipy computes.

Masses hang between two fixed ends. For stiffnesses exp(x), scipy's BFGS computes the positions y of least energy:

    E(y, x) = Σ_i ½ exp(x_i) (|p_{i+1} - p_i| - l)² + Σ_i m g y_i        F(x) = ‖y(x) - seen‖²

`custom_root` differentiates y by ∇_y E = 0, whichever solver computed y.    python examples/scipy_solver.py [PICTURE]
"""

import sys

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

MASSES, LENGTH, WEIGHT = 7, 0.1, 1.0
ENDS = np.array([[0.0, 0.0], [1.0, 0.0]])
AT = np.linspace(0, 1, MASSES + 2)[1:-1]
HIDDEN = 3 + np.sin(np.arange(MASSES + 1.0))


def links(y, concatenate, ends):
    """Return the vectors from each mass to the next, including the fixed ends."""
    points = concatenate([ends[:1], y, ends[1:]])
    return points[1:] - points[:-1]


def energy(y, x):
    d = links(y, jt.concat, jt.array(ENDS, dtype="float64"))
    stretch = jt.sqrt((d * d).sum(1)) - LENGTH
    return (0.5 * jt.exp(x) * stretch * stretch).sum() + WEIGHT * y[:, 1].sum()


def energy_and_force(flat, x):
    """Return the energy and its gradient in numpy, for scipy."""
    y = flat.reshape(MASSES, 2)
    d = links(y, np.concatenate, ENDS)
    length = np.sqrt((d * d).sum(1))
    pull = (np.exp(x) * (length - LENGTH) / length)[:, None] * d
    force = pull[:-1] - pull[1:] + np.array([0.0, WEIGHT])
    return (0.5 * np.exp(x) * (length - LENGTH) ** 2).sum() + WEIGHT * y[:, 1].sum(), force.ravel()


@boat.custom_root(boat.grad(energy), boat.conjugate_gradient(max_iterations=100, tolerance=1e-10), numpy=True)
def equilibrium(start, x):
    result = minimize(energy_and_force, start.ravel(), args=(x,), jac=True, method="BFGS", options={"gtol": 1e-9})
    return result.x.reshape(MASSES, 2)


def main(picture="scipy_solver.png", steps=150):
    optimizer, x = boat.adam(0.1), jt.array(np.full(MASSES + 1, 3.0), dtype="float64")
    state, shapes, losses = optimizer.init(x), [np.stack([AT, np.full(MASSES, -0.1)], axis=1)], []
    seen = equilibrium(shapes[0], HIDDEN)

    def F(x, start):
        shapes.append(equilibrium(start, x))
        return ((shapes[-1] - seen) ** 2).sum()

    for _ in range(steps):
        distance, gradient = boat.value_and_grad(F)(x, shapes[-1])
        updates, state = optimizer.update(gradient, state, x)
        x, state = boat.stop_gradient((boat.apply_updates(x, updates), state))
        shapes[-1] = shapes[-1].numpy()
        losses.append(float(distance.numpy()[0]))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for style, shape in (("o:", shapes[1]), ("o-", shapes[-1]), ("k+", seen.numpy())):
        left.plot(*np.concatenate([ENDS[:1], shape, ENDS[1:]]).T, style)
    left.legend(["at first", "found", "seen"])
    right.semilogy(losses, label="squared distance to the shape seen, by step")
    right.legend()
    figure.savefig(picture)
    return {"first": losses[0], "last": losses[-1], "stiffness off by": float(abs(x.numpy() - HIDDEN).max())}


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
