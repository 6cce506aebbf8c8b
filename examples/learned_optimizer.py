"""Learn the rate and the momentum of SGD by the gradient through its own steps.

    x = (log rate, logit of the momentum)        y_T = T steps of SGD with them on the training digits
    F(x) = loss of y_T on the validation digits

The lower optimizer is a function of x.        python examples/learned_optimizer.py [PICTURE]
"""

import sys
from itertools import product

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits


def digits(rows=600, seed=0):
    data, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(len(data))[: 2 * rows].reshape(2, rows)
    return [((data[part] / 16).astype("float32"), labels[part]) for part in chosen]


def loss(y, batch):
    data, labels = batch
    return jt.nn.cross_entropy_loss(jt.tanh(data @ y["inner"]) @ y["outer"], labels)


def optimizer(x):
    return boat.sgd(jt.exp(x["log_rate"]), momentum=jt.sigmoid(x["momentum"]))


def numbers(x):
    return float(np.exp(x["log_rate"].numpy()[0])), float(1 / (1 + np.exp(-x["momentum"].numpy()[0])))


def main(picture="learned_optimizer.png", steps=60, lower_steps=30):
    rng = np.random.default_rng(0)
    start = {
        "inner": rng.normal(0, 64**-0.5, (64, 32)).astype("float32"),
        "outer": rng.normal(0, 32**-0.5, (32, 10)).astype("float32"),
    }
    upper = {"log_rate": np.log([0.05]).astype("float32"), "momentum": np.array([0.0], "float32")}
    problem = boat.Problem(lambda x, y, batch: loss(y, batch), lambda x, y, batch: loss(y, batch), upper, lower=start)
    train, validation = digits()
    settings = dict(lower_steps=lower_steps, upper_optimizer=boat.adam(0.1), start="cold")
    solver = boat.Solver(problem, lower_optimizer=optimizer, **settings)
    path, losses = [numbers(solver.upper)], []
    for _ in range(steps):
        losses.append(solver.step(train, validation).upper_loss)
        path.append(numbers(solver.upper))

    fixed = {}
    for fixed_rate, momentum in product((0.05, 0.2, 0.8, 3.2), (0.0, 0.5, 0.9)):
        alone = boat.Solver(problem, lower_optimizer=boat.sgd(fixed_rate, momentum), **settings)
        fixed[fixed_rate, momentum] = alone.step(train, validation).upper_loss
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(losses, label=f"learned: rate {path[-1][0]:.2f}, momentum {path[-1][1]:.2f}")
    left.axhline(min(fixed.values()), color="grey", linestyle=":", label=f"best of a grid: {min(fixed, key=fixed.get)}")
    left.set(xlabel="outer step", ylabel="validation loss after the lower steps", yscale="log")
    left.legend()
    right.plot(*np.array(path).T, ".-")
    right.set(xlabel="rate", ylabel="momentum", xscale="log", title="where the gradient leads")
    figure.savefig(picture)
    return {"first": losses[0], "last": losses[-1], "best_of_grid": min(fixed.values())}


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
