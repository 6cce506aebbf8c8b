"""What the JBOAT layer costs: `run_iter` beside a step of the same solver without it.

python benchmarks/jboat.py [--steps 20] [--rounds 20] [--chain NGD RAD]

The problem is that of examples/hyper_cleaning.py: a 64-64-10 tanh network below, a weight for each of 900 training rows
above. Both sides take turns, so that whatever else the machine does meets both. The figure is the median of the ratios
of neighbouring iterations.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import boat_compat.jboat as jboat
import boat_core as boat

import jittor as jt  # isort: skip
from jittor import nn  # isort: skip

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from hyper_cleaning import CLASSES, cross_entropy, split_digits

ROWS, HIDDEN = 900, 64


class Weights(nn.Module):
    """One weight for each training row."""

    def __init__(self) -> None:
        super().__init__()
        self.x = jt.zeros(ROWS)

    def execute(self, losses: Any) -> Any:
        return (jt.sigmoid(self.x) * losses).mean()


def ll_loss(feed: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    """The lower loss, as JBOAT takes it."""
    return upper_model(cross_entropy(lower_model(feed["data"], **kwargs), feed["target"]))


def ul_loss(feed: Any, upper_model: Any, lower_model: Any, weights: float = 0.0, **kwargs: Any) -> Any:
    """The upper loss, as JBOAT takes it."""
    return cross_entropy(lower_model(feed["data"], **kwargs), feed["target"]).mean()


def network() -> Any:
    jt.set_global_seed(0)
    return nn.Sequential(nn.Linear(64, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))


def with_layer(steps: int, chain: list[str]) -> jboat.Problem:
    """Return the problem as a script of JBOAT's builds it."""
    lower, upper = network(), Weights()
    config = {
        "fo_op": None,
        "gm_op": chain[:1],
        "na_op": chain[1:],
        "lower_iters": steps,
        "return_grad": False,
        "accumulate_grad": False,
        "copy_last_param": True,
        "loss_log_path": None,
        "CG": {"k": 10, "tolerance": 1e-6},
        "lower_level_model": lower,
        "upper_level_model": upper,
        "lower_level_var": list(lower.parameters()),
        "upper_level_var": list(upper.parameters()),
        "lower_level_opt": nn.SGD(lower.parameters(), lr=0.5),
        "upper_level_opt": nn.SGD(upper.parameters(), lr=10.0),
    }
    names = {"lower_level_loss": "ll_loss", "upper_level_loss": "ul_loss"}
    losses = {key: {"function": f"{__name__}.{name}"} for key, name in names.items()}
    return jboat.Problem(config, losses).build_ll_solver().build_ul_solver()


def without_layer(steps: int, chain: list[str]) -> boat.Solver:
    """Return the same solver."""
    net = network()

    def lower(x: Any, y: Any, batch: Any) -> Any:
        return (jt.sigmoid(x) * cross_entropy(boat.call(net, y, batch["data"]), batch["target"])).mean()

    def upper(x: Any, y: Any, batch: Any) -> Any:
        return cross_entropy(boat.call(net, y, batch["data"]), batch["target"]).mean()

    return boat.Solver(
        boat.Problem(upper, lower, np.zeros(ROWS, "float32"), boat.parameters(net)),
        map=chain[:1],
        approximate=chain[1:],
        options={"CG": {"max_iterations": 10, "tolerance": 1e-6}} if "CG" in chain else None,
        lower_optimizer=boat.sgd(0.5),
        upper_optimizer=boat.sgd(10.0),
        lower_steps=steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="lower steps")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of iterations that are measured")
    parser.add_argument("--chain", nargs="+", default=["NGD", "RAD"], help="a map and the operations after it")
    arguments = parser.parse_args()
    data = split_digits(0, ROWS, 300, 0.4)
    one_hot = np.eye(CLASSES, dtype=np.float32)
    lower_feed, upper_feed = (
        {"data": jt.array(rows[0]), "target": jt.array(one_hot[rows[1]])} for rows in (data.train, data.validation)
    )
    layer, solver = (make(arguments.steps, arguments.chain) for make in (with_layer, without_layer))
    times: dict[str, list[float]] = {"with the layer": [], "without": []}
    for k in range(arguments.rounds + 3):
        sides = [
            ("with the layer", lambda k=k: layer.run_iter(lower_feed, upper_feed, current_iter=k)),
            ("without", lambda: solver.step(lower_feed, upper_feed)),
        ]
        for name, step in sides if k % 2 else sides[::-1]:
            begin = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begin)
    difference = np.abs(layer.boat_configs["upper_level_model"].x.numpy() - solver.upper.numpy()).max()
    kept = {name: values[3:] for name, values in times.items()}
    ratio = median(a / b for a, b in zip(*kept.values()))
    for name, values in kept.items():
        print(f"{name:15s} {1000 * median(values):8.1f} ms an iteration")
    print(f"ratio           {ratio:8.3f}")
    print(f"x differs by    {difference:8.1e} after {arguments.rounds + 3} iterations")


if __name__ == "__main__":
    main()
