"""N-way K-shot episodes: small classification tasks, drawn from a set of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .classes import ImageClasses
from .errors import DataError


@dataclass(frozen=True)
class Episode:
    """One task.

    Args:
        support, query: float32 images of shape (N·K, channels, height, width) and (N·Q, …), in the order of labels.
        support_labels, query_labels: int64, 0 … N-1.
        names: The name of the class of each label.
        support_rows, query_rows: Which images of each class they are, of shape (N, K) and (N, Q). No image is in both.
    """

    support: np.ndarray
    support_labels: np.ndarray
    query: np.ndarray
    query_labels: np.ndarray
    names: tuple[str, ...]
    support_rows: np.ndarray
    query_rows: np.ndarray

    @property
    def pair(self) -> tuple[Any, Any]:
        """The lower and the upper batch: (support images, one-hot labels) and (query images, one-hot labels)."""
        rows = np.eye(len(self.names), dtype=np.float32)
        return (self.support, rows[self.support_labels]), (self.query, rows[self.query_labels])


class Episodes:
    """Draws episodes.

    Args:
        classes: Where they come from.
        ways: N, the classes of an episode, drawn without replacement.
        shots: K, the support images of each class.
        queries: Q, its query images, others than the support images.
        seed: The seed of `episode`.
        mean, deviation: Subtracted from, and divided into, the pixels of each channel, which lie in 0 … 1.

    Raises:
        DataError: there are fewer classes than `ways`, or a class has fewer than K + Q images.
    """

    def __init__(
        self,
        classes: ImageClasses,
        ways: int = 5,
        shots: int = 1,
        queries: int = 15,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
    ) -> None:
        self.classes, self.ways, self.shots, self.queries, self.seed = classes, ways, shots, queries, seed
        if min(ways, shots, queries) < 1:
            raise DataError(
                where=classes.place, expected="ways, shots and queries >= 1", got=f"{ways}, {shots}, {queries}"
            )
        if len(classes) < ways:
            raise DataError(where=classes.place, expected=f"at least {ways} classes", got=str(len(classes)))
        for one in classes:
            if len(one.images) < shots + queries:
                expected = f"at least {shots} + {queries} images in class {one.name}"
                raise DataError(where=classes.place, expected=expected, got=str(len(one.images)))
        scale = 1 / (255 * np.asarray(1.0 if deviation is None else deviation))
        shift = np.asarray(0.0 if mean is None else mean) * -255 * scale
        self._scale, self._shift = scale.astype(np.float32), shift.astype(np.float32)

    def episode(self, number: int) -> Episode:
        """Return episode `number` >= 0. It depends on the classes, the seed and the number alone."""
        return self.draw(np.random.default_rng([self.seed, number]))

    def draw(self, rng: np.random.Generator) -> Episode:
        """Return an episode that depends on the classes and `rng` alone."""
        chosen = [self.classes[i] for i in rng.choice(len(self.classes), self.ways, replace=False)]
        drawn = self.shots + self.queries
        rows = np.stack([rng.choice(len(one.images), drawn, replace=False) for one in chosen])
        pixels = np.stack([one.pixels(own) for one, own in zip(chosen, rows)])
        support, query = self._images(pixels[:, : self.shots]), self._images(pixels[:, self.shots :])
        labels = np.arange(self.ways)
        return Episode(
            support,
            labels.repeat(self.shots),
            query,
            labels.repeat(self.queries),
            tuple(one.name for one in chosen),
            rows[:, : self.shots],
            rows[:, self.shots :],
        )

    def _images(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 images (N·n, channels, height, width) of uint8 pixels (N, n, height, width[, channels])."""
        values = pixels.reshape((-1, *pixels.shape[2:])).astype(np.float32) * self._scale + self._shift
        return values[:, None] if values.ndim == 3 else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
