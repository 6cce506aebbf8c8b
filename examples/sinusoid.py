"""Learning to learn sinusoids: learn a start of a network from which one gradient step fits a new curve to a few
points.

This is the experiment of Finn et al. 2017 (MAML, arXiv 1703.03400), section 5.1. A task is a curve a·sin(u + p) with a
in [0.1, 5] and p in [0, π]. The network is fitted to `shots` points u in [-5, 5] of the curve; `queries` other points
measure the fit.

    x   the start of a 1-40-40-1 ReLU network       f = mean squared error of y on the task's points
    y   the network adapted to one task, y_0 = x    F = mean squared error of y_T on other points of the same curve

    boat run examples/sinusoid.yaml           # through the lower steps, exactly (MAML)
    boat run examples/sinusoid_fomaml.yaml    # without second derivatives (FOMAML)

`evaluate` fits curves that training never draws, from x and from a random start, with the same number of steps and the
same rate. `loss_k` and `scratch_k` are the mean errors after k steps. The settings are those with the lowest `loss_1`
on the validation curves (`score: validation`), among a few tried with MAML on seed 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np

STREAMS = {"validation": 1, "test": 2}


def curves(rng: np.random.Generator, count: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` tasks: points and the values of the curves there, both float32 of shape (count, points, 1)."""
    amplitude, phase = rng.uniform(0.1, 5, (count, 1, 1)), rng.uniform(0, np.pi, (count, 1, 1))
    at = rng.uniform(-5, 5, (count, points, 1))
    return at.astype(np.float32), (amplitude * np.sin(at + phase)).astype(np.float32)


def unseen(score: str, count: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tasks of an evaluation. They are always the same: no outer step draws from their random numbers."""
    return curves(np.random.default_rng([STREAMS[score], 0, 0, 2017]), count, points)


def network(rng: np.random.Generator, hidden: int) -> list[dict[str, np.ndarray]]:
    """Return weights and biases, uniform between ±1/√n in a layer with n inputs."""
    sizes = [1, hidden, hidden, 1]

    def draw(n: int, *shape: int) -> np.ndarray:
        return rng.uniform(-(n**-0.5), n**-0.5, shape).astype(np.float32)

    return [{"weight": draw(n, n, m), "bias": draw(n, 1, m)} for n, m in pairwise(sizes)]


def call(y: Any, at: Any) -> Any:
    """Apply one network, or one network per task. In the latter case the task is the first axis of every array."""
    for layer in y[:-1]:
        at = jt.nn.relu(jt.matmul(at, layer["weight"]) + layer["bias"])
    return jt.matmul(at, y[-1]["weight"]) + y[-1]["bias"]


def error(y: Any, points: Any) -> Any:
    """Return the squared error at each point."""
    at, value = points
    return (call(y, at) - value) ** 2


def problem(
    seed: int = 0,
    tasks: int = 25,
    shots: int = 10,
    queries: int = 10,
    hidden: int = 40,
    rate: float = 0.01,
    steps: int = 10,
    unseen_tasks: int = 100,
    score: str = "test",
) -> boat.Problem:
    """Build the problem.

    Args:
        tasks: The number of tasks in an outer step.
        shots, queries: The numbers of points in a task: those to fit, and others.
        rate, steps: The rate and the number of steps of the fits that `evaluate` compares.
        unseen_tasks: The number of curves in an evaluation.
        score: The curves of the evaluation, "validation" or "test".
    """

    def batches(k: int, rng: np.random.Generator) -> boat.Tasks:
        at, value = curves(rng, tasks, shots + queries)
        return boat.Tasks([((u[:shots], v[:shots]), (u[shots:], v[shots:])) for u, v in zip(at, value)])

    def fits(start: Any, shown: tuple[np.ndarray, np.ndarray]) -> list[Any]:
        """Return the networks after 0 … `steps` steps of descent on the points to fit, for all tasks at once."""
        points, count = (jt.array(shown[0]), jt.array(shown[1])), len(shown[0])
        y = [{name: jt.array(np.repeat(np.asarray(w)[None], count, axis=0)) for name, w in p.items()} for p in start]
        path = [y]
        for _ in range(steps):
            leaves = [w for layer in y for w in layer.values()]
            gradient = iter(jt.grad(error(y, points).mean(dim=1).sum(), leaves))
            y = [{name: (w - rate * next(gradient)).detach() for name, w in layer.items()} for layer in y]
            jt.sync([w for layer in y for w in layer.values()])
            path.append(y)
        return path

    at, value = unseen(score, unseen_tasks, shots + 100)
    shown, hidden_points = (at[:, :shots], value[:, :shots]), (jt.array(at[:, shots:]), jt.array(value[:, shots:]))
    random_start = network(np.random.default_rng([seed, 1]), hidden)

    def losses(start: Any) -> list[float]:
        """Return the mean error on the other points after 0 … `steps` steps."""
        return [float(error(y, hidden_points).mean().item()) for y in fits(start, shown)]

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        learned = losses([{name: w.numpy() for name, w in layer.items()} for layer in x])
        scratch = losses(random_start)
        after = sorted({0, 1, steps})
        return {f"loss_{k}": learned[k] for k in after} | {f"scratch_{k}": scratch[k] for k in after}

    def draw_fit(axes: Any, x: Any, y: Any) -> None:
        points = at[:1, :shots], value[:1, :shots]
        line = np.linspace(-5, 5, 200, dtype=np.float32)[None, :, None]
        order = np.argsort(at[0, :, 0])
        axes.plot(at[0, order, 0], value[0, order, 0], color="black", linewidth=1, label="the curve")
        axes.plot(points[0].ravel(), points[1].ravel(), "k^", label="points shown")
        for name, start, color in (("learned", x, "tab:blue"), ("random", random_start, "tab:orange")):
            path = fits(start, points)
            for k, style in zip(sorted({0, 1, steps}), (":", "--", "-")):
                drawn = call(path[k], jt.array(line)).numpy().ravel()
                axes.plot(line.ravel(), drawn, style, color=color, label=f"{name} start, {k} steps")
        axes.margins(y=0.3)
        axes.legend(fontsize="x-small", ncols=2, loc="upper center")

    def draw_losses(axes: Any, x: Any, y: Any) -> None:
        for name, start, color in (("learned", x, "tab:blue"), ("random", random_start, "tab:orange")):
            axes.plot(range(steps + 1), losses(start), "o-", color=color, label=f"{name} start")
        axes.set_xlabel("steps of adaptation")
        axes.set_ylabel(f"mean squared error, {unseen_tasks} new curves")
        axes.set_ylim(bottom=0)
        axes.legend()

    start = network(np.random.default_rng([seed, 0]), hidden)
    return boat.Problem(
        lambda x, y, points: error(y, points).mean(),
        lambda x, y, points: error(y, points).mean(),
        upper=start,
        lower=start,
        batches=batches,
        evaluate=evaluate,
        panels={"a new curve": draw_fit, "new curves": draw_losses},
        name="sinusoid",
    )
