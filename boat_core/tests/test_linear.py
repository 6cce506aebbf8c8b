"""Linear solvers: every method against numpy on the systems it is made for, and its report on other systems."""

from __future__ import annotations

import re

import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")

N = 6
rng = np.random.default_rng(0)
Q = np.linalg.qr(rng.normal(size=(N, N)))[0]
SCALE = 10.0 ** np.arange(N)
SYSTEMS = {
    "spd": Q @ np.diag(np.linspace(0.2, 1.5, N)) @ Q.T,
    "nonsymmetric": np.eye(N) + 0.3 * rng.normal(size=(N, N)) / np.sqrt(N),
    "indefinite": Q @ np.diag([-2.0, -1.0, -0.5, 0.5, 1.0, 3.0]) @ Q.T,
    "ill-conditioned": np.diag(np.sqrt(SCALE)) @ (np.eye(N) + 0.1) @ np.diag(np.sqrt(SCALE)),
}
B = {"a": rng.normal(size=4), "b": rng.normal(size=2)}
RIGHT = np.concatenate([B["a"], B["b"]])
METHODS = {
    "conjugate_gradient": boat.conjugate_gradient,
    "normal_cg": boat.normal_cg,
    "bicgstab": boat.bicgstab,
    "gmres": boat.gmres,
    "neumann": boat.neumann,
    "direct": boat.direct,
}
#: Which methods a system is for.
FOR = {
    "spd": list(METHODS),
    "nonsymmetric": [name for name in METHODS if name != "conjugate_gradient"],
    "indefinite": ["normal_cg", "bicgstab", "gmres", "direct"],
    "ill-conditioned": ["conjugate_gradient", "normal_cg", "bicgstab", "gmres"],
}


def flat(vector):
    return np.concatenate([leaf.numpy().astype("float64").ravel() for leaf in vector.leaves])


def solved(solver, matrix, b=B, dtype="float64"):
    b = boat.Vector.of({name: value.astype(dtype) for name, value in b.items()}, "b")
    taken = []

    def product(A):
        return lambda v: taken.append(1) or v.like_flat(A @ flat(v))

    q, solve = solver(product(matrix), b, product(matrix.T) if solver.transpose else None)
    assert solve.method == solver.name
    q.check_like(b, "q")
    return flat(q), solve, len(taken)


def made(name, dtype="float64", **more):
    settings = {} if name == "direct" else {"tolerance": 1e-12 if dtype == "float64" else 1e-6}
    if name == "neumann":
        settings |= {"max_terms": 500}
    return METHODS[name](**settings, **more)


def diagonal(power):
    """M⁻¹ for the ill-conditioned system, or for AᵀA of it."""
    inverse = SCALE**-power
    return lambda tree: {"a": tree["a"] * inverse[:4], "b": tree["b"] * inverse[4:]}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize(("system", "name"), [(s, n) for s in FOR for n in FOR[s] if s != "ill-conditioned"])
