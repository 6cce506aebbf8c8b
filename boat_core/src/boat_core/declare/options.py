"""Options: dataclasses whose fields declare their range and their meaning.

Operations, optimizers, named problems and the sections of a configuration all declare their options in the same way:

    @dataclass(frozen=True)
    class Options:
        max_iterations: int = option(20, ge=1, doc="Krylov iterations at most")

`read_options` reads all of them, so a wrong value gets the same clear error everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, TypeVar

from .._util.integers import as_integer
from .._util.text import read_number
from ..errors import DeclarationError, Keys, OptionError, as_keys, closest, shown, suggestion

T = TypeVar("T")


def option(
    default: Any = MISSING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[Any, ...] | None = None,
    lower_rate: str | None = None,
    varies: bool = False,
    doc: str,
) -> Any:
    """Declare one field of an options dataclass.

    Args:
        default: The default value. Without it, the option is required.
        ge, gt, le, lt: Bounds of a number.
        choices: The allowed values.
        lower_rate: For a step size with the default None, which stands for the rate of the lower optimizer. "any"
            accepts every lower optimizer that has a rate. "plain" accepts only plain SGD; beside another optimizer the
            option is required. The solver replaces None by the rate before it calls the operation, so annotate the
            field as `float`.
        varies: Whether the number may also be an array, a pytree of arrays, or a function of the step (a schedule).
            Hyperparameters of optimizers vary, see `boat_core.UpdateRule`.
        doc: The meaning of the option.
    """
    bounds = {name: value for name, value in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)) if value is not None}
    return dataclasses.field(
        default=default,
        metadata={"bounds": bounds, "choices": choices, "lower_rate": lower_rate, "varies": varies, "doc": doc},
    )


@dataclass(frozen=True)
class NoOptions:
    """The options class of an operation without options."""


def check_options_class(cls: Any, where: Keys) -> None:
    """Raise `DeclarationError` unless `cls` is a dataclass whose options JSON can describe."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise DeclarationError("options must be a dataclass", where=where, got=repr(cls))
    if not dataclasses.fields(cls):
        return
    try:
        json.dumps([row.get("default") for row in describe_options(cls)])
    except Exception as error:
        raise DeclarationError(f"options cannot be described ({type(error).__name__}: {error})", where=where) from error


def read_options(cls: type[T], values: Mapping[str, Any], where: Keys) -> T:
    """Build `cls` from a mapping.

    Args:
        cls: a dataclass of options.
        values: the values of the options by name.
        where: the keys under which errors place the options.

    Raises:
        OptionError: an option is unknown, missing, of the wrong type or out of its range.
    """
    keys = as_keys(where)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            hint = suggestion(name, fields) or "it has none"
            raise OptionError("unknown option", where=(*keys, name), hint=hint)
    missing = [n for n, f in fields.items() if f.default is MISSING and n not in values]
    if missing:
        doc = fields[missing[0]].metadata.get("doc", "")
        raise OptionError(f"option {missing[0]!r} is required ({doc})", where=keys)
    checked = {name: check_option(cls, name, value, (*keys, name)) for name, value in values.items()}
    try:
        return cls(**checked)
    except OptionError as error:  # a dataclass may check combinations of its options in __post_init__
        raise error.within(*keys) from None


def check_option(cls: type, name: str, value: Any, where: Keys, scheduled: bool = False) -> Any:
    """Return `value` as the option `name` of `cls` takes it, or raise `OptionError`.

    The value of a schedule may be 0 where the option itself must be above 0: rates begin and end there.
    """
    field, hint = _fields(cls)[name]
    bounds = field.metadata.get("bounds", {})
    if scheduled and bounds.get("gt") == 0:
        loose = {"ge": 0, **{kind: bound for kind, bound in bounds.items() if kind != "gt"}}
        field = dataclasses.field(metadata={**field.metadata, "bounds": loose})
    return _check(value, hint, field, where)


@cache
def _fields(cls: type) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        # None stands for the lower optimizer's rate. `fill_rates` replaces it before `apply` reads the option, so an
        # operation may annotate such an option as `float`.
        if f.metadata.get("lower_rate"):
            hints[f.name] = hints[f.name] | None
    return {f.name: (f, hints[f.name]) for f in dataclasses.fields(cls)}


def unfilled_rates(options: Any) -> dict[str, str]:
    """Return the step sizes that the lower optimizer will determine: a mapping from the name to its `lower_rate`."""
    rates = {f.name: f.metadata.get("lower_rate") for f in dataclasses.fields(options)}
    return {name: kind for name, kind in rates.items() if kind and getattr(options, name) is None}


def fill_rates(options: Any, where: Keys, rate: float | None, plain_rate: float | None) -> Any:
    """Return options with each step size that was left to the lower optimizer filled in.

    Raises:
        OptionError: naming the option, where the lower optimizer has no such rate.
    """
    filled = {}
    for name, kind in unfilled_rates(options).items():
        filled[name] = plain_rate if kind == "plain" else rate
        if filled[name] is None:
            what = "is not plain SGD" if kind == "plain" else "has no rate"
            raise OptionError(f"required where the lower optimizer {what}", where=(*as_keys(where), name))
    return dataclasses.replace(options, **filled)


