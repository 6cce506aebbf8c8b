"""The works: sizes, data and starts from fixed seeds. All systems get the same numbers. Needs numpy alone.

mlp        hyper-cleaning: one weight logit per training row, x; the net's parameters y by T steps of SGD
conv       the same with four convolutions
attention  the same with a layer of attention between layer normalisations
ridge      one log penalty per feature, x; the hypergradient by implicit differentiation after one step of descent,
           its linear system by CG ("ridge_cg") or by a Neumann series ("ridge_ns")
maml       x is where the y of every task starts, sinusoids
few_shot   the same with images of 28 × 28 pixels, five classes with one row each, and four convolutions

    f: mlp, conv, attention  mean(sigmoid(x_i) · cross entropy_i)   F: the mean cross entropy on a second batch
       ridge                 ½ mean((A y - b)²) + ½ Σ exp(x_j) y_j²    ½ mean((A' y - b')²)
       maml                  mean squared error of a task's points     of others of its points, averaged over the tasks
       few_shot              mean cross entropy of a task's rows       of others of its rows, averaged over the tasks

A net is a tuple of layers, which each framework builds in its own way. The parameters have the names and shapes of
`nn.Sequential`; the first is "0.weight" of shape (out, in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: The number of CG iterations, which all run, and of terms of the Neumann series.
TERMS = 20
#: The number of entries of a long hypergradient to compare.
COMPARED = 2000

#: ("linear", in, out), ("conv", in, out), ("dot", in), ("norm", size), ("attention", size, heads), ("tanh",),
#: ("relu",), ("pool",), ("flatten",), ("average",) over the tokens
Layer = tuple
Arrays = dict[str, np.ndarray]
#: (rate, layers, x, y, lower batch, upper batch)
Drawn = tuple[float, tuple[Layer, ...], np.ndarray | None, Arrays, Arrays, Arrays]


@dataclass(frozen=True)
class Work:
    """The input of a system. `upper_start` is None if x starts like y; the first axis of the data is then the task."""

    name: str
    steps: int
    rate: float
    layers: tuple[Layer, ...]
    upper_start: np.ndarray | None
    lower_start: Arrays
    lower_batch: Arrays
    upper_batch: Arrays

    @property
    def tasks(self) -> bool:
        """Whether x is where the y of every task starts."""
        return self.upper_start is None

    @property
    def classes(self) -> bool:
        """Whether the targets are labels, for the cross entropy, and not numbers, for the squared error."""
        return self.lower_batch["targets"].dtype.kind == "i"


def make(name: str, steps: int, width: int, dtype: str) -> Work:
    """Draw a work. `width` multiplies hidden units, channels, or the features of `ridge`."""
    rate, layers, x, *arrays = MAKERS[name](np.random.default_rng(2024), width)
    return Work(name, steps, rate, layers, None if x is None else x.astype(dtype), *(cast(a, dtype) for a in arrays))


def cast(arrays: Mapping[str, np.ndarray], dtype: str) -> Arrays:
    """Return the arrays in this precision. Labels stay as they are."""
    return {key: value if value.dtype.kind == "i" else value.astype(dtype) for key, value in arrays.items()}


def parameters(layers: tuple[Layer, ...], rng: np.random.Generator) -> Arrays:
    """Return weights with standard deviation 1/√(number of inputs), and zero biases."""
    values = {}
    for place, (kind, *sizes) in enumerate(layers):
        if kind in ("linear", "conv"):
            inputs, outputs = sizes
            shape = (outputs, inputs, 3, 3) if kind == "conv" else (outputs, inputs)
            values[f"{place}.weight"] = rng.normal(size=shape) / np.prod(shape[1:]) ** 0.5
            values[f"{place}.bias"] = np.zeros(outputs)
        elif kind == "norm":
            values[f"{place}.weight"], values[f"{place}.bias"] = np.ones(sizes[0]), np.zeros(sizes[0])
        elif kind == "attention":
            size = sizes[0]
            values[f"{place}.weight"] = rng.normal(size=(3 * size, size)) / size**0.5  # of queries, keys and values
            values[f"{place}.out"] = rng.normal(size=(size, size)) / size**0.5
    return values


def cleaning(
    layers: tuple[Layer, ...], rows: int, shape: tuple[int, ...], rng: np.random.Generator, rate: float = 0.1
) -> Drawn:
    def batch() -> Arrays:
        return {"inputs": rng.normal(size=(rows, *shape)), "targets": rng.integers(0, 10, rows).astype("int32")}

    return rate, layers, np.zeros(rows), parameters(layers, rng), batch(), batch()


def mlp(rng: np.random.Generator, width: int) -> Drawn:
    hidden = 128 * width
    return cleaning((("linear", 64, hidden), ("tanh",), ("linear", hidden, 10)), 512, (64,), rng)


def conv(rng: np.random.Generator, width: int) -> Drawn:
    channels = [1, 16 * width, 32 * width, 32 * width, 32 * width]
    first, second, third, fourth = ((("conv", inputs, outputs), ("relu",)) for inputs, outputs in pairwise(channels))
    last = (("flatten",), ("linear", channels[-1] * 4 * 4, 10))
    layers = (*first, *second, ("pool",), *third, *fourth, ("pool",), *last)
    # At 0.1, rounding errors grow so much in 50 steps that the float32 hypergradient of every system is meaningless.
    return cleaning(layers, 64, (1, 16, 16), rng, rate=0.02)


def attention(rng: np.random.Generator, width: int) -> Drawn:
    size = 32 * width
    block = (("norm", size), ("attention", size, 4), ("norm", size))
    return cleaning((*block, ("average",), ("linear", size, 10)), 64, (16, size), rng)


def ridge(rng: np.random.Generator, width: int) -> Drawn:
    """Draw features of unequal scale, so that CG does not converge early. The step size also suits the series."""
    features, rows = 100 * width, 512 if width == 1 else 1000
    truth, scale = rng.normal(size=features), rng.permutation(np.geomspace(1, 0.2, features))
    penalty = rng.uniform(np.log(0.02), np.log(0.2), features)

    def batch() -> Arrays:
        inputs = rng.normal(size=(rows, features)) * scale
        return {"inputs": inputs, "targets": inputs @ truth + rng.normal(size=rows)}

    lower, upper = batch(), batch()
    a = lower["inputs"]
    gram = a @ a.T if rows < features else a.T @ a
    largest = np.linalg.eigvalsh(gram)[-1] / rows + np.exp(penalty.max())
    rate = float(f"{1 / largest:.3g}")  # rounded, since the last digits depend on the linear algebra library
    return rate, (("dot", features),), penalty, {"0.weight": 0.5 * truth}, lower, upper


def maml(rng: np.random.Generator, width: int, tasks: int = 32, points: int = 10) -> Drawn:
    hidden = 40 * width
    layers = (("linear", 1, hidden), ("tanh",), ("linear", hidden, hidden), ("tanh",), ("linear", hidden, 1))
    amplitude, phase = rng.uniform(0.1, 5, (tasks, 1, 1)), rng.uniform(0, np.pi, (tasks, 1, 1))

    def batch() -> Arrays:
        at = rng.uniform(-5, 5, (tasks, points, 1))
        return {"inputs": at, "targets": amplitude * np.sin(at + phase)}

    return 0.01, layers, None, parameters(layers, rng), batch(), batch()


def few_shot(rng: np.random.Generator, width: int, tasks: int = 4, classes: int = 5) -> Drawn:
    channels = [1, *[32 * width] * 4]
    blocks = ((("conv", inputs, outputs), ("relu",), ("pool",)) for inputs, outputs in pairwise(channels))
    layers = (*(layer for block in blocks for layer in block), ("flatten",), ("linear", channels[-1], classes))
    prototypes = rng.normal(size=(tasks, 1, classes, 1, 28, 28))

    def batch(rows: int) -> Arrays:
        inputs = prototypes + rng.normal(size=(tasks, rows, classes, 1, 28, 28))
        targets = np.broadcast_to(np.arange(classes, dtype="int32"), (tasks, rows, classes))
        return {"inputs": inputs.reshape(tasks, -1, 1, 28, 28), "targets": targets.reshape(tasks, -1).copy()}

    return 0.05, layers, None, parameters(layers, rng), batch(1), batch(15)


MAKERS: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "mlp": mlp,
    "conv": conv,
    "attention": attention,
    "ridge_cg": ridge,
    "ridge_ns": ridge,
    "maml": maml,
    "few_shot": few_shot,
}


def compared(hypergradient: np.ndarray) -> list[float]:
    """Return the entries to compare: all of them, or a fixed selection from a long hypergradient."""
    if hypergradient.size > COMPARED:
        hypergradient = hypergradient[np.random.default_rng(7).choice(hypergradient.size, COMPARED, replace=False)]
    return hypergradient.astype("float64").tolist()
