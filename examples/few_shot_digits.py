"""Few-shot digits: a representation, learned from some classes, in which a linear head tells new classes apart.

Scikit-learn's handwritten digits (1,797 real 8×8 images, bundled), each at a random place of a 12×12 square: few linear
rules of the pixels survive that. A task draws `ways` classes, `shots` images of each to learn from, `queries` others.
Training draws its classes from the digits 0 to 5, and counts each of their eight rotations and reflections as a class
of its own (`symmetries`); the evaluation draws from 6 to 9, upright.

    x   a 144-128-64 tanh network, shared   f = mean cross-entropy of the head y on the images to learn from + ½ l2 ‖y‖²
    y   a linear head for one task          F = mean cross-entropy of the head y_T on the task's other images

    boat run examples/few_shot_digits.yaml       # through the steps of the head, exactly (RAD)
    boat run examples/few_shot_digits_cg.yaml    # by implicit differentiation: f is strongly convex in y

`evaluate` trains heads in the same way on the learned representation, on the initial one and on raw pixels. The
settings were chosen by accuracy with `train_digits: [0, 1, 2], test_digits: [3, 4, 5]`, among a few that were tried on
seed 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from jittor import nn
from sklearn.datasets import load_digits


def classes_of(digits: Sequence[int], symmetries: bool) -> dict[str, np.ndarray]:
    """8×8 images (float32, in 0 … 1) by class: a digit, or a digit under one of the eight symmetries of the square."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    found = {}
    for digit in digits:
        for turn in range(8 if symmetries else 1):
            turned = np.rot90(images[data.target == digit], turn % 4, axes=(1, 2))
            found[f"{digit}/{turn}"] = turned[:, :, ::-1] if turn >= 4 else turned
    return found


def shifted(images: np.ndarray, rng: np.random.Generator, shift: int) -> np.ndarray:
    """Put each image at a random place of a square larger by `shift`; rows of pixels."""
    side = images.shape[1] + shift
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    row, column = rng.integers(0, shift + 1, (2, len(images), 1)) + np.arange(side)
    return padded[np.arange(len(images))[:, None, None], row[:, :, None], column[:, None, :]].reshape(-1, side * side)


def draw_tasks(classes: Any, rng: Any, count: int, ways: int, shots: int, queries: int, shift: int) -> list[np.ndarray]:
    """Draw `count` tasks: (count, ways · shots, pixels) to learn from, and (count, ways · queries, pixels) others.

    The classes of a task follow each other, in both alike.
    """
    shown, hidden = [], []
    for _ in range(count):
        names = rng.choice(sorted(classes), ways, replace=False)
        rows = [rng.permutation(len(classes[n]))[: shots + queries] for n in names]
        images = [shifted(classes[n][r], rng, shift) for n, r in zip(names, rows)]
        shown.append(np.concatenate([i[:shots] for i in images]))
        hidden.append(np.concatenate([i[shots:] for i in images]))
    return [np.stack(shown), np.stack(hidden)]


def cross_entropy(logits: Any, each: int) -> Any:
    """Cross-entropy of each row; the classes follow each other with `each` rows."""
    ways = logits.shape[-1]
    one_hot = jt.array(np.repeat(np.eye(ways, dtype=np.float32), each, axis=0))
    centred = logits - logits.max(dim=-1, keepdims=True)
    return jt.log(centred.exp().sum(dim=-1)) - (centred * one_hot).sum(dim=-1)


