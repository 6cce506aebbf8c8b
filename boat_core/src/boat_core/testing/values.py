"""Comparisons of pytrees of arrays with flat expected values."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

from ..autodiff import arrays


def flat(tree: Any) -> np.ndarray:
    """Return all leaves of a pytree (or Vector) as one float64 vector."""
    leaves = getattr(tree, "leaves", None) or optree.tree_leaves(tree)
    return np.concatenate([arrays.to_numpy(leaf).astype(np.float64).ravel() for leaf in leaves])


def assert_close(tree: Any, truth: Any, tolerance: float = 1e-9) -> None:
    """Assert ‖tree - truth‖ <= tolerance · max(1, ‖truth‖), both flattened."""
    ours, theirs = flat(tree), flat(truth)
    assert ours.shape == theirs.shape, f"expected {theirs.size} entries, got {ours.size}"
    error = np.linalg.norm(ours - theirs) / max(1.0, float(np.linalg.norm(theirs)))
    assert error <= tolerance, f"relative error {error:.3g} > {tolerance:g}\n  got      {ours}\n  expected {theirs}"
