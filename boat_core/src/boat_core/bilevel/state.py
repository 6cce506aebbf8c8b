"""The state of a solver as a value: all that the next outer step depends on, and what a checkpoint holds.

Both classes are pytrees: `optree` maps over their arrays. They also read like the mappings that checkpoints hold, so
`state["upper"]` is `state.upper`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import optree

T = TypeVar("T", bound="type[_Record]")

#: The key of the only lower problem where there are no tasks.
ALONE = ""


class _Record(Mapping[str, Any]):
    """A frozen dataclass that reads as a mapping of its fields."""

    def __getitem__(self, name: str) -> Any:
        if name not in set(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(fields(self))  # type: ignore[arg-type]

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}


def _pytree(cls: T) -> T:
    """Register a record as a pytree node whose children stand in the order that a dictionary would give them."""
    names = tuple(sorted(cls.__dataclass_fields__))  # type: ignore[attr-defined]

    def flatten(record: Any) -> tuple[tuple[Any, ...], None, tuple[str, ...]]:
        return tuple(getattr(record, name) for name in names), None, names

    def unflatten(_: Any, children: Any) -> Any:
        return cls(**dict(zip(names, children)))

    # In the global namespace: `optree.tree_map` must see a node without being told a name.
    everywhere = optree.registry.__GLOBAL_NAMESPACE
    optree.register_pytree_node(cls, flatten, unflatten, namespace=everywhere)
    return cls


@_pytree
@dataclass(frozen=True, eq=False)
class LowerState(_Record):
    """What one lower problem carries from one outer iteration to the next.

    Args:
        y: where the last iteration ended, a pytree like the lower variables.
        optimizer: the lower optimizer's state; None where every iteration begins it anew.
        operation: the state of the operation that keeps one (a first-order method, or a map that computes the
            hypergradient itself); None where there is none.
    """

    y: Any
    optimizer: Any = None
    operation: Any = None


@_pytree
@dataclass(frozen=True, eq=False)
class SolverState(_Record):
    """All that the next outer step depends on, beside the problem and the settings.

    Args:
        iteration: the number of outer iterations done.
        upper: x, a pytree like the upper variables.
        upper_optimizer: the upper optimizer's state.
        lower: what each lower problem carries over, by task; without tasks the only key is "".
        start: the learned start of y; None where no operation learns one.
        start_optimizer: the state of the optimizer that moves it.
    """

    iteration: int
    upper: Any
    upper_optimizer: Any
    lower: Mapping[str, LowerState]
    start: Any = None
    start_optimizer: Any = None

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dictionaries, the form in which checkpoints keep it."""
        return as_dicts(self)


def as_dicts(state: Any) -> Any:
    """Return a state, or a mapping like one, as nested dictionaries; what is no mapping stays as it is."""
    if not isinstance(state, Mapping):
        return state
    content, lower = dict(state), state.get("lower")
    if isinstance(lower, Mapping):
        content["lower"] = {task: dict(one) if isinstance(one, LowerState) else one for task, one in lower.items()}
    return content
