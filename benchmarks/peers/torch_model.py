"""The works in PyTorch, for all systems that run on it: nets, objectives, data, and the form of a hypergradient.

An objective takes x, the net's parameters by name (only `ridge` needs them), its outputs and the batch's targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from work import Layer, Work

Tensors = Mapping[str, Tensor]
Objective = Callable[[Any, Any, Tensor, Tensor], Tensor]


class Dot(nn.Module):
    """A linear map to one number, as one vector."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


class Attention(nn.Module):
    """Attention of the tokens to each other, added to them."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weight = nn.Parameter(torch.zeros(3 * size, size))
        self.out = nn.Parameter(torch.zeros(size, size))

    def forward(self, inputs: Tensor) -> Tensor:
        return attend(inputs, self.weight, self.out, self.heads)


class Average(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(1)


def attend(inputs: Tensor, weight: Tensor, out: Tensor, heads: int) -> Tensor:
    rows, tokens, size = inputs.shape
    parts = (inputs @ weight.T).reshape(rows, tokens, 3, heads, size // heads).permute(2, 0, 3, 1, 4)
    queries, keys, values = parts[0], parts[1], parts[2]
    shares = torch.softmax(queries @ keys.transpose(2, 3) / (size // heads) ** 0.5, dim=-1)
    return inputs + (shares @ values).transpose(1, 2).reshape(rows, tokens, size) @ out.T


MODULES: dict[str, Callable[..., nn.Module]] = {
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


def network(work: Work) -> nn.Module:
    """Return the net as a module that holds the start."""
    net = nn.Sequential(*(MODULES[kind](*sizes) for kind, *sizes in work.layers))
    net.load_state_dict(tensors(work.lower_start), assign=True)
    return net.requires_grad_()


def outputs(layers: Iterable[Layer], y: Tensors, inputs: Tensor) -> Tensor:
    """Apply the net as a function, without the overhead of a module."""
    for place, (kind, *sizes) in enumerate(layers):
        if kind == "linear":
            inputs = F.linear(inputs, y[f"{place}.weight"], y[f"{place}.bias"])
        elif kind == "conv":
            inputs = F.conv2d(inputs, y[f"{place}.weight"], y[f"{place}.bias"], padding=1)
        elif kind == "dot":
            inputs = inputs @ y[f"{place}.weight"]
        elif kind == "norm":
            inputs = F.layer_norm(inputs, sizes, y[f"{place}.weight"], y[f"{place}.bias"])
        elif kind == "attention":
            inputs = attend(inputs, y[f"{place}.weight"], y[f"{place}.out"], sizes[1])
        else:
            inputs = PLAIN[kind](inputs)
    return inputs


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "pool": lambda inputs: F.max_pool2d(inputs, 2),
    "flatten": lambda inputs: inputs.flatten(1),
    "average": lambda inputs: inputs.mean(1),
}


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


def weighted(x: Tensor, y: Tensors, outputs: Tensor, targets: Tensor) -> Tensor:
    return (torch.sigmoid(x) * F.cross_entropy(outputs, targets, reduction="none")).mean()


def penalised(x: Tensor, y: Tensors, outputs: Tensor, targets: Tensor) -> Tensor:
    return squared(outputs, targets) / 2 + (torch.exp(x) * y["0.weight"] ** 2).sum() / 2


def objectives(work: Work) -> tuple[Objective, Objective]:
    """Return f and F."""
    if work.name.startswith("ridge"):
        return penalised, lambda x, y, outputs, targets: squared(outputs, targets) / 2
    loss = F.cross_entropy if work.classes else squared
    plain: Objective = lambda x, y, outputs, targets: loss(outputs, targets)  # noqa: E731
    return plain if work.tasks else weighted, plain


def bound(work: Work) -> tuple[Callable[[Any, Tensors], Tensor], Callable[[Any, Tensors], Tensor]]:
    """Return f and F as functions of x and y alone, on the work's batches."""

    def bind(objective: Objective, arrays: Mapping[str, np.ndarray]) -> Callable[[Any, Tensors], Tensor]:
        batch = tensors(arrays)
        return lambda x, y: objective(x, y, outputs(work.layers, y, batch["inputs"]), batch["targets"])

    lower, upper = objectives(work)
    return bind(lower, work.lower_batch), bind(upper, work.upper_batch)


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert arrays to tensors. Labels become int64, which cross entropy requires."""
    return {
        key: torch.tensor(value, dtype=torch.int64 if value.dtype.kind == "i" else None)
        for key, value in arrays.items()
    }


def leaf(array: np.ndarray) -> Tensor:
    return torch.tensor(array, requires_grad=True)


def task_batches(work: Work) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Yield the lower and the upper batch of each task."""
    both = [tensors(work.lower_batch), tensors(work.upper_batch)]
    count = len(both[0]["inputs"])
    return [tuple({key: value[task] for key, value in batch.items()} for batch in both) for task in range(count)]


def host(gradients: Iterable[Tensor]) -> np.ndarray:
    return torch.cat([gradient.detach().reshape(-1) for gradient in gradients]).numpy()
