"""The operations that a boat_config can name, by their classes: `Operation_REGISTRY` and the decorator for new ones."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TypeVar

from boat_core import CompositionError

C = TypeVar("C", bound=type)

#: Name -> class. BOAT's own operations that no class stands for, and those of other packs, can be named as well.
Operation_REGISTRY: dict[str, type] = {}


def register_class(cls: C) -> C:
    """Register a class under its name, so that a boat_config can name it. Returns the class.

    Args:
        cls: a class with `optimize` (for gm_op or fo_op) or `compute_gradients` (for na_op).
    """
    Operation_REGISTRY[cls.__name__] = cls
    return cls


def get_registered_operation(name: str) -> type:
    """Return the class of that name.

    Raises:
        CompositionError: it is not registered. This is a ValueError.
    """
    if name not in Operation_REGISTRY:
        near = get_close_matches(str(name), Operation_REGISTRY, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"registered: {', '.join(sorted(Operation_REGISTRY))}"
        raise CompositionError(f"operation {name!r} is not registered", hint=hint)
    return Operation_REGISTRY[name]
