"""Operations tried on small problems: quickly, for anybody, or by all that the conformance kit asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import BoatError, OptionError
from ..plugins.composition import Composition, compose, solvers
from ..plugins.entries import Registered
from ..plugins.registry import Registry
from .finding import Finding


class NotTried(Exception):
    """An operation cannot be tried without knowing more of it."""


def smallest_solver(entry: Registered, packs: Registry) -> Composition:
    """The valid solver with the fewest other operations, ours first.

    Raises:
        NotTried: there is none, or an option has no default.
    """
    chains = [s for s in solvers(packs) if entry in s.operations]
    if not chains:
        raise NotTried("no valid solver has it")

    def strangers(solver: Composition) -> tuple[int, int]:
        others = [other for other in solver.operations if other != entry]
        return sum(not other.published for other in others), len(others)

    try:
        return compose(packs, **min(chains, key=strangers).as_config())
    except OptionError as error:
        raise NotTried(str(error)) from None


def misconduct(entry: Registered, packs: Registry) -> Finding | None:
    """Do two outer steps of the smallest solver that has it, on a small network; say what went wrong.

    Raises:
        NotTried: see `smallest_solver`.
    """
    from ..testing.claims import make_solver, network_for

    composition = smallest_solver(entry, packs)
    problem, batches = network_for(composition)
    try:
        solver = make_solver(composition, problem, packs)
        solver.step(*batches)
        solver.step(*batches)
    except Exception as error:
        what = str(error) if isinstance(error, BoatError) else f"{type(error).__name__}: {error}"
        if entry.origin not in what:
            what = f"operation {entry.name} in {composition}: {what}"
        remedy = f"Tell its author; pip install --upgrade {entry.distribution}, or compose solvers without it"
        return Finding(entry.distribution, entry.version, what.removesuffix("."), remedy)
    return None


def conformance(entry: Registered, packs: Registry) -> Iterator[Finding]:
    """Every check of the conformance kit that needs no claim of the author's.

    Raises:
        NotTried: see `smallest_solver`; or pytest, which the kit needs, is not installed.
    """
    composition = smallest_solver(entry, packs)
    try:
        import pytest
    except ImportError:
        raise NotTried("the conformance kit needs pytest; pip install 'boat-core[test]'") from None
    from ..testing.claims import Claim
    from ..testing.conformance import UNCLAIMED, check_solver

    claim = Claim(entry.name, chain=composition.as_config())
    checks: list[tuple[str, Callable[[], Any]]] = [
        (check.__name__.removeprefix("check_").replace("_", " "), lambda check=check: check(claim, packs))  # type: ignore[misc]
        for check in UNCLAIMED
    ]
    for solver in solvers(packs):
        if entry in solver.operations:
            checks.append((str(solver), lambda solver=solver: check_solver(solver, packs)))  # type: ignore[misc]
    for name, check in checks:
        try:
            check()
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            what = f"operation {entry.name}, {name}: {said[:300]}"
            yield Finding(entry.distribution, entry.version, what, "Its own test finds it too: OperationSuite")
    for kernel in entry.operation.kernels:
        if not kernel.available:
            what = f"operation {entry.name}: its kernel {kernel.name} cannot be had here"
            yield Finding(entry.distribution, entry.version, what, f"See what the compiler said of {kernel.source}")
