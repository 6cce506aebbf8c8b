"""Calls operations.

If one raises, returns the wrong type or changes its inputs, the error names the distribution that provides it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

import numpy as np
import optree

from ..autodiff import arrays
from ..autodiff.vectors import Vector
from ..errors import BoatError, OperationError, StructureError
from ..plugins.entries import Call, Registered
from ..plugins.observers import count_call
from .trajectory import Hypergradient
from .user_code import is_user_code

T = TypeVar("T")

_watched: ContextVar[InputGuard | None] = ContextVar("boat_watched_inputs", default=None)


class InputGuard:
    """The arrays that operations are given, with a copy of their values: an operation must not change them."""

    def __init__(self, *trees: Any) -> None:
        leaves = [leaf for tree in trees for leaf in optree.tree_leaves(tree)]
        self._arrays = [leaf for leaf in leaves if arrays.is_jittor(leaf)]
        self._values = [arrays.to_numpy(array).copy() for array in self._arrays]

    @property
    def changed(self) -> bool:
        """Whether one of them has another value than at first."""
        pairs = zip(self._arrays, self._values)
        return not all(np.array_equal(arrays.to_numpy(a), b, equal_nan=b.dtype.kind == "f") for a, b in pairs)

    def restore(self) -> None:
        """Put the first values back."""
        for array, values in zip(self._arrays, self._values):
            array.assign(arrays.as_array(values))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside this block compare the arrays after every call of an operation, to name the one that changed them."""
        token = _watched.set(self)
        try:
            yield
        finally:
            _watched.reset(token)


def apply_operation(entry: Registered, *arguments: Any) -> Any:
    """Call an operation's `apply` and return its result.

    Raises:
        OperationError: the operation raised, or changed one of its inputs while those are watched.
    """
    assert entry.operation.apply is not None  # only modifiers of the start have none
    result = call_operation(entry, entry.operation.apply, *arguments)
    count_operation(entry)
    if (inputs := _watched.get()) and inputs.changed:
        raise_operation_error(entry, "changed an array that it was given")
    return result


def count_operation(entry: Registered) -> None:
    """Count a call of an operation's `apply`, if calls are being counted."""
    count_call(Call(entry.name, entry.distribution, entry.version, f"{entry.operation.stage}, {entry.operation.role}"))


def call_operation(entry: Registered, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of an operation (`apply`, `init`, …). Raise `OperationError` if it raises."""
    try:
        return function(*arguments)
    except BoatError:
        raise
    except Exception as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        if any(is_user_code(frame.f_code) for frame, _ in frames):
            raise
        frame, line = frames[-1]
        where = f"{frame.f_code.co_filename}:{line}"
        raise OperationError(_text(entry, f"raised {type(error).__name__}: {error} ({where})")) from error


def raise_operation_error(entry: Registered, what: str) -> NoReturn:
    """Raise the `OperationError` that says what this operation did wrong."""
    raise OperationError(_text(entry, what))


def expect(entry: Registered, value: Any, kind: type[T]) -> T:
    """Return `value` if it is of the type that the operation's role returns. Raise `OperationError` otherwise."""
    if not isinstance(value, kind):
        raise_operation_error(entry, f"returned {type(value).__name__}, expected {kind.__name__}")
    return value


def expect_like(entry: Registered, value: Any, like: Vector, what: str) -> Vector:
    """Return `value` if it is a vector in the space of `like`. Raise `OperationError` otherwise."""
    if not isinstance(value, Vector):
        raise_operation_error(entry, f"returned {type(value).__name__} for {what}, expected Vector")
    try:
        value.check_like(like, what)
    except StructureError as error:
        raise_operation_error(entry, f"returned a vector of another space: {error}")
    return value


def expect_report(entry: Registered, report: Any, concerns: Any) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the report by the operation's name, and its concerns with that name before each.

    Raise `OperationError` if they are not a mapping and a sequence of sentences.
    """
    if not isinstance(report, Mapping):
        raise_operation_error(entry, f"returned {type(report).__name__} for its report, expected a dict of figures")
    if isinstance(concerns, str) or not isinstance(concerns, Sequence):
        raise_operation_error(entry, f"returned {concerns!r} for its concerns, expected a tuple of sentences")
    return ({entry.name: report} if report else {}), tuple(f"{entry.name}: {concern}" for concern in concerns)


def expect_hypergradient(
    entry: Registered, h: Any, x: Vector, y0: Vector
) -> tuple[Mapping[str, Mapping[str, Any]], tuple[str, ...]]:
    """Return the report and the concerns of a hypergradient. Raise `OperationError` if it is something else."""
    h = expect(entry, h, Hypergradient)
    expect_like(entry, h.x, x, "hypergradient")
    if h.y0 is not None:
        expect_like(entry, h.y0, y0, "cotangent of y_0")
    return expect_report(entry, h.report, h.concerns)


def _text(entry: Registered, what: str) -> str:
    remedy = f"`boat ops check {entry.distribution}` says more; tell its author, or compose a solver without it"
    return f"operation {entry.origin} {what}. {remedy}"
