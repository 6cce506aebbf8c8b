"""Images by class, and the operations on whole classes: splits, and rotations as new classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import overload

import numpy as np

from .errors import DataError


@dataclass(frozen=True)
class ImageClass:
    """One class.

    Args:
        name: Its name, unique in its set.
        images: uint8 of shape (images, height, width), or (images, height, width, 3).
        turns: How many times 90° the images are turned counterclockwise when they are drawn.
    """

    name: str
    images: np.ndarray
    turns: int = 0

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Return some of the images, uint8, turned."""
        chosen = self.images[rows]
        return np.rot90(chosen, self.turns, axes=(1, 2)) if self.turns else chosen


class ImageClasses(Sequence[ImageClass]):
    """A set of classes, sorted by name.

    Raises:
        DataError: two classes have the same name, or images differ in size.
    """

    def __init__(self, classes: Sequence[ImageClass], place: str = "data") -> None:
        self._classes = tuple(sorted(classes, key=lambda one: one.name))
        self.place = place
        names = [one.name for one in self._classes]
        if double := [name for name, other in pairwise(names) if name == other]:
            raise DataError(f"two classes are called {double[0]}", where=place)
        if not names:
            raise DataError(where=place, expected="at least one class", got="none")
        if len(shapes := {one.images.shape[1:] for one in self._classes}) > 1:
            expected, got = "images of one size", ", ".join(map(str, sorted(shapes)))
            raise DataError(where=place, expected=expected, got=got)

    @classmethod
    def of(cls, images: Mapping[str, np.ndarray], place: str = "data") -> ImageClasses:
        """Return the classes of a mapping from names to uint8 arrays."""
        return cls([ImageClass(name, array) for name, array in images.items()], place)

    def __len__(self) -> int:
        return len(self._classes)

    @overload
    def __getitem__(self, index: int) -> ImageClass: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageClass, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageClass | tuple[ImageClass, ...]:
        return self._classes[index]

    def __iter__(self) -> Iterator[ImageClass]:
        return iter(self._classes)

    @property
    def names(self) -> list[str]:
        """The names of the classes, sorted."""
        return [one.name for one in self]

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        shape = self[0].images.shape
        return 1 if len(shape) == 3 else int(shape[3])

    @property
    def size(self) -> int:
        """The height of the images."""
        return int(self[0].images.shape[1])

    def split(self, train: int, validation: int, test: int | None = None, seed: int | None = 0) -> Splits:
        """Divide the classes.

        The order is that of a hash of seed and name. It depends neither on the order in which a file system lists
        folders nor on a random number generator. A class keeps its place when others come or go.

        Args:
            train, validation, test: The numbers of classes; test takes all that are left if it is not given.
            seed: The seed of the order; None keeps the order of the names.

        Raises:
            DataError: there are fewer classes, or some are turned: their unturned ones could end in another part.
        """
        if any(one.turns for one in self):
            raise DataError("split the classes before turning them", where=self.place)
        if min(train, validation, 0 if test is None else test) < 0:
            raise DataError(where=self.place, expected="numbers of classes >= 0", got=f"{train}/{validation}/{test}")
        wanted = train + validation + (test or 0)
        if wanted > len(self):
            expected = f"at least {wanted} classes for a split {train}/{validation}/{'rest' if test is None else test}"
            raise DataError(where=self.place, expected=expected, got=str(len(self)))
        ordered = list(self) if seed is None else sorted(self, key=lambda one: _hash(seed, one.name))
        ends = train, train + validation, len(ordered) if test is None else wanted
        parts = ordered[: ends[0]], ordered[ends[0] : ends[1]], ordered[ends[1] : ends[2]]
        return Splits(*(ImageClasses(part, self.place) if part else None for part in parts))

    def rotated(self) -> ImageClasses:
        """Return the classes with each one turned by 90, 180 and 270 degrees as three further classes."""
        return ImageClasses(
            [
                replace(one, name=f"{one.name} turned {90 * turns}" if turns else one.name, turns=turns)
                for one in self
                for turns in range(4)
            ],
            self.place,
        )


@dataclass(frozen=True)
class Splits:
    """The classes of each part; None for a part without any."""

    train: ImageClasses | None
    validation: ImageClasses | None
    test: ImageClasses | None

    def part(self, name: str) -> ImageClasses:
        """Return the classes of a part.

        Raises:
            DataError: the part has none.
        """
        classes: ImageClasses | None = getattr(self, name)
        if classes is None:
            raise DataError(where=name, expected="at least one class", got="none")
        return classes


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
