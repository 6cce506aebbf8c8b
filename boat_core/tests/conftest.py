"""A registry of toy operations: the core is tested without any pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from boat_core import Cost, Excludes, FirstOrderStep, Hypergradient, Needs, Operation, gradient
from boat_core.plugins.discovery import installed, installed_as, load_registry
from boat_core.plugins.registry import Registry

TEXT = {"summary": "s", "formula": "f", "source": "t"}


def toy_operations() -> list[Operation]:
    def unrolled(trajectory, options):
        p, dx = trajectory.pullback(trajectory.end.upper_gradient)
        return Hypergradient(trajectory.end.direct + dx, y0=p)

    def direct(trajectory, options):
        return Hypergradient(trajectory.end.direct, report={"seen": 1}, concerns=("it looks away",))

    def both(bilevel, x, y, state, descend, k, options):
        gx, gy = bilevel.upper_gradients(x, y)
        return FirstOrderStep(y=descend(y, gy), direction=gx, state=state + 1, report={"count": state})

    def descent(objective, x, y, t, options):
        return gradient(objective(x, y, t), y)

    def plus(upper, lower, options):
        return lambda x, y, t: upper(x, y, t) + lower(x, y, t)

    return [
        Operation(name="STEP", stage="map", role="base", apply=descent, default=True, cost=_per_step, **TEXT),
        Operation(name="SUM", stage="map", role="modifier", apply=plus, order=1, **TEXT),
        Operation(name="OTHER", stage="map", role="modifier", apply=plus, order=0, **TEXT),
        Operation(
            name="ALL",
            stage="approximate",
            role="estimator",
            apply=unrolled,
            default=True,
            cost=lambda options, work: Cost(gradients=1) + work.pullback,
            **TEXT,
        ),
        Operation(
            name="NONE",
            stage="approximate",
            role="estimator",
            apply=direct,
            tags=("end-point",),
            cost=lambda options, work: Cost(gradients=1),
            **TEXT,
        ),
        Operation(
            name="HALF",
            stage="approximate",
            role="selector",
            apply=lambda trajectory, options: (trajectory.last(1), {"kept": 1}),
            view=lambda options, work: replace(work, kept=1),
            excludes=(
                Excludes(("end-point",), "only the end point is read there"),
                Excludes(("estimator",), "it is for one estimator", unless=("ALL", "NONE")),
            ),
            needs=(Needs(("SUM",), "half of one is nothing"),),
            **TEXT,
        ),
        Operation(
            name="BOTH",
            stage="first-order",
            role="method",
            apply=both,
            init=lambda x, y, options: 0,
            cost=lambda options, work: Cost(gradients=1),
            **TEXT,
        ),
    ]


def _per_step(options, work):
    return Cost(gradients=work.steps)


@pytest.fixture
def toys() -> Registry:
    return load_registry([]).adding(*toy_operations(), distribution="toys", version="1.0")


@pytest.fixture
def declare(only_toys_installed) -> Iterator[Callable[..., None]]:
    """`declare(declaration, distribution)`: from now on, that distribution provides this observer, command or so."""
    with ExitStack() as stack:

        def declare(declaration: object, distribution: str = "toys") -> None:
            registry = installed().adding(declaration, distribution=distribution, version="1.0")
            stack.enter_context(installed_as(registry))

        yield declare


@pytest.fixture
def changed() -> Callable[..., Registry]:
    """`changed(registry, name, …)`: a registry in which one operation is declared differently."""

    def changed(registry: Registry, name: str, **changes) -> Registry:
        entries = [
            replace(entry, operation=replace(entry.operation, **changes)) if entry.name == name else entry
            for entry in registry.entries
        ]
        return replace(registry, entries=tuple(entries))

    return changed


@pytest.fixture
def only_toys_installed(toys) -> Iterator[Registry]:
    """The toy operations are what the command and runs find."""
    with installed_as(toys):
        yield toys
