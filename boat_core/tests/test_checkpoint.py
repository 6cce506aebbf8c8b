"""Checkpoints are exact to the bit, and a damaged one is never mistaken for a whole one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import stat
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
def test_values_of_other_kinds_are_refused(tmp_path, value):
    with pytest.raises(TypeError, match="checkpoint"):
        checkpoint.save(tmp_path / "state.npz", [value])
    assert list(tmp_path.iterdir()) == []


def test_damage_is_detected(path):
    """Change bytes and cut off the end at many places: the result is an error or the same state."""
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
def test_other_files_are_refused(path, harm):
    harm(path)
    with pytest.raises(RunError, match="state.npz: expected a checkpoint"):
        checkpoint.load(path)


def test_the_newest_is_the_one_after_the_most_steps(tmp_path):
    with pytest.raises(RunError, match="expected a checkpoint in .*; a run writes one when it ends"):
        checkpoint.load_newest(tmp_path)
    for step in (9, 1_000_000, 20):
        checkpoint.save(checkpoint.path_of(tmp_path, step), step)
    (tmp_path / "checkpoints" / "step-x.npz").touch()
    assert checkpoint.load_newest(tmp_path) == (checkpoint.path_of(tmp_path, 1_000_000), 1_000_000, {})


def test_an_unknown_format_is_no_damage(tmp_path, path):
    """An older version of this package must not fall back to an older checkpoint without being told to."""
    for step in (1, 2):
        checkpoint.save(checkpoint.path_of(tmp_path, step), step)
    structure = b'{"format": 2, "state": {"plain": 3}}'
    digest = np.frombuffer(hashlib.sha256(structure).digest(), np.uint8)
    np.savez(checkpoint.path_of(tmp_path, 2), structure=np.frombuffer(structure, np.uint8), digest=digest)
    with pytest.raises(RunError, match="step-000002.npz: expected a checkpoint of format 1"):
        checkpoint.load_newest(tmp_path)


def test_pruning_keeps_what_it_is_told_to(tmp_path):
    paths = [checkpoint.path_of(tmp_path, step) for step in (1, 2, 3, 4)]
    for path in paths:
        checkpoint.save(path, 0)
    checkpoint.prune(paths[2], keep=1)
    assert checkpoint.newest_first(tmp_path) == [paths[3], paths[2], paths[1]]


@contextlib.contextmanager
def full_disk(size):
    """Limit the size of files, which a process meets like a full disk; pytest's own output needs the limit lifted."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 700, 1500])
def test_a_full_disk_leaves_the_checkpoint_before(path, size):
    before = path.read_bytes()
    assert size < len(before)
    with pytest.raises(OSError, match="File too large"), full_disk(size):
        checkpoint.save(path, STATE)
    assert [(p.name, p.read_bytes()) for p in path.parent.iterdir()] == [("state.npz", before)]


def test_the_folder_is_synced_after_the_rename(tmp_path, monkeypatch):
    """Otherwise a power failure can undo the rename, after older checkpoints were removed."""
    path, fsync, synced = tmp_path / "new" / "state.npz", os.fsync, []

    def record(descriptor):
        status = os.fstat(descriptor)
        synced.append(("folder", path.exists()) if stat.S_ISDIR(status.st_mode) else ("file", path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    checkpoint.save(path, STATE)
    assert synced == [("folder", False), ("file", False), ("folder", True)]