_COMPARE = {"ge": (operator.ge, ">="), "gt": (operator.gt, ">"), "le": (operator.le, "<="), "lt": (operator.lt, "<")}


def _plain(value: Any) -> Any:
    """Return an integer or a truth value of numpy as Python's own."""
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    integer = as_integer(value)
    return value if integer is None else integer


def _check(value: Any, hint: Any, field: dataclasses.Field[Any], where: Keys) -> Any:
    value = _plain(value)
    if field.metadata.get("varies") and not isinstance(value, (int, float, str)):
        return _check_varying(value, hint, field, where)
    value = _convert(value, _alternatives(hint), field, where)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        in_range = all(_COMPARE[name][0](value, bound) for name, bound in field.metadata.get("bounds", {}).items())
        if not in_range or not _is_moderate(value):
            raise OptionError(where=where, expected=expected_text(hint, field), got=shown(value))
    choices = field.metadata.get("choices")
    if choices and value is not None and value not in choices:
        near = closest(value, choices) if isinstance(value, str) else None
        advice = f"did you mean {near!r}?" if near else None  # what is expected lists the choices already
        raise OptionError(where=where, expected=expected_text(hint, field), got=shown(value), hint=advice)
    return value


def _is_moderate(number: float) -> bool:
    """Whether a number is finite, and no integer that is too large for a floating-point number."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _floating(leaf: Any) -> bool:
    """Whether a leaf is an array of floating-point numbers, in either byte order."""
    dtype = getattr(leaf, "dtype", "")
    return str(getattr(dtype, "name", dtype)).startswith("float")


def _check_varying(value: Any, hint: Any, field: dataclasses.Field[Any], where: Keys) -> Any:
    """Check an array, or a pytree of arrays, or a function of the step, whose numbers are checked when it is called."""
    if callable(value) and not hasattr(value, "dtype"):
        return value
    import optree

    leaves = optree.tree_leaves(value)
    if not leaves or not all(map(_floating, leaves)):
        expected = f"{expected_text(hint, field)}, floating-point arrays of them or a function of the step"
        raise OptionError(where=where, expected=expected, got=f"{shown(value)} of type {type(value).__name__}")
    if not _unchecked.get():
        from ..autodiff.arrays import to_numpy

        for leaf in map(to_numpy, leaves):
            for extreme in (leaf.min(), leaf.max()) if leaf.size else ():
                _check(float(extreme), hint, field, where)
    return value


_unchecked: ContextVar[bool] = ContextVar("boat_unchecked", default=False)


@contextmanager
def unchecked() -> Iterator[None]:
    """Inside this block, do not look at the values of arrays, which would compute them. They were checked before."""
    token = _unchecked.set(True)
    try:
        yield
    finally:
        _unchecked.reset(token)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _convert(value: Any, allowed: tuple[Any, ...], field: dataclasses.Field[Any], where: Keys) -> Any:
    """Return `value` if its type is allowed. An int counts as a float, and so does a text such as "1e-3"."""
    for kind in allowed:
        plain = typing.get_origin(kind) or kind
        if plain is Any or (value is None and plain in (None, type(None))):
            return value
        if plain is tuple and isinstance(value, list):
            return tuple(value)
        if isinstance(plain, type) and isinstance(value, plain) and (not isinstance(value, bool) or plain is bool):
            return value
    if float in allowed and not isinstance(value, bool) and isinstance(value, (numbers.Real, str)):
        try:
            return read_number(value) if isinstance(value, str) else float(value)
        except (ValueError, OverflowError):
            pass
    got = f"{shown(value)} of type {type(value).__name__}"
    raise OptionError(where=where, expected=_expected(allowed, field), got=got)


def expected_text(hint: Any, field: dataclasses.Field[Any]) -> str:
    """Return the text for the values that an option accepts: "an integer >= 1", "one of 'cold', 'warm'"."""
    return _expected(_alternatives(hint), field)


def _expected(allowed: tuple[Any, ...], field: dataclasses.Field[Any]) -> str:
    if field.metadata.get("choices"):
        return "one of " + ", ".join(repr(c) for c in field.metadata["choices"])
    words = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a string",
        type(None): "nothing",
        dict: "a mapping",
        tuple: "a list",
    }
    names = [words.get(typing.get_origin(kind) or kind, str(kind)) for kind in allowed]
    bounds = " and ".join(f"{_COMPARE[n][1]} {b:g}" for n, b in field.metadata.get("bounds", {}).items())
    return " or ".join(names) + (f" {bounds}" if bounds else "")


def describe_options(cls: type) -> list[dict[str, Any]]:
    """Return one JSON-ready row per option: its name, accepted values, default (absent if required) and doc."""
    rows = []
    for field, hint in _fields(cls).values():
        takes = expected_text(hint, field) + (", may vary" if field.metadata.get("varies") else "")
        row: dict[str, Any] = {"name": field.name, "takes": takes}
        if field.default is MISSING:
            row["required"] = True
        else:
            row["default"] = field.default
        rows.append(row | {"doc": field.metadata.get("doc", "")})
    return rows
