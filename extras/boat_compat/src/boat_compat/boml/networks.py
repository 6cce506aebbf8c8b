"""The network of few-shot papers: four blocks of convolution, normalisation and ReLU, then a linear head."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np


def four_blocks(ways: int, filters: int, channels: int, size: int, pool: bool, rng: np.random.Generator) -> Any:
    """Return conv4: four blocks of a 3×3 convolution, `batch_statistics` and ReLU, then the linear layer `head`.

    Args:
        ways: The number of classes.
        filters: The number of filters of each block.
        channels: The channels of the images: 1 or 3.
        size: The height and width of the images.
        pool: Whether blocks end with 2×2 max pooling (mini-ImageNet) instead of a convolution with stride 2 and a mean
            over space before the head (Omniglot).
        rng: The generator of the initial weights, which are uniform with the variance 2/(9 · channels) of He et al. The
            head begins at 0.
    """
    import jittor as jt
    from jittor import nn

    blocks: list[Any] = []
    for _ in range(4):
        convolution = nn.Conv2d(channels, filters, 3, stride=1 if pool else 2, padding=1)
        bound = (6 / (9 * channels)) ** 0.5
        convolution.weight = jt.array(rng.uniform(-bound, bound, (filters, channels, 3, 3)).astype(np.float32))
        convolution.bias = jt.zeros((filters,))
        blocks += [convolution, batch_statistics(filters), nn.ReLU(), *([nn.Pool(2, 2)] if pool else [])]
        size, channels = size // 2 if pool else (size + 1) // 2, filters
    width = filters * size * size if pool else filters
    head = nn.Linear(width, ways)
    head.weight, head.bias = jt.zeros((ways, width)), jt.zeros((ways,))
    features = nn.Sequential(*blocks, _flat if pool else _spatial_mean)
    return nn.Sequential(OrderedDict([("features", features), ("head", head)]))


def batch_statistics(channels: int, epsilon: float = 1e-5) -> Any:
    """Return a layer of batch normalisation by the statistics of the batch at hand, in training and afterwards.

    Few-shot papers normalise support and query images each by their own statistics (Finn et al. 2017). The layer keeps
    none.
    """
    return _batch_statistics_class()(channels, epsilon)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Return the mean cross-entropy of logits (rows, classes) with one-hot labels of the same shape."""
    import jittor as jt

    centred = logits - logits.max(dim=-1, keepdims=True).detach()
    return (jt.log(centred.exp().sum(dim=-1)) - (centred * labels).sum(dim=-1)).mean()


@cache
def _batch_statistics_class() -> Any:
    """Make the class at its first use: its base is Jittor's, and no pack may import Jittor earlier."""
    import jittor as jt
    from jittor import nn

    class BatchStatistics(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: int, epsilon: float) -> None:
            super().__init__()
            self.weight, self.bias = jt.ones((channels,)), jt.zeros((channels,))
            self.epsilon = epsilon

        def execute(self, images: Any) -> Any:
            centred = images - images.mean(dims=(0, 2, 3), keepdims=True)
            variance = (centred * centred).mean(dims=(0, 2, 3), keepdims=True)
            shape = (1, -1, 1, 1)
            return centred / jt.sqrt(variance + self.epsilon) * self.weight.reshape(shape) + self.bias.reshape(shape)

    return BatchStatistics


def _spatial_mean(images: Any) -> Any:
    return images.mean(dims=(2, 3))


def _flat(images: Any) -> Any:
    return images.reshape((images.shape[0], -1))
