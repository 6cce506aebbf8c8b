"""BOAT: NGD with RAD, CG, NS or, where x is the start of y, IAD + RAD; at their defaults, and with all graphs kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import boat_core as boat
from boat_core.runtime.kernel_watch import KernelWatch

import jittor as jt  # isort: skip
import numpy as np
from jittor import nn
from work import TERMS, Work

NAME, PACKAGES = "ours", ("boat-core", "jittor")
VARIANTS = {
    "": ("mlp", "conv", "attention", "ridge_cg", "ridge_ns", "maml", "few_shot"),
    "segment all": ("mlp", "conv", "attention"),
}
NOTES: dict[str, str] = {"maml, few_shot": "the tasks run one after another"}
APPROXIMATE = {"ridge_cg": ["CG"], "ridge_ns": ["NS"], "maml": ["IAD", "RAD"], "few_shot": ["IAD", "RAD"]}


class Watched:
    """A hypergradient that says how long kernels were compiled since it was built; they stay on disk."""

    def __init__(self, once: Callable[[], np.ndarray]) -> None:
        self.once, self.watch = once, KernelWatch()

    def __call__(self) -> np.ndarray:
        return self.once()

    def compiled(self) -> float:
        self.watch.poll()
        return self.watch.seconds


class Dot(nn.Module):
    """A linear map to one number, as one vector."""

    def __init__(self, inputs: int) -> None:
        self.weight = jt.zeros(inputs)

    def execute(self, inputs: Any) -> Any:
        return jt.matmul(inputs, self.weight)


class Attention(nn.Module):
    """Attention of the tokens to each other, added to them."""

    def __init__(self, size: int, heads: int) -> None:
        self.heads = heads
        self.weight, self.out = jt.zeros((3 * size, size)), jt.zeros((size, size))

    def execute(self, inputs: Any) -> Any:
        rows, tokens, size = inputs.shape
        parts = jt.matmul(inputs, self.weight.transpose(1, 0)).reshape(rows, tokens, 3, self.heads, -1)
        queries, keys, values = (parts[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
        shares = nn.softmax(jt.matmul(queries, keys.transpose(0, 1, 3, 2)) / (size // self.heads) ** 0.5, dim=-1)
        attended = jt.matmul(shares, values).transpose(0, 2, 1, 3).reshape(rows, tokens, size)
        return inputs + jt.matmul(attended, self.out.transpose(1, 0))


class Average(nn.Module):
    def execute(self, inputs: Any) -> Any:
        return inputs.mean(1)


MODULES: dict[str, Callable[..., Any]] = {
    "linear": nn.Linear,
    "conv": lambda inputs, outputs: nn.Conv2d(inputs, outputs, 3, padding=1),
    "dot": Dot,
    "norm": nn.LayerNorm,
    "attention": Attention,
    "average": Average,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "pool": lambda: nn.MaxPool2d(2),
    "flatten": nn.Flatten,
}


def problem(work: Work) -> boat.Problem:
    net = nn.Sequential(*(MODULES[kind](*sizes) for kind, *sizes in work.layers))

    def outputs(y: Any, batch: Any) -> Any:
        return boat.call(net, y, batch["inputs"])

    def rows(y: Any, batch: Any) -> Any:
        return nn.cross_entropy_loss(outputs(y, batch), batch["targets"], reduction="none")

    def squared(x: Any, y: Any, batch: Any) -> Any:
        return ((outputs(y, batch) - batch["targets"]) ** 2).mean()

    def mean(x: Any, y: Any, batch: Any) -> Any:
        return rows(y, batch).mean()

    if work.tasks:
        objective = mean if work.classes else squared
        return boat.Problem(objective, objective, work.lower_start, work.lower_start)
    if work.name.startswith("ridge"):
        return boat.Problem(
            lambda x, y, batch: squared(x, y, batch) / 2,
            lambda x, y, batch: squared(x, y, batch) / 2 + (jt.exp(x) * y["0.weight"] ** 2).sum() / 2,
            work.upper_start,
            work.lower_start,
        )
    return boat.Problem(
        mean,
        lambda x, y, batch: (jt.sigmoid(x) * rows(y, batch)).mean(),
        work.upper_start,
        work.lower_start,
    )


def build(work: Work, variant: str) -> Watched:
    solver = boat.Solver(
        problem(work),
        map=["NGD"],
        approximate=APPROXIMATE.get(work.name, ["RAD"]),
        lower_steps=work.steps,
        lower_optimizer=boat.sgd(work.rate),
        upper_optimizer=boat.sgd(work.rate),
        options=options(work),
        start="upper" if work.tasks else "cold",
        segment=variant.removeprefix("segment ") or "auto",
    )
    batches = arrays(work.lower_batch), arrays(work.upper_batch)
    if not work.tasks:
        return Watched(lambda: solver.hypergradient(*batches).upper.numpy())
    tasks = [
        tuple({key: value[task] for key, value in batch.items()} for batch in batches)
        for task in range(len(work.lower_batch["inputs"]))
    ]

    def once() -> np.ndarray:
        x = solver.hypergradient(tasks=tasks).upper
        return np.concatenate([x[key].numpy().reshape(-1) for key in work.lower_start])

    return Watched(once)


def options(work: Work) -> dict[str, dict[str, Any]]:
    if work.name == "ridge_cg":
        return {"CG": {"max_iterations": TERMS, "tolerance": 1e-12}}
    return {"NS": {"terms": TERMS, "step_size": work.rate}} if work.name == "ridge_ns" else {}


def arrays(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`jt.array` by itself would make float64 float32."""
    return {key: jt.array(value, dtype=str(value.dtype)).sync() for key, value in batch.items()}
