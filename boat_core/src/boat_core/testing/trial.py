"""Trying an installed operation of which nothing is claimed: two outer steps, or every check that needs no claim."""

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
    """An operation cannot be tried: no valid solver has it, or an option of that solver has no default."""


def smallest_solver(entry: Registered, registry: Registry) -> Composition:
    """Return the valid solver with the operation and the fewest others, those of unknown packs last.

    Raises:
        NotTried: there is no such solver, or one of its options has no default.
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
    """Do two outer steps with the smallest solver that has the operation, on a small network.

    Returns:
        What went wrong, or None.

    Raises:
        NotTried: see `smallest_solver`.
    """
    from .claims import make_solver, network_for

    composition = smallest_solver(entry, registry)
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

    Each is a name and a function, which raises an `AssertionError`, another exception, or pytest's for a test that
    failed or is skipped.

    Raises:
        NotTried: see `smallest_solver`.
    """
    from . import check_solver  # from here: pytest then explains the assertions in the file of the checks
    from .claims import Claim
    from .conformance import UNCLAIMED

    claim = Claim(entry.name, chain=smallest_solver(entry, registry).as_config())
    for check in UNCLAIMED:
        yield check.__name__.removeprefix("check_").replace("_", " "), partial(check, claim, registry)
    for solver in solvers(registry):
        if entry in solver.operations:
            yield str(solver), partial(check_solver, solver, registry)
