"""Learning to reweight: a small balanced set determines the weights of the rows of an imbalanced training set.

Ren et al. 2018 (arXiv 1803.09050) on handwritten 9s and 3s, 59 of 60 training rows a 3. Every step gives the rows of a
batch weights ε = 0, takes an SGD step on Σ ε_i ℓ_i that keeps its graph, and learns from the rows whose ε lowers the
loss F on the balanced set: w = max(0, -∂F/∂ε), Σ w = 1.        python examples/reweighting.py [PICTURE]
"""

import sys

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from jittor import nn
from matplotlib.figure import Figure
from sklearn.datasets import load_digits


def split(seed):
    """Return (rows, 1 for a 9) of the imbalanced training set, the balanced set of 10 and the balanced test set."""
    data, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rare, common = (rng.permutation(np.flatnonzero(digit == which)) for which in (9, 3))
    chosen = [(rare[:2], common[:118]), (rare[2:7], common[118:123]), (rare[7:67], common[123:])]
    sets = map(np.concatenate, chosen)
    return [(data[rows].astype("float32") / 16, (digit[rows] == 9).astype("float32")[:, None]) for rows in sets]


def network(seed):
    net, rng = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 1)), np.random.default_rng(seed)
    boat.load(net, {name: rng.normal(0, 0.2, p.shape).astype("float32") for name, p in boat.parameters(net).items()})
    return net


def losses(net, rows):
    """Return the binary cross-entropy of each row, from logits."""
    logits = net(rows[0])
    return nn.softplus(logits) - rows[1] * logits


def weights(net, batch, balanced, rate):
    with boat.MetaOptimizer(net, boat.sgd(rate)) as inner:
        start, epsilon = inner.extract(), jt.zeros(batch[1].shape)
        inner.step((epsilon * losses(net, batch)).sum())
        gradient = jt.grad(losses(net, balanced).mean(), epsilon).numpy()
        inner.restore(start)
    inner.restore(start)
    return np.maximum(0, -gradient) / (np.maximum(0, -gradient).sum() or 1)


def train(seed, steps, reweight, rate=0.5):
    (train_set, balanced, test), net, rng = split(seed), network(seed), np.random.default_rng(seed)
    optimizer, seen, accuracy = boat.ModuleOptimizer(net, boat.sgd(rate, momentum=0.5)), {0: [], 1: []}, []
    balanced = [jt.array(a) for a in balanced]
    for k in range(steps):
        rows = rng.choice(len(train_set[0]), 60, replace=False)
        batch = [jt.array(a[rows]) for a in train_set]
        w = weights(net, batch, balanced, rate) if reweight else np.full((60, 1), 1 / 60, "float32")
        optimizer.step((jt.array(w) * losses(net, batch)).sum())
        for label, shares in seen.items():
            shares.append(float(w[train_set[1][rows] == label].sum()))
        if k % 10 == 9:
            accuracy.append(float(((net(jt.array(test[0])).numpy() > 0) == test[1]).mean()))
    return accuracy, seen


def main(picture="reweighting.png", steps=200, seed=0):
    (plain, _), (ours, seen) = train(seed, steps, False), train(seed, steps, True)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(np.transpose([plain, ours]), label=["all rows alike", "reweighted"])
    left.legend(title="accuracy on the balanced test set, by 10 steps")
    right.plot((np.cumsum([seen[1], seen[0]], 1) / np.arange(1, steps + 1)).T, label=["9s, 1 of 60 rows", "3s"])
    right.legend(title="share of the weight so far, by step")
    figure.savefig(picture)
    return {"plain": plain[-1], "reweighted": ours[-1], "share of 9s": float(np.mean(seen[1]))}


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
