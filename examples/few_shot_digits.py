"""Few-shot digits: learn a representation from some classes, in which a linear head can tell new classes apart.

The data are scikit-learn's handwritten digits (1,797 real 8×8 images, bundled). Each image stands at a random place of
a 12×12 square, so that a linear rule on the pixels is of little use. A task draws `ways` classes. Of each class it
draws `shots` images to learn from, and `queries` other images. Training draws its classes from the digits 0 to 5, and
counts each of their eight rotations and reflections as a separate class (`symmetries`). The evaluation draws from the
digits 6 to 9, upright.

    x   a 144-128-64 tanh network, shared   f = mean cross-entropy of the head y on the images to learn from + ½ l2 ‖y‖²
    y   a linear head for one task          F = mean cross-entropy of the head y_T on the task's other images

    boat run examples/few_shot_digits.yaml       # through the steps of the head, exactly (RAD)
    boat run examples/few_shot_digits_cg.yaml    # by implicit differentiation: f is strongly convex in y

`evaluate` trains heads in the same way on the learned representation, on the initial representation and on raw pixels.
The settings are those with the highest accuracy for `train_digits: [0, 1, 2], test_digits: [3, 4, 5]`, among a few
tried on seed 0.
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
    """Return 8×8 images (float32, in 0 … 1) by class: a digit, or a digit in one of its eight symmetries."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    classes = {}
    for digit in digits:
        for turn in range(8 if symmetries else 1):
            turned = np.rot90(images[data.target == digit], turn % 4, axes=(1, 2))
            classes[f"{digit}/{turn}"] = turned[:, :, ::-1] if turn >= 4 else turned
    return classes


def shifted(images: np.ndarray, rng: np.random.Generator, shift: int) -> np.ndarray:
    """Put each image at a random place of a square that is larger by `shift`, and return rows of pixels."""
    side = images.shape[1] + shift
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    row, column = rng.integers(0, shift + 1, (2, len(images), 1)) + np.arange(side)
    return padded[np.arange(len(images))[:, None, None], row[:, :, None], column[:, None, :]].reshape(-1, side * side)


def draw_tasks(classes: Any, rng: Any, count: int, ways: int, shots: int, queries: int, shift: int) -> list[np.ndarray]:
    """Draw `count` tasks.

    Returns:
        Images to learn from, of shape (count, ways · shots, pixels), and other images, of shape
        (count, ways · queries, pixels). Both are in the same order of classes.
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
    """Return the cross-entropy of each row. The rows are in the order of classes, `each` of a class."""
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

    Args:
        shift: The difference in size between an image's square and the image.
        tasks: The number of tasks in an outer step.
        ways, shots, queries: A task has `ways` classes, with `shots` images of each to learn from and `queries` others.
        l2: The penalty on the head.
        rate, steps: The plain descent by which `evaluate` trains heads.
        test_tasks: The number of tasks in an evaluation.
    """
    if shared := set(train_digits) & set(test_digits):
        raise ValueError(f"test_digits: expected none of train_digits (got {sorted(shared)} in both)")
    training, testing = classes_of(train_digits, symmetries), classes_of(test_digits, False)
    jt.set_global_seed(seed)
    net = nn.Sequential(nn.Linear((8 + shift) ** 2, hidden), nn.Tanh(), nn.Linear(hidden, features), nn.Tanh())
    start = boat.parameters(net)

    def head(y: Any, rows: Any) -> Any:
        """Return logits. If all arguments have a first axis of tasks, return the logits of each task."""
        return jt.matmul(rows, y["weight"]) + y["bias"]

    def head_loss(y: Any, rows: Any) -> Any:
        """Return f of each task, on features."""
        penalty = (y["weight"] ** 2).sum(dim=-1).sum(dim=-1) + (y["bias"] ** 2).sum(dim=-1).sum(dim=-1)
        return cross_entropy(head(y, rows), shots).mean(dim=-1) + 0.5 * l2 * penalty

    def new_head(width: int, *count: int) -> dict[str, np.ndarray]:
        shapes = {"weight": (*count, width, ways), "bias": (*count, 1, ways)}
        return {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}

    def batches(k: int, rng: np.random.Generator) -> boat.Tasks:
        return boat.Tasks(list(zip(*draw_tasks(training, rng, tasks, ways, shots, queries, shift))))

    # The test tasks are always the same, and independent of the random numbers of a run.
    fixed = draw_tasks(testing, np.random.default_rng([1, 2017]), test_tasks, ways, shots, queries, shift)

    def accuracies(represent: Any) -> np.ndarray:
        """Return the accuracy on each test task of a head that is trained on `represent` of the images."""
        shown, queried = (represent(jt.array(rows.reshape(-1, rows.shape[-1]))) for rows in fixed)
        shown, queried = (rows.reshape(test_tasks, -1, rows.shape[-1]).detach() for rows in (shown, queried))
        y = {name: jt.array(w) for name, w in new_head(shown.shape[-1], test_tasks).items()}
        for _ in range(steps):
            gradient = jt.grad(head_loss(y, shown).sum(), list(y.values()))
            y = {name: (w - rate * g).detach() for (name, w), g in zip(y.items(), gradient)}
            jt.sync(list(y.values()))
        right = head(y, queried).numpy().argmax(axis=-1) == np.repeat(np.arange(ways), queries)
        return right.mean(axis=1)

    def compare(x: Any) -> dict[str, tuple[float, float]]:
        """Return mean accuracies, each with half the width of its 95 % interval over the tasks."""
        learned, initial = (lambda rows, net_x=net_x: boat.call(net, net_x, rows) for net_x in (x, start))
        every = {"learned": learned, "initial": initial, "pixels": lambda rows: rows}
        results = {name: accuracies(represent) for name, represent in every.items()}
        return {name: (a.mean(), 1.96 * a.std(ddof=1) / test_tasks**0.5) for name, a in results.items()}

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        return {f"{kind}_{k}": v for k, both in compare(x).items() for kind, v in zip(("accuracy", "interval"), both)}

    def draw_accuracies(axes: Any, x: Any, y: Any) -> None:
        results = compare({name: jt.array(w) for name, w in x.items()})
        means, intervals = zip(*results.values())
        axes.bar(list(results), means, yerr=intervals, color=["tab:blue", "tab:gray", "tab:orange"], capsize=6)
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