def test_every_method_solves_its_class_of_systems(system, name, dtype, tolerance):
    q, solve, _ = solved(made(name, dtype), SYSTEMS[system], dtype=dtype)
    assert_close(q, np.linalg.solve(SYSTEMS[system], RIGHT), tolerance)
    assert solve.stopped == "tolerance" and not solve.concern and not solve.remedy
    true = np.linalg.norm(RIGHT - SYSTEMS[system] @ q) / np.linalg.norm(RIGHT)
    assert solve.residual == pytest.approx(true, rel=0.1, abs=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("name", FOR["ill-conditioned"])
def test_a_preconditioner_makes_a_badly_scaled_system_easy(name):
    matrix = SYSTEMS["ill-conditioned"]
    preconditioner = diagonal(2 if name == "normal_cg" else 1)
    q, solve, _ = solved(made(name, preconditioner=preconditioner, max_iterations=30), matrix)
    _, without, _ = solved(made(name, max_iterations=solve.iterations), matrix)
    truth = np.linalg.solve(matrix, RIGHT)
    assert solve.stopped == "tolerance" and np.linalg.norm((q - truth) / truth) < 1e-6
    assert without.concern and without.residual > 1e3 * solve.residual


@pytest.mark.parametrize("name", METHODS)
def test_a_ridge_is_added_to_the_diagonal(name):
    A, b, ridge = SYSTEMS["spd"], RIGHT, 0.3
    truth = np.linalg.solve(A + ridge * np.eye(N), b)
    if name == "normal_cg":  # Tikhonov's
        truth = np.linalg.solve(A.T @ A + ridge * np.eye(N), A.T @ b)
    q, solve, _ = solved(made(name, ridge=ridge), A)
    assert_close(q, truth, 1e-9)
    assert not solve.concern and solve.residual < 1e-11


@pytest.mark.parametrize("name", METHODS)
def test_a_singular_system_is_reported(name):
    """b has a part outside the range, so no q leaves less of it than that."""
    values = np.array([0.0, 0.3, 0.5, 0.7, 1.0, 1.5])
    matrix, b = Q @ np.diag(values) @ Q.T, RIGHT
    least = abs(Q[:, 0] @ b) / np.linalg.norm(b)
    q, solve, _ = solved(made(name), matrix)
    assert solve.concern and solve.stopped != "tolerance" and solve.remedy
    assert least * (1 - 1e-9) <= solve.residual <= 1
    assert solve.residual == pytest.approx(np.linalg.norm(b - matrix @ q) / np.linalg.norm(b))
    if name in ("normal_cg", "direct"):  # the least-squares solution of smallest norm
        assert_close(q, np.linalg.pinv(matrix) @ b, 1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [0.0, 1e-25, 1e25])
def test_right_hand_side_may_have_vanishing_or_overflowing_squares(name, size):
    """In float32; b = 0 gives q = 0 without a product and without a NaN."""
    q, solve, taken = solved(made(name, "float32"), SYSTEMS["spd"], {k: size * v for k, v in B.items()}, "float32")
    truth = np.linalg.solve(SYSTEMS["spd"], RIGHT)
    assert_close(q / (size or 1), truth * (size > 0), 1e-4)
    assert solve.stopped == "tolerance" and (taken > 0) == (size > 0)


@pytest.mark.parametrize("good", range(4))
@pytest.mark.parametrize("name", METHODS)
def test_a_nan_in_a_product_is_reported_and_returned(name, good):
    """Whichever product it is."""
    matrix, b, left = SYSTEMS["spd"], boat.Vector.of(B, "b"), iter([1.0] * good)

    def product(v):
        return v.like_flat(matrix @ flat(v) * next(left, np.nan))

    q, solve = made(name)(product, b, product)
    assert solve.stopped == "not finite" and solve.concern and np.isnan(flat(q)).any()


@pytest.mark.parametrize(
    ("block", "b"),
    [
        ([[0, 1, 2], [2, -1, -1], [2, 2, -1]], [-1, 1, 0]),  # ρ = 0
        ([[0, 2, 0], [0, 2, 2], [1, -1, 1]], [0, 1, 0]),  # ⟨r̂, v⟩ = 0
        ([[-1, 1, 2], [0, 0, 2], [1, 1, 1]], [0, 1, 1]),  # ω = 0
    ],
)
def test_bicgstab_restarts_after_a_breakdown(block, b):
    matrix = np.block([[np.array(block), np.zeros((3, 3))], [np.zeros((3, 3)), np.eye(3)]])
    q, solve, _ = solved(made("bicgstab"), matrix, {"a": np.array([*b, 0.0]), "b": np.zeros(2)})
    assert_close(q, np.linalg.solve(matrix, [*b, 0, 0, 0]), 1e-9)
    assert not solve.concern


@pytest.mark.parametrize(
    ("solver", "matrix", "stopped", "text"),
    [
        (boat.conjugate_gradient(2), "spd", "max_iterations", r"did not converge: relative residual \S+ after 2 iter"),
        (boat.normal_cg(2), "spd", "max_iterations", "after 2 iterations"),
        (boat.bicgstab(1), "spd", "max_iterations", "after 1 iterations"),
        (boat.gmres(3, restart=2), "spd", "max_iterations", "after 3 iterations"),
        (boat.neumann(4), "spd", "max_iterations", "did not converge"),
        (boat.conjugate_gradient(), "indefinite", "curvature", r"met curvature -\S+ <= 0: relative residual"),
        (boat.neumann(), "indefinite", "diverged", r"diverged, a term of the series grew by the factor \S+: relative"),
        (boat.neumann(8, tolerance=None), "indefinite", "terms", "diverged, a term"),
        (boat.bicgstab(), np.kron(np.eye(3), [[0.0, 1.0], [-1.0, 0.0]]), "breakdown", "broke down"),
        (boat.gmres(restart=2), np.roll(np.eye(N), 1, axis=0), "stalled", "stalled"),
        (boat.gmres(), np.diag([1.0, 0, 0, 0, 0, 0]), "breakdown", "broke down"),
        (boat.normal_cg(), np.diag([1.0, 0, 0, 0, 0, 0]), "inconsistent", "outside its range"),
        (boat.direct(), np.diag([1.0, 0, 0, 0, 0, 0]), "singular", "met a singular matrix: relative residual"),
        (boat.conjugate_gradient(preconditioner=lambda v: {k: -x for k, x in v.items()}), "spd", "breakdown", "broke"),
        (boat.normal_cg(preconditioner=lambda v: {k: -x for k, x in v.items()}), "spd", "breakdown", "broke"),
    ],
)
def test_a_failed_solve_explains_itself(solver, matrix, stopped, text):
    """And its answer is no worse than none."""
    _, solve, _ = solved(solver, SYSTEMS[matrix] if isinstance(matrix, str) else matrix)
    assert solve.stopped == stopped and solve.remedy
    assert solve.residual <= 1 + 1e-12 or stopped == "terms"
    assert re.search(text, solve.concern)


def test_rounding_that_a_recursion_misses_is_reported():
    """Float32 and a condition of 1e7: the recursion goes down to 1e-6, the residual does not."""
    matrix = Q @ np.diag(np.logspace(0, 7, N)) @ Q.T
    _, solve, _ = solved(boat.conjugate_gradient(200), matrix, dtype="float32")
    assert solve.stopped == "stalled" and solve.residual > 1e-4
    assert "stalled: relative residual" in solve.concern and "float64" in solve.remedy


def test_products_taken():
    """One product per iteration, and one for the residual if the caller asks for the check."""
    for solver, products in (
        (boat.conjugate_gradient(4), 5),
        (boat.conjugate_gradient(4, check=False), 4),
        (boat.bicgstab(2), 5),
        (boat.gmres(5, restart=2), 5 + 3),
        (boat.neumann(4), 4),
        (boat.neumann(4, tolerance=None, check=False), 3),
        (boat.direct(), N),
    ):
        assert solved(solver, SYSTEMS["spd"])[2] == products, solver


def test_a_truncated_series():
    A, b, terms, eta = SYSTEMS["spd"], RIGHT, 5, 0.4
    q, solve, _ = solved(boat.neumann(terms, eta, tolerance=None, ridge=0.1), A)
    step = np.eye(N) - eta * (A + 0.1 * np.eye(N))
    assert_close(q, eta * sum(np.linalg.matrix_power(step, k) @ b for k in range(terms)), 1e-12)
    left = np.linalg.matrix_power(step, terms) @ b
    assert solve.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(b))
    assert solve.stopped == "terms" and not solve.concern and solve.growth < 1


