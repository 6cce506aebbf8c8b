"""Every valid solver over what is installed: it runs, it costs what it says, and the lists agree with each other."""

from __future__ import annotations

import importlib_metadata
import jittor
import numpy as np
import pytest

import boat_core as boat
from boat_core.autodiff.derivatives import counting
from boat_core.composition import enumerate_solvers
from boat_core.registry import published_operations, registry
from boat_core.testing import flat, network_problem

STEPS = 3


def make(composition):
    return boat.Solver(
        network_problem(),
        **composition.as_config(),
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(0.1),
        upper_optimizer=boat.sgd(0.1),
    )


@pytest.mark.parametrize("composition", list(enumerate_solvers(registry())), ids=str)
def test_every_valid_solver_runs_two_steps_at_its_declared_cost(composition):
    solver = make(composition)
    batches = network_problem().batches(0, None)
    solver.hypergradient(*batches)
    alive = jittor.liveness_info()
    with counting() as counter:
        results = [solver.step(*batches), solver.step(*batches)]
    assert jittor.liveness_info()["lived_ops"] <= alive["lived_ops"], "a graph outlives its step"
    declared = solver.composition.cost(STEPS)
    assert counter.gradients == 2 * declared.gradients
    assert counter.hvps <= 2 * declared.hvps
    if not any(r.report.operations.get("CG") for r in results):
        assert counter.hvps == 2 * declared.hvps
    assert (counter.hvps > 0) == solver.composition.second_order
    assert np.isfinite(flat(solver.upper)).all()
    assert np.abs(flat(solver.upper) - flat(network_problem().upper)).max() > 0


def test_the_published_list_is_what_the_packs_bring():
    ours = {d: sorted(names) for d, names in published_operations().items()}
    brought: dict[str, list[str]] = {}
    for entry in registry().entries:
        brought.setdefault(entry.distribution, []).append(entry.name)
    assert ours == {d: sorted(names) for d, names in brought.items() if d in ours}


def test_versions_move_together():
    versions = {importlib_metadata.version(d) for d in ("boat-core", *published_operations(), "boat-bilevel")}
    assert versions == {boat.__version__}


def test_every_pack_uses_public_names_only():
    import ast
    from pathlib import Path

    root = Path(__file__).parent.parent
    for path in sorted([*root.glob("boat_ops_*/src/**/*.py"), *root.glob("plugins_example/src/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("boat_core"):
                assert node.module in ("boat_core", "boat_core.testing"), f"{path}: {node.module}"
                assert {a.name for a in node.names} <= set(boat.__all__), path
