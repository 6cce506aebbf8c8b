"""Checkpoints: a pytree of numpy arrays and plain values in one `.npz` file, without pickling, exact to the bit.

The file holds the arrays by number, the structure around them as JSON, and a digest of both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._util.atomic import write_atomically
from ..errors import RunError

_FORMAT = 1
_PREFIX = "step-"


def save(path: Path, state: Any) -> None:
    """Write a pytree of dicts (string keys), lists, tuples, None, numbers, strings and numpy arrays, or nothing.

    Raises:
        TypeError: the pytree holds something else.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    structure = json.dumps({"format": _FORMAT, "state": _encode(state, arrays)}).encode()
    stored = {f"array_{i}": array for i, array in enumerate(arrays)}
    stored |= {"structure": np.frombuffer(structure, np.uint8), "digest": _digest(structure, arrays)}
    write_atomically(path, lambda file: np.savez(file, **stored))


def load(path: Path) -> Any:
    """Return what `save` wrote.

    Raises:
        RunError: the file is not a checkpoint, or not as it was written.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            structure = stored["structure"].tobytes()
            arrays = [stored[f"array_{i}"] for i in range(len(stored.files) - 2)]
            digest = stored["digest"]
        if not np.array_equal(digest, _digest(structure, arrays)):
            raise RunError(f"{path}: expected a checkpoint as it was written (got one whose content was changed)")
        whole = json.loads(structure)
    except FileNotFoundError:
        raise RunError(f"{path}: expected a checkpoint (there is no such file)") from None
    except RunError:
        raise
    except Exception as error:  # what numpy and zipfile raise on a foreign or damaged file is of many kinds
        found = " ".join(str(error).split())
        raise RunError(f"{path}: expected a checkpoint, whole and as it was written ({found})") from error
    if whole["format"] != _FORMAT:
        raise RunError(f"{path}: expected a checkpoint of format {_FORMAT} (got {whole['format']})")
    return _decode(whole["state"], arrays)


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint after `step` outer steps of a run lies."""
    return folder / "checkpoints" / f"{_PREFIX}{step:06d}.npz"


def newest(folder: Path) -> Path:
    """Return the checkpoint of a run that lies furthest on.

    Raises:
        RunError: there is none.
    """
    found = [path for path in (folder / "checkpoints").glob(f"{_PREFIX}*.npz") if _step_of(path) is not None]
    if not found:
        raise RunError(f"{folder}: expected a checkpoint in {folder / 'checkpoints'}; run.checkpoint_every writes them")
    return max(found, key=lambda path: _step_of(path) or 0)


def _step_of(path: Path) -> int | None:
    number = path.stem.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else None


def _encode(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """One JSON object per node, its only key the kind of the node."""
    if isinstance(value, (np.ndarray, np.generic)):
        if np.asarray(value).dtype.hasobject:
            raise TypeError(f"a checkpoint holds arrays of numbers (got dtype {value.dtype})")
        arrays.append(np.asarray(value))
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return {"plain": value}
    if type(value) is float:
        return {"float": value.hex()}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(item, arrays) for key, item in value.items()}}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_encode(item, arrays) for item in value]}
    raise TypeError(f"a checkpoint cannot hold {value!r} of type {type(value).__name__}")


def _decode(node: dict[str, Any], arrays: list[np.ndarray[Any, Any]]) -> Any:
    [(kind, value)] = node.items()
    if kind == "array":
        return arrays[value]
    if kind == "scalar":
        return arrays[value][()]
    if kind == "float":
        return float.fromhex(value)
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in value.items()}
    if kind in ("list", "tuple"):
        items = [_decode(item, arrays) for item in value]
        return tuple(items) if kind == "tuple" else items
    return value


def _digest(structure: bytes, arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    sha = hashlib.sha256(structure)
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(array.tobytes())
    return np.frombuffer(sha.digest(), np.uint8)
