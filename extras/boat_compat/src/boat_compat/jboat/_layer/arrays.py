"""The Jittor arrays that a model holds, wherever they are: attributes, lists, dictionaries and modules within them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def held_arrays(model: Any) -> dict[str, Any]:
    """Return every array that can be reached from a model, once each, by its dotted name.

    `Module.parameters()` passes over what lies in plain lists and dictionaries; this function does not.
    """
    arrays: dict[str, Any] = {}
    visited: set[int] = set()
    for name, array in _walk(model, "", visited):
        arrays[name] = array
    return arrays


def _walk(value: Any, name: str, visited: set[int]) -> Iterator[tuple[str, Any]]:
    import jittor

    if isinstance(value, (str, bytes, int, float, type(None), type)) or id(value) in visited:
        return
    if isinstance(value, jittor.Var):
        visited.add(id(value))
        yield name, value
        return
    entries: Iterator[tuple[Any, Any]]
    if isinstance(value, jittor.Module):
        entries = iter(list(vars(value).items()))
    elif isinstance(value, Mapping):
        entries = iter(list(value.items()))
    elif isinstance(value, (list, tuple)):
        entries = iter(enumerate(value))
    else:
        return
    visited.add(id(value))
    for key, entry in entries:
        # Jittor's `eval()` notes there which arrays were trainable; these are no arrays of the model.
        if key != "backup_grad_state":
            yield from _walk(entry, f"{name}.{key}" if name else str(key), visited)
