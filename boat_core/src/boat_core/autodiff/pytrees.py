"""Pytrees of arrays: reading them, detaching them, naming a leaf in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import optree

from ..errors import ObjectiveError, StructureError
from . import arrays
from .arrays import Array

Tree = Any


def differentiable(leaf: Any) -> bool:
    """Whether a leaf takes part in derivatives: a floating-point array does."""
    return arrays.is_array(leaf) and arrays.float_kind(leaf)


def float_leaves(tree: Tree) -> list[Array]:
    """Return the leaves of a pytree that take part in derivatives."""
    return [leaf for leaf in optree.tree_leaves(tree) if differentiable(leaf)]


def as_arrays(tree: Tree, where: str) -> Tree:
    """Return the pytree with its numpy arrays as Jittor arrays of the same dtype.

    Jittor arrays stay the very same, and other leaves stay as they are.

    Args:
        tree: the pytree.
        where: how messages call it.

    Raises:
        StructureError: an array has a dtype that Jittor lacks, or a leaf is an iterator, which could be read only once;
            the message names its place.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        if isinstance(leaf, Iterator):
            place, got = where + path_text(path), type(leaf).__name__
            expected, hint = "arrays, which are read more than once", "write list(…) around an iterator"
            raise StructureError(where=place, expected=expected, got=got, hint=hint)
        return arrays.as_array(leaf, where + path_text(path)) if arrays.is_array(leaf) else leaf

    return optree.tree_map_with_path(convert, tree)


def detach_tree(tree: Tree) -> Tree:
    """Return the same values without their history."""
    return optree.tree_map(lambda leaf: arrays.detach(leaf) if arrays.is_array(leaf) else leaf, tree)


def detach_and_sync(tree: Tree) -> Tree:
    """Return the same values without their history, computed."""
    return sync_tree(detach_tree(tree))


def sync_tree(tree: Tree) -> Tree:
    """Compute the arrays of a pytree now; return the pytree."""
    arrays.sync([leaf for leaf in optree.tree_leaves(tree) if arrays.is_array(leaf)])
    return tree


def nonfinite_leaf(tree: Tree) -> str | None:
    """Return the path of the first floating-point array that holds a NaN or an infinity, or None.

    The path of a pytree that is one array itself is the empty text.
    """
    paths, leaves, _ = optree.tree_flatten_with_path(tree)
    for path, leaf in zip(paths, leaves):
        if differentiable(leaf) and not arrays.all_finite(leaf):
            return path_text(path)
    return None


def path_text(path: Sequence[Any]) -> str:
    """Write a pytree path as one would index it."""
    return "".join(f"[{key!r}]" for key in path)


def leaf_text(path: str) -> str:
    """Say which leaf a path, as `path_text` writes it, belongs to. The path of an array that is no pytree is empty."""
    return f"leaf {path}" if path else "the array itself"


class Unchanged:
    """Arrays that a function receives, to test that it does not change them in place.

    Such a change is no error in Jittor, and derivatives would be those of another function: those with respect to an
    array after `stop_grad()` are zero.

    Args:
        leaves: the arrays.
        constant: whether no derivative is taken with respect to them. Then they may be marked by `stop_grad()`.
    """

    __slots__ = ("_arrays", "_nodes")

    def __init__(self, leaves: Sequence[Array], constant: bool = False) -> None:
        self._arrays = leaves
        self._nodes = [(leaf.id, constant or leaf.is_stop_grad()) for leaf in leaves]

    def check(self, function: str, argument: str) -> None:
        """Raise `ObjectiveError`, which names the function and the argument, if an array is not as it was."""
        for leaf, (node, fixed) in zip(self._arrays, self._nodes):
            # An array gets another node in Jittor's graph with another value, also by `+=`.
            if leaf.id != node or (leaf.is_stop_grad() and not fixed):
                how = "calls stop_grad() on it" if leaf.id == node else "assigns to it"
                raise ObjectiveError(
                    f"{function}: it changes {argument} in place ({how}, say); it must not change what it is given: "
                    "write y.detach() for y.stop_grad(), and y = y + 1 for y += 1"
                )


def one_number(value: Any, where: str) -> Array:
    """Return `value`, which must be a Jittor array that holds one floating-point number.

    Raises:
        ObjectiveError: it is something else; `where` names what returned it.
    """
    if not arrays.is_jittor(value):
        raise ObjectiveError(f"{where}: expected a Jittor array with one number (got {type(value).__name__})")
    if value.numel() != 1:
        raise ObjectiveError(
            f"{where}: expected one number (got an array of shape {list(value.shape)}); is a .mean() or .sum() missing?"
        )
    if not arrays.float_kind(value):
        raise ObjectiveError(f"{where}: expected a floating-point number (got dtype {value.dtype})")
    return value