def problem(
    seed: int = 0,
    train_digits: Sequence[int] = (0, 1, 2, 3, 4, 5),
    test_digits: Sequence[int] = (6, 7, 8, 9),
    symmetries: bool = True,
    shift: int = 4,
    tasks: int = 8,
    ways: int = 3,
    shots: int = 5,
    queries: int = 15,
    hidden: int = 128,
    features: int = 64,
    l2: float = 0.01,
    rate: float = 0.5,
    steps: int = 20,
    test_tasks: int = 200,
) -> boat.Problem:
    """Build the problem.

    `shift`: by how much an image's square is larger than the image. `tasks`: in an outer step, of `ways` classes with
    `shots` and `queries` images each. `l2`: penalty on the head. `rate`, `steps`: of the plain descent by which
    `evaluate` trains the heads of `test_tasks` tasks.
    """
    if shared := set(train_digits) & set(test_digits):
        raise ValueError(f"test_digits: expected none of train_digits (got {sorted(shared)} in both)")
    training, testing = classes_of(train_digits, symmetries), classes_of(test_digits, False)
    jt.set_global_seed(seed)
    net = nn.Sequential(nn.Linear((8 + shift) ** 2, hidden), nn.Tanh(), nn.Linear(hidden, features), nn.Tanh())
    start = boat.parameters(net)

    def head(y: Any, rows: Any) -> Any:
        """Logits; with a first axis throughout, those of as many tasks."""
        return jt.matmul(rows, y["weight"]) + y["bias"]

    def head_loss(y: Any, rows: Any) -> Any:
        """f of each task, on features."""
        penalty = (y["weight"] ** 2).sum(dim=-1).sum(dim=-1) + (y["bias"] ** 2).sum(dim=-1).sum(dim=-1)
        return cross_entropy(head(y, rows), shots).mean(dim=-1) + 0.5 * l2 * penalty

    def new_head(width: int, *count: int) -> dict[str, np.ndarray]:
        shapes = {"weight": (*count, width, ways), "bias": (*count, 1, ways)}
        return {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}

    def batches(k: int, rng: np.random.Generator) -> boat.Tasks:
        return boat.Tasks(list(zip(*draw_tasks(training, rng, tasks, ways, shots, queries, shift))))

    # Always the same, and apart from the random numbers of every run.
    fixed = draw_tasks(testing, np.random.default_rng([1, 2017]), test_tasks, ways, shots, queries, shift)

    def accuracies(represent: Any) -> np.ndarray:
        """Accuracy on each test task of a head trained on `represent` of the images."""
        shown, held = (represent(jt.array(rows.reshape(-1, rows.shape[-1]))) for rows in fixed)
        shown, held = (rows.reshape(test_tasks, -1, rows.shape[-1]).detach() for rows in (shown, held))
        y = {name: jt.array(w) for name, w in new_head(shown.shape[-1], test_tasks).items()}
        for _ in range(steps):
            gradient = jt.grad(head_loss(y, shown).sum(), list(y.values()))
            y = {name: (w - rate * g).detach() for (name, w), g in zip(y.items(), gradient)}
            jt.sync(list(y.values()))
        right = head(y, held).numpy().argmax(axis=-1) == np.repeat(np.arange(ways), queries)
        return right.mean(axis=1)

    def compare(x: Any) -> dict[str, tuple[float, float]]:
        """Mean accuracies, each with half the width of its 95 % interval over the tasks."""
        learned, initial = (lambda rows, net_x=net_x: boat.call(net, net_x, rows) for net_x in (x, start))
        every = {"learned": learned, "initial": initial, "pixels": lambda rows: rows}
        found = {name: accuracies(represent) for name, represent in every.items()}
        return {name: (a.mean(), 1.96 * a.std(ddof=1) / test_tasks**0.5) for name, a in found.items()}

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        return {f"{kind}_{k}": v for k, both in compare(x).items() for kind, v in zip(("accuracy", "interval"), both)}

    def draw_accuracies(axes: Any, x: Any, y: Any) -> None:
        found = compare({name: jt.array(w) for name, w in x.items()})
        means, intervals = zip(*found.values())
        axes.bar(list(found), means, yerr=intervals, color=["tab:blue", "tab:gray", "tab:orange"], capsize=6)
        axes.axhline(1 / ways, color="black", linewidth=1, linestyle=":")
        axes.set_ylim(0, 1)
        axes.set_ylabel(f"accuracy, {ways}-way {shots}-shot, digits {', '.join(map(str, test_digits))}")

    return boat.Problem(
        lambda x, y, rows: cross_entropy(head(y, boat.call(net, x, rows)), queries).mean(),
        lambda x, y, rows: head_loss(y, boat.call(net, x, rows)),
        upper=start,
        lower=new_head(features),
        batches=batches,
        evaluate=evaluate,
        panels={"classes never seen": draw_accuracies},
        name="few_shot_digits",
    )
