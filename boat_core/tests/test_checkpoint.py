"""Checkpoints: the same to the bit, and never a wrong one without an error."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import optree
import pytest

from boat_core.errors import RunError
from boat_core.runs import checkpoint

STATE = {
    "arrays": [np.arange(6, dtype="int16").reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 2), "float32")],
    "odd": [np.array(2.5), np.float32(0.1), np.array([np.nan, -0.0, np.inf]), np.array([True])],
    "plain": (None, True, 7, 10**30, "é\n", 0.1, -0.0, float("inf"), [], {}, ()),
}


@pytest.fixture
def path(tmp_path):
    checkpoint.save(tmp_path / "state.npz", STATE)
    return tmp_path / "state.npz"


def same(a, b):
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and repr(a) == repr(b)


def test_a_round_trip_is_exact(path):
    found = checkpoint.load(path)
    assert optree.tree_structure(found) == optree.tree_structure(STATE)
    assert all(same(a, b) for a, b in zip(optree.tree_leaves(STATE), optree.tree_leaves(found)))
    assert [p.name for p in path.parent.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("value", [np.array([object()], dtype=object), object(), {1: 2}, {1, 2}])
def test_what_it_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="checkpoint"):
        checkpoint.save(tmp_path / "state.npz", [value])
    assert list(tmp_path.iterdir()) == []


def test_no_damage_passes(path):
    """Every byte changed in turn, and every length cut off: an error, or the very same state."""
    whole = path.read_bytes()
    damaged = [whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    for content in [whole[:n] for n in range(0, len(whole), 41)] + damaged:
        path.write_bytes(content)
        with contextlib.suppress(RunError):
            found = checkpoint.load(path)
            assert all(same(a, b) for a, b in zip(optree.tree_leaves(STATE), optree.tree_leaves(found)))


def foreign(path: Path) -> None:
    np.savez(path, weights=np.eye(2))


def changed(path: Path) -> None:
    with np.load(path) as stored:
        content = dict(stored)
    np.savez(path, **content | {"array_0": content["array_0"] + 1})


def pickled(path: Path) -> None:
    np.savez(path, structure=np.array([{}], dtype=object), digest=np.zeros(1))


@pytest.mark.parametrize("harm", [foreign, changed, pickled, Path.unlink, lambda path: path.write_text("step 3")])
def test_a_file_that_is_none(path, harm):
    harm(path)
    with pytest.raises(RunError, match="state.npz: expected a checkpoint"):
        checkpoint.load(path)


def test_the_newest_is_the_one_furthest_on(tmp_path):
    with pytest.raises(RunError, match="run.checkpoint_every writes them"):
        checkpoint.newest(tmp_path)
    for step in (9, 1_000_000, 20):
        checkpoint.save(checkpoint.path_of(tmp_path, step), step)
    (tmp_path / "checkpoints" / "step-x.npz").touch()
    assert checkpoint.load(checkpoint.newest(tmp_path)) == 1_000_000
