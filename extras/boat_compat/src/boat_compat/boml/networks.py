"""The network of few-shot papers: four blocks of convolution, normalisation and ReLU, then a linear head."""

from __future__ import annotations

from typing import Any

import boat_core  # noqa: F401  (before Jittor, which it prepares)

import jittor as jt  # isort: skip
import numpy as np
from jittor import nn


class BatchStatistics(nn.Module):  # type: ignore[misc]
    """Batch normalisation by the statistics of the batch at hand, in training and afterwards; it keeps none.

    Few-shot papers normalise support and query images each by their own statistics (Finn et al. 2017).
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = jt.ones((channels,)), jt.zeros((channels,))
        self.epsilon = epsilon

    def execute(self, images: Any) -> Any:
        centred = images - images.mean(dims=(0, 2, 3), keepdims=True)
        variance = (centred * centred).mean(dims=(0, 2, 3), keepdims=True)
        shape = (1, -1, 1, 1)
        return centred / jt.sqrt(variance + self.epsilon) * self.weight.reshape(shape) + self.bias.reshape(shape)


class SpatialMean(nn.Module):  # type: ignore[misc]
    """The mean over both axes of an image."""

    def execute(self, images: Any) -> Any:
        return images.mean(dims=(2, 3))


class Flat(nn.Module):  # type: ignore[misc]
    """All entries of an image in one row."""

    def execute(self, images: Any) -> Any:
        return images.reshape((images.shape[0], -1))


class FourBlocks(nn.Module):  # type: ignore[misc]
    """conv4: four blocks of a 3×3 convolution, `BatchStatistics` and ReLU, then a linear head.

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

    def __init__(self, ways: int, filters: int, channels: int, size: int, pool: bool, rng: np.random.Generator) -> None:
        super().__init__()
        blocks: list[Any] = []
        for _ in range(4):
            convolution = nn.Conv2d(channels, filters, 3, stride=1 if pool else 2, padding=1)
            bound = (6 / (9 * channels)) ** 0.5
            convolution.weight = jt.array(rng.uniform(-bound, bound, (filters, channels, 3, 3)).astype(np.float32))
            convolution.bias = jt.zeros((filters,))
            blocks += [convolution, BatchStatistics(filters), nn.ReLU(), *([nn.Pool(2, 2)] if pool else [])]
            size, channels = size // 2 if pool else (size + 1) // 2, filters
        self.features = nn.Sequential(*blocks, Flat() if pool else SpatialMean())
        self.head = nn.Linear(filters * size * size if pool else filters, ways)
        self.head.weight, self.head.bias = jt.zeros(self.head.weight.shape), jt.zeros((ways,))

    def execute(self, images: Any) -> Any:
        return self.head(self.features(images))


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Return the mean cross-entropy of logits (rows, classes) with one-hot labels of the same shape."""
    centred = logits - logits.max(dim=-1, keepdims=True).detach()
    return (jt.log(centred.exp().sum(dim=-1)) - (centred * labels).sum(dim=-1)).mean()
