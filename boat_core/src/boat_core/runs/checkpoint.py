"""Checkpoints: a pytree of numpy arrays and plain values in one `.npz` file, exact to the bit and without pickling.

The file holds the arrays by number, the structure around them as JSON, and a digest of both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._util.atomic import write_atomically
from ..errors import RunError

_FORMAT = 1
_PREFIX = "step-"


class DamagedError(RunError):
    """A file is not a checkpoint, or not as it was written."""


def save(path: Path, state: Any) -> None:
    """Write a pytree of dicts (string keys), lists, tuples, None, numbers, strings and numpy arrays.

    After an error there is no new file, and a file that was there before is unchanged.

    Raises:
        TypeError: the pytree holds something else.
        OSError: the file cannot be written.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    structure = json.dumps({"format": _FORMAT, "state": _encode(state, arrays)}).encode()
    stored = {f"array_{i}": array for i, array in enumerate(arrays)}
    stored |= {"structure": np.frombuffer(structure, np.uint8), "digest": _digest(structure, arrays)}
    write_atomically(path, lambda file: np.savez(file, **stored))


def load(path: Path) -> Any:
    """Return what `save` wrote.

    Raises:
        DamagedError: the file is not a checkpoint, or not as it was written.
        RunError: the checkpoint has a format that this version does not know.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            structure = stored["structure"].tobytes()
            arrays = [stored[f"array_{i}"] for i in range(len(stored.files) - 2)]
            digest = stored["digest"]
        if not np.array_equal(digest, _digest(structure, arrays)):
            raise DamagedError(f"{path}: expected a checkpoint as it was written (got one whose content was changed)")
        whole = json.loads(structure)
    except FileNotFoundError:
        raise DamagedError(f"{path}: expected a checkpoint (there is no such file)") from None
    except DamagedError:
        raise
    except Exception as error:  # numpy and zipfile raise errors of many kinds on a foreign or damaged file
        reason = " ".join(str(error).split())
        raise DamagedError(f"{path}: expected a checkpoint, whole and as it was written ({reason})") from error
    if whole["format"] != _FORMAT:
        raise RunError(f"{path}: expected a checkpoint of format {_FORMAT} (got {whole['format']})")
    return _decode(whole["state"], arrays)


def path_of(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint after `step` outer steps of a run."""
    return folder / "checkpoints" / f"{_PREFIX}{step:06d}.npz"


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the one after the most steps first."""
    steps = {path: _step_of(path) for path in (folder / "checkpoints").glob(f"{_PREFIX}*.npz")}
    return sorted((path for path in steps if steps[path] is not None), key=lambda path: steps[path] or 0, reverse=True)


def load_newest(
    folder: Path, misplaced: Callable[[Any, int], str | None] = lambda content, step: None
) -> tuple[Path, Any, dict[Path, DamagedError]]:
    """Return the newest checkpoint of a run that is not damaged, what it holds, and the damaged ones that are newer.

    Args:
        folder: the folder of the run.
        misplaced: a function `(content, step) -> text or None` that says what a checkpoint is instead of the one after
            `step` steps of this run. Such a checkpoint counts as damaged.

    Raises:
        RunError: there is none, or the newest has a format that this version does not know.
    """
    paths, damaged = newest_first(folder), dict[Path, DamagedError]()
    for path in paths:
        try:
            content, step = load(path), _step_of(path) or 0
        except DamagedError as error:
            damaged[path] = error
            continue
        if instead := misplaced(content, step):
            damaged[path] = DamagedError(
                f"{path}: expected the checkpoint after step {step} of this run (got {instead})"
            )
            continue
        return path, content, damaged
    if not paths:
        raise RunError(
            f"{folder}: expected a checkpoint in {folder / 'checkpoints'}; "
            "a run writes one when it ends, and every run.checkpoint_every steps"
        )
    others = f"; the {len(paths) - 1} before it are damaged too" if len(paths) > 1 else ""
    raise RunError(f"{damaged[paths[0]]}{others}") from damaged[paths[0]]


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is no longer taken for one."""
    path.replace(path.with_name(f"{path.name}.damaged"))


def prune(path: Path, keep: int) -> None:
    """Remove the checkpoints before `path`, except for the `keep` newest of them. `path` has to be on disk."""
    step = _step_of(path) or 0
    older = [other for other in newest_first(path.parent.parent) if (_step_of(other) or 0) < step]
    for other in older[keep:]:
        other.unlink(missing_ok=True)


def _step_of(path: Path) -> int | None:
    number = path.stem.removeprefix(_PREFIX)
    return int(number) if number.isdigit() else None


def _encode(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Return one JSON object per node. Its only key is the kind of the node."""
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