def test_a_direct_solve_has_a_limit():
    with pytest.raises(boat.OptionError, match=r"direct.max_size: expected at most 5 unknowns \(got 6\).*gmres\(\)"):
        solved(boat.direct(max_size=5), SYSTEMS["spd"])


@pytest.mark.parametrize("name", METHODS)
def test_options_out_of_range_are_refused(name):
    bad = {"ridge": -1.0} if name == "direct" else {"tolerance": 1.0}
    with pytest.raises(boat.OptionError, match=rf"{name}.{next(iter(bad))}: expected a number"):
        METHODS[name](**bad)
    if name not in ("neumann", "direct"):
        with pytest.raises(boat.OptionError, match=rf"{name}.preconditioner: expected a function of a pytree"):
            METHODS[name](preconditioner=np.eye(N))
        turned = METHODS[name](preconditioner=lambda tree: {"a": tree["b"], "b": tree["b"]})
        with pytest.raises(boat.StructureError, match=rf"{name}.preconditioner\['a'\]: expected shape \[4\]"):
            solved(turned, SYSTEMS["spd"])


def test_normal_cg_needs_the_transpose():
    b = boat.Vector.of(B, "b")
    with pytest.raises(boat.OptionError, match="normal_cg: expected products with the transpose as well"):
        boat.normal_cg()(lambda v: v, b)
