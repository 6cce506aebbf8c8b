"""Which operations a boat_config asks for, and what is left of chains that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from boat_core import CompositionError

from .source import OLD_NAMES, Source

#: From an operation's name, and the stage at which it must stand, to the labels by which rules know it.
Labels = Callable[..., frozenset[str]]
_STAGES = {"gm_op": "map", "na_op": "approximate", "fo_op": "first-order"}


@dataclass(frozen=True)
class Chain:
    """The operations of a solver, by their names.

    Args:
        map, approximate: the chains.
        first_order: a first-order method instead of both.
        dropped: for each operation that was left out, why.
    """

    map: tuple[str, ...] = ()
    approximate: tuple[str, ...] = ()
    first_order: str | None = None
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All operations of the solver."""
        return frozenset({*self.map, *self.approximate, *((self.first_order,) if self.first_order else ())})


def read_chain(source: Source, labels: Labels, starts_at_upper: bool = False) -> Chain:
    """Read `gm_op`, `na_op` and `fo_op`.

    Args:
        source: the boat_config.
        labels: what an operation is known by. It raises `CompositionError` for an unknown name
            and for one of another stage.
        starts_at_upper: whether the lower variables are the upper variables.

    Raises:
        ConfigError: a key is missing, no list of names, or names an unknown operation.
    """
    first_order = _names(source, "fo_op", labels)
    if first_order:
        if len(first_order) > 1:
            raise source.error("fo_op", expected="one operation", got=", ".join(first_order))
        return Chain(first_order=first_order[0])
    maps, approximations = _names(source, "gm_op", labels), _names(source, "na_op", labels)
    for key, names in (("gm_op", maps), ("na_op", approximations)):
        if not names:
            raise source.error(key, expected="a list of operations, where fo_op is null", got=repr(source.find(key)))
    if starts_at_upper and "IAD" not in approximations:
        approximations.append("IAD")
    return _without_nonsense(maps, approximations, labels)


def _names(source: Source, key: str, labels: Labels) -> list[str]:
    value = source.find(key)
    if value is None or value == "":
        return []
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise source.error(key, expected="names of operations", got=repr(value))
    found = [_known(source, key, name.strip(), labels) for name in names]
    if len(set(found)) < len(found):
        raise source.error(key, "an operation is listed twice", got=", ".join(found))
    return found


def _known(source: Source, key: str, name: str, labels: Labels) -> str:
    """Return the name of an operation as it is listed: JBOAT reads names in any case, and old ones may stand there."""
    errors = []
    for spelling in dict.fromkeys((OLD_NAMES.get(name.upper(), name), name.upper())):
        try:
            labels(spelling, _STAGES[key])
        except CompositionError as error:
            errors.append(error)
        else:
            return spelling
    raise source.relocated(errors[0], key)


def _without_nonsense(maps: list[str], approximations: list[str], labels: Labels) -> Chain:
    """Leave out what cannot act beside the rest. JBOAT accepts these chains and returns wrong numbers for them."""
    dropped: list[tuple[str, str]] = []

    def drop(names: list[str], name: str, reason: str) -> None:
        if name in names:
            names.remove(name)
            dropped.append((name, reason))

    if "DM" in maps:
        drop(maps, "NGD", "DM steps y itself, once in an iteration")
    if "IAD" in approximations:
        for name in [name for name in approximations if "end-point" in labels(name)]:
            drop(approximations, name, "it reads y_T only and does not see the start, which IAD makes of x")
        drop(approximations, "RGT", "a truncated pullback does not reach the start, which IAD makes of x")
    if any("end-point" in labels(name) for name in approximations):
        drop(approximations, "RGT", "the estimator reads y_T only, and no truncation of the pullback changes it")
    if any("start" in labels(name) for name in maps):
        drop(approximations, "RGT", "a truncated pullback does not reach the start, which DI learns")
    return Chain(tuple(maps), tuple(approximations), None, tuple(dropped))
