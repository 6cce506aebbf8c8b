"""Every installed operation, where the dtypes of x, y and the batch differ: the right numbers, in the given dtypes."""

from __future__ import annotations

from collections.abc import Iterator

import jittor as jt
import numpy as np
import pytest

import boat_core as boat

pytestmark = pytest.mark.usefixtures("single_operators")

RNG = np.random.default_rng(0)
ROWS, TARGETS = RNG.normal(size=(6, 3)), RNG.normal(size=6)
X = {"w": np.array([0.1, -0.2, 0.3]), "b": np.ones(1)}
Y = {"w": np.array([0.3, -0.1, 0.2]), "b": np.zeros(1)}
#: dtypes of x, of y and of the batch; "mixed" gives one leaf each
DTYPES = [
    ("float64", "float32", "float32"),
    ("float32", "float64", "float64"),
    ("float32", "float32", "float64"),
    ("float64", "float64", "float32"),
    ("mixed", "mixed", "float64"),
]


def covering() -> Iterator[boat.Composition]:
    """Yield solvers that together contain every installed operation."""
    seen: set[str] = set()
    for composition in boat.solvers():
        names = {entry.name for entry in composition.operations}
        if not names <= seen:
            seen |= names
            yield composition


def cast(tree: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    names = {"w": "float32", "b": "float64"} if dtype == "mixed" else dict.fromkeys(tree, dtype)
    return {key: values.astype(names[key]) for key, values in tree.items()}


def lower(x, y, batch):
    residual = jt.tanh(batch["rows"] @ y["w"] + y["b"]) - batch["targets"]
    ridge = 0.1 * (x["w"].exp() * y["w"] * y["w"]).sum() + 0.3 * ((y["b"] - x["w"].sum()) ** 2).sum()
    return (residual * residual).mean() + ridge + 0.01 * x["b"] * (y["w"] ** 2).sum()


def upper(x, y, batch):
    residual = batch["rows"] @ y["w"] + y["b"] - batch["targets"]
    return (residual * residual).mean() + 0.1 * (x["w"] * x["w"]).sum() + 0.05 * x["b"] ** 2


def numbers(composition: boat.Composition, dtypes: tuple[str, str, str]) -> np.ndarray:
    """Return the hypergradient, and x and y after two outer steps; check that all have the dtypes of x and y."""
    of_x, of_y, of_batch = dtypes
    problem = boat.Problem(upper, lower, cast(X, of_x), cast(Y, of_y))
    batch = {"rows": ROWS.astype(of_batch), "targets": TARGETS.astype(of_batch)}
    alone = composition.first_order is not None or any(entry.name == "DM" for entry in composition.map)
    solver = boat.Solver(
        problem,
        map=[entry.name for entry in composition.map] or None,
        approximate=[entry.name for entry in composition.approximate] or None,
        first_order=composition.first_order.name if composition.first_order else None,
        lower_steps=1 if alone else 3,
        lower_optimizer=boat.sgd(0.05),
        upper_optimizer=boat.adam(0.05),
    )
    hypergradient = solver.hypergradient(batch, batch).upper
    for _ in range(2):
        solver.step(batch, batch)
    trees = [(hypergradient, problem.upper), (solver.upper, problem.upper), (solver.lower, problem.lower)]
    for tree, like in trees:
        assert {key: str(leaf.dtype) for key, leaf in tree.items()} == {k: str(v.dtype) for k, v in like.items()}
    return np.concatenate([leaf.numpy().astype("float64") for tree, _ in trees for leaf in tree.values()])


@pytest.mark.parametrize("composition", list(covering()), ids=str)
def test_mixed_dtypes(composition):
    truth = numbers(composition, ("float64", "float64", "float64"))
    starts_at_x = any(entry.operation.start == "upper" for entry in composition.operations)
    for dtypes in DTYPES:
        if starts_at_x and dtypes[0] != dtypes[1]:
            with pytest.raises(boat.StructureError, match=r"upper\['b'\].*dtype float.*dtype float|float.*and float"):
                numbers(composition, dtypes)
            continue
        np.testing.assert_allclose(numbers(composition, dtypes), truth, rtol=3e-4, atol=3e-5, err_msg=str(dtypes))
