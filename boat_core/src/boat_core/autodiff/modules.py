"""Calls Jittor Modules as pure functions: (module, parameters, inputs) -> outputs. The module stays unchanged.

net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
weights = boat.parameters(net)
f = lambda x, y, batch: loss(boat.call(net, y, batch["data"]), batch["target"])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import StructureError, nearest
from . import arrays

_Slot = tuple[dict[Any, Any], Any, str]


def _slots(parts: Iterable[tuple[str, Any]]) -> Iterator[_Slot]:
    """Yield (dictionary, key, dotted name) for every place in these modules that holds an array.

    Jittor lists a module once for each way that leads to it. Its places are yielded once, under its first name: whoever
    replaces the arrays in them would otherwise meet a replacement there, and take it for an array of the module.
    """
    visited: set[int] = set()
    for prefix, part in parts:
        holder = part.params if hasattr(part, "params") and isinstance(part.params, dict) else part.__dict__
        if id(holder) in visited:
            continue
        visited.add(id(holder))
        for key, value in holder.items():
            if not str(key).startswith("_") and arrays.is_jittor(value):
                yield holder, key, f"{prefix}.{key}" if prefix else str(key)


def parameters(module: Any) -> dict[str, Any]:
    """Return copies of the trainable parameters as {dotted name: array}. A shared parameter appears once.

    Statistics such as the running mean of BatchNorm are not among them: Jittor marks them as constants.
    """
    parts = module.named_modules()
    return {name: arrays.detach(value) for name, value in _own(parts, _slots(parts)).values()}


def _own(parts: Iterable[tuple[str, Any]], slots: Iterable[_Slot]) -> dict[int, tuple[str, Any]]:
    """The trainable parameters as {identity: (first name, array)}."""
    # Jittor's eval() marks every array as a constant, and notes which ones were not constants before.
    noted: dict[int, bool] = {}
    for _, part in parts:
        noted |= vars(part).get("backup_grad_state", {})
    own: dict[int, tuple[str, Any]] = {}
    for holder, key, name in slots:
        value = holder[key]
        if not value.is_stop_grad() or noted.get(id(value)):
            own.setdefault(id(value), (name, value))
    return own


def call(module: Any, parameters: Mapping[str, Any], *inputs: Any, **keywords: Any) -> Any:
    """Call the module with these parameters in place of its own. Afterwards it is as before, including statistics.

    Raises:
        StructureError: a parameter is missing, unknown, or has another shape.
    """
    parts = module.named_modules()
    slots = list(_slots(parts))
    replacements = _replacements(_own(parts, slots), parameters)
    holders = {id(holder): holder for holder in (*(vars(part) for _, part in parts), *(slot[0] for slot in slots))}
    saved = [(holder, dict(holder)) for holder in holders.values()]
    try:
        for holder, key, _ in slots:
            value = holder[key]
            if id(value) not in replacements:
                # Other arrays are replaced by copies, because a BatchNorm writes into its statistics in place.
                replacements[id(value)] = arrays.detach(value)
            holder[key] = replacements[id(value)]
        return module(*inputs, **keywords)
    finally:
        for holder, content in saved:
            holder.clear()
            holder.update(content)


def load(module: Any, parameters: Mapping[str, Any]) -> None:
    """Write parameters into the module.

    Raises:
        StructureError: a parameter is missing or unknown, or has another shape or dtype. Nothing is written then.
    """
    parts = module.named_modules()
    slots = list(_slots(parts))
    own = _own(parts, slots)
    replacements = _replacements(own, parameters)
    for name, value in own.values():
        _check_dtype(name, value, parameters[name])
    for holder, key, _ in slots:
        value = holder[key]
        if id(value) in replacements:
            value.update(arrays.detach(arrays.as_array(replacements[id(value)])))


def _check_dtype(name: str, value: Any, parameter: Any) -> None:
    """Raise `StructureError` if a parameter would give the module another dtype."""
    import numpy as np

    # A dtype of numpy in the other byte order has the same name.
    want, have = (np.dtype(str(array.dtype)).name for array in (value, parameter))
    if want != have:
        place, got = f"parameters[{name!r}]", f"dtype {have}"
        hint = f"cast the parameter to {want}, or first convert the module, as module.{have}() does"
        raise StructureError(where=place, expected=f"dtype {want}, which the module has", got=got, hint=hint)


class Places:
    """The places where a module holds its trainable parameters, by name. A shared parameter has several places."""

    def __init__(self, module: Any) -> None:
        parts = module.named_modules()
        slots = list(_slots(parts))
        own = _own(parts, slots)
        self._slots: dict[str, list[tuple[dict[Any, Any], Any]]] = {name: [] for name, _ in own.values()}
        for holder, key, _ in slots:
            if id(holder[key]) in own:
                self._slots[own[id(holder[key])][0]].append((holder, key))
        if not self._slots:
            raise StructureError(f"{type(module).__name__}: expected a module with trainable parameters")

    @property
    def parameters(self) -> dict[str, Any]:
        """The arrays that the module holds, not copies."""
        return {name: slots[0][0][slots[0][1]] for name, slots in self._slots.items()}

    def put(self, parameters: Mapping[str, Any]) -> None:
        """Make the module hold these very arrays, with their graph."""
        for name, slots in self._slots.items():
            for holder, key in slots:
                holder[key] = parameters[name]

    def write(self, parameters: Mapping[str, Any]) -> None:
        """Write these values into the arrays that the module holds."""
        for name, array in self.parameters.items():
            array.update(arrays.detach(parameters[name]))


def _replacements(own: dict[int, tuple[str, Any]], parameters: Mapping[str, Any]) -> dict[int, Any]:
    names = {name for name, _ in own.values()}
    for name in parameters:
        if name not in names:
            raise StructureError(f"parameters: the module has none called {name!r}{nearest(name, names)}")
    for name, value in own.values():
        if name not in parameters:
            raise StructureError(f"parameters: {name!r} is missing")
        if list(parameters[name].shape) != list(value.shape):
            raise StructureError(
                f"parameters[{name!r}]: expected shape {list(value.shape)} (got {list(parameters[name].shape)})"
            )
    return {key: _read(parameters[name], name) for key, (name, _) in own.items()}


def _read(value: Any, name: str) -> Any:
    return value if arrays.is_jittor(value) else arrays.as_array(value, f"parameters[{name!r}]")
