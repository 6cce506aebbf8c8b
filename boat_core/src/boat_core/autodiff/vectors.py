"""Vectors: pytrees of arrays with the algebra that lets an operation read like its formula.

    q = q + alpha * p          dot(r, r)          norm(g)

A `Vector` is a value: no operation changes the arrays it holds. Sums and multiples have the dtypes of the (first)
vector, whatever those of the other one or of the factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import optree

from ..errors import StructureError
from . import arrays, derivatives
from .arrays import cast
from .pytrees import leaf_text, nonfinite_leaf, path_text, sync_tree


class Vector:
    """The floating-point arrays of a pytree, in a fixed order, as one point of a vector space."""

    __slots__ = ("leaves", "structure")

    def __init__(self, leaves: Sequence[Any], structure: Any) -> None:
        self.leaves = tuple(leaves)
        self.structure = structure

    @classmethod
    def of(cls, tree: Any, where: str) -> Vector:
        """Read a pytree of numpy or Jittor arrays, dtypes kept, copied.

        Raises:
            StructureError: there is no leaf, or a leaf is not a floating-point array. `where` names the tree.
        """
        paths, leaves, structure = optree.tree_flatten_with_path(tree)
        if not leaves:
            raise StructureError(f"{where}: expected a pytree with at least one array (got {tree!r})")
        read = []
        for path, leaf in zip(paths, leaves):
            place = where + path_text(path)
            if not arrays.is_array(leaf) and not isinstance(leaf, float):
                raise StructureError(f"{place}: expected a numpy or Jittor array (got {type(leaf).__name__})")
            array = arrays.as_array(leaf, place)
            if not arrays.float_kind(array):
                raise StructureError(f"{place}: expected a floating-point array (got dtype {array.dtype})")
            read.append(arrays.detach(array))
        return cls(read, structure)

    @property
    def tree(self) -> Any:
        """The pytree with these arrays as leaves."""
        return optree.tree_unflatten(self.structure, self.leaves)

    @property
    def paths(self) -> list[str]:
        """The path of each leaf, such as `['weights'][0]`."""
        return [path_text(path) for path in optree.treespec_paths(self.structure)]

    def like(self, leaves: Sequence[Any]) -> Vector:
        """Return a vector of this structure with other arrays."""
        return Vector(leaves, self.structure)

    def like_tree(self, tree: Any) -> Vector:
        """Return a vector of this structure with the leaves of a tree, which must have this structure."""
        return self.like(self.structure.flatten_up_to(tree))

    @property
    def size(self) -> int:
        """The number of entries."""
        return sum(leaf.numel() for leaf in self.leaves)

    def like_flat(self, values: Any) -> Vector:
        """Return a vector of this structure, shapes and dtypes with the entries of a flat numpy array, leaf by leaf."""
        import numpy as np

        parts = np.split(np.asarray(values), np.cumsum([leaf.numel() for leaf in self.leaves])[:-1])
        shaped = (part.reshape(leaf.shape).astype(str(leaf.dtype)) for part, leaf in zip(parts, self.leaves))
        return self.like([arrays.as_array(leaf) for leaf in shaped])

    def to_numpy(self) -> tuple[Any, ...]:
        """The leaves as numpy arrays."""
        return tuple(arrays.to_numpy(leaf) for leaf in self.leaves)

    def like_numpy(self, leaves: Sequence[Any]) -> Vector:
        """Return a vector of this structure with the leaves that `to_numpy` gave, computed."""
        return self.like([arrays.as_array(leaf) for leaf in leaves]).sync()

    def map(self, function: Callable[..., Any], *others: Vector) -> Vector:
        """Apply a function leaf by leaf."""
        return self.like([function(*leaves) for leaves in zip(self.leaves, *(o.leaves for o in others))])

    def joined(self, other: Vector) -> Vector:
        """Return the point (self, other) of the product of both spaces."""
        return Vector(self.leaves + other.leaves, None)

    def split(self, first: Vector, second: Vector) -> tuple[Vector, Vector]:
        """Split a joined point into its parts in the spaces of `first` and `second`."""
        size = len(first.leaves)
        return first.like(self.leaves[:size]), second.like(self.leaves[size:])

    def match(self, tree: Any, where: str) -> Vector:
        """Read a pytree that must have this vector's structure, shapes and dtypes.

        Raises:
            StructureError: the pytree differs. The message names the leaf.
        """
        structure = optree.tree_structure(tree)
        if structure != self.structure:
            raise StructureError(f"{where}: expected the structure {self.structure} (got {structure})")
        other = Vector.of(tree, where)
        other.check_like(self, where)
        return other

    def check_like(self, expected: Vector, where: str) -> None:
        """Raise `StructureError` if the structure, a shape or a dtype differs from `expected`."""
        if self.structure != expected.structure:
            raise StructureError(f"{where}: expected the structure {expected.structure} (got {self.structure})")
        for path, want, have in zip(self.paths, expected.leaves, self.leaves):
            if list(want.shape) != list(have.shape) or str(want.dtype) != str(have.dtype):
                raise StructureError(
                    f"{where}{path}: expected shape {list(want.shape)} and dtype {want.dtype}"
                    f" (got {list(have.shape)} and {have.dtype})"
                )

    def detach(self) -> Vector:
        """Return the same values without their history."""
        return self.map(arrays.detach)

    def sync(self) -> Vector:
        """Compute the arrays now; return self."""
        arrays.sync(self.leaves)
        return self

    def zeros(self) -> Vector:
        """The zero of this space."""
        return self.map(arrays.zeros_like)

    def __add__(self, other: Vector) -> Vector:
        return self.map(lambda a, b: a + cast(b, str(a.dtype)), other)

    def __sub__(self, other: Vector) -> Vector:
        return self.map(lambda a, b: a - cast(b, str(a.dtype)), other)

    def __neg__(self) -> Vector:
        return self.map(lambda a: -a)

    def __mul__(self, factor: Any) -> Vector:
        return self.map(lambda a: arrays.scaled(factor, a))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Vector:
        return self * (1.0 / divisor)

    def __repr__(self) -> str:
        return f"Vector({', '.join(f'{p}: {list(a.shape)} {a.dtype}' for p, a in zip(self.paths, self.leaves))})"


def dot(a: Vector, b: Vector) -> float:
    """⟨a, b⟩ over all leaves, computed now."""
    return arrays.scalar(derivatives.inner(a.leaves, b.leaves))


def norm(a: Vector) -> float:
    """‖a‖ over all leaves, computed now."""
    return math.sqrt(dot(a, a))


def gradient(value: Any, wrt: Vector) -> Vector:
    """∇ value with respect to `wrt`, in its structure."""
    return wrt.like(derivatives.gradient(value, wrt.leaves))


def gradients(value: Any, x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """(∇_x value, ∇_y value) in one pass."""
    both = derivatives.gradient(value, x.leaves + y.leaves)
    return Vector(both, None).split(x, y)


def first_nonfinite(vector: Vector) -> str | None:
    """Name the first leaf that holds a NaN or an infinity, such as "leaf ['a']"; None if there is none.

    One number per vector comes to the host. Only if it is not finite are the leaves tested one by one.
    """
    total = vector.leaves[0].sum()
    for leaf in vector.leaves[1:]:
        total = total + leaf.sum()
    if math.isfinite(arrays.scalar(total)):
        return None
    place = nonfinite_leaf(vector.tree)
    return None if place is None else leaf_text(place)


def tree_to_numpy(tree: Any) -> Any:
    """Return a copy of a pytree with its arrays as numpy arrays. Numbers and None stay as they are."""
    return optree.tree_map(lambda leaf: arrays.to_numpy(leaf) if arrays.is_array(leaf) else leaf, tree)


def tree_from_numpy(tree: Any, like: Any, where: str) -> Any:
    """Read a result of `tree_to_numpy`, with arrays as Jittor arrays.

    Raises:
        StructureError: `tree` differs from `like` in its structure, or in the shape, dtype or kind of a leaf.
    """
    structure = optree.tree_structure(like)
    if optree.tree_structure(tree) != structure:
        raise StructureError(f"{where}: expected the structure {structure} (got {optree.tree_structure(tree)})")
    paths, leaves, _ = optree.tree_flatten_with_path(tree)
    read = []
    for path, leaf, want in zip(paths, leaves, optree.tree_leaves(like)):
        place = where + path_text(path)
        if not arrays.is_array(want):
            if type(leaf) is not type(want):
                raise StructureError(f"{place}: expected {type(want).__name__} (got {leaf!r})")
            read.append(leaf)
            continue
        if not arrays.is_array(leaf) or (list(leaf.shape), arrays.dtype_name(leaf)) != (
            list(want.shape),
            arrays.dtype_name(want),
        ):
            raise StructureError(f"{place}: expected an array of shape {list(want.shape)} and dtype {want.dtype}")
        read.append(arrays.as_array(leaf, place))
    # Computed now, as a solver's state is. Jittor fuses what is still to be computed into the kernels that read it, and
    # these round differently, so that a run would go on from a checkpoint with other bits.
    return sync_tree(optree.tree_unflatten(structure, read))
