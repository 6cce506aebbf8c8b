"""Trials of installed operations without a claim: two outer steps, or every check that needs no claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import BoatError, OptionError
from ..plugins.composition import Composition, compose, solvers
from ..plugins.entries import Registered
from ..plugins.finding import Finding
from ..plugins.registry import Registry


class NotTried(Exception):
    """An operation cannot be tried: no valid solver contains it, or an option of that solver has no default."""


def smallest_solver(entry: Registered, registry: Registry) -> Composition:
    """Return the valid solver that contains the operation and the fewest others.

    Solvers with operations of unknown packs come last.

    Raises:
        NotTried: There is no such solver, or one of its options has no default.
    """
    candidates = [solver for solver in solvers(registry) if entry in solver.operations]
    if not candidates:
        raise NotTried("no valid solver has it")

    def strangers(solver: Composition) -> tuple[int, int]:
        others = [other for other in solver.operations if other != entry]
        return sum(not other.published for other in others), len(others)

    try:
        return compose(registry, **min(candidates, key=strangers).as_config())
    except OptionError as error:
        raise NotTried(str(error)) from None


def try_operation(entry: Registered, registry: Registry) -> Finding | None:
    """Take two outer steps on a small network with the smallest solver that contains the operation.

    Returns:
        The finding if a step failed, else None.

    Raises:
        NotTried: See `smallest_solver`.
    """
    from .claims import make_solver, network_for

    registry = registry.with_only(entry)
    composition = smallest_solver(registry.find(entry.name), registry)
    problem, batches = network_for(composition)
    try:
        solver = make_solver(composition, problem, registry)
        solver.step(*batches)
        solver.step(*batches)
    except Exception as error:
        what = str(error) if isinstance(error, BoatError) else f"{type(error).__name__}: {error}"
        if entry.origin not in what:
            what = f"operation {entry.name} in {composition}: {what}"
        remedy = f"Tell its author; pip install --upgrade {entry.distribution}, or compose solvers without it"
        return Finding(entry.distribution, entry.version, what.removesuffix("."), remedy)
    return None


def unclaimed_checks(entry: Registered, registry: Registry) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the checks of the conformance kit that need no claim of the operation's author.

    Each check is a name and a function. If the check fails, the function raises an `AssertionError`, another exception,
    or pytest's exception for a failed test. If the check does not apply, it raises pytest's exception for a skipped
    test.

    Raises:
        NotTried: See `smallest_solver`.
    """
    from . import check_solver  # through the package, so that pytest explains the assertions of that file
    from .claims import Claim
    from .conformance import UNCLAIMED

    registry = registry.with_only(entry)
    entry = registry.find(entry.name)
    claim = Claim(entry.name, chain=smallest_solver(entry, registry).as_config())
    for check in UNCLAIMED:
        yield check.__name__.removeprefix("check_").replace("_", " "), partial(check, claim, registry)
    for solver in solvers(registry):
        if entry in solver.operations:
            yield str(solver), partial(check_solver, solver, registry)
