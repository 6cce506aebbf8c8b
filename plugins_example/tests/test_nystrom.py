"""NYSTROM in the conformance kit and in edge cases. The reference is the same approximation in numpy."""

from __future__ import annotations

import jittor as jt
import numpy as np
import pytest

import boat_core as boat
from boat_core.testing import Claim, KernelClaim, OperationSuite, QuadraticCase, assert_close, check_solver, flat
from boat_plugins_example.kernels import lowrank
from boat_plugins_example.nystrom import sketch

pytest.importorskip("boat_ops_gm", reason="a lower trajectory is rolled out by an operation of boat-ops-gm")

STEPS, RATE, DAMPING = 4, 0.1, 0.5


def approximated(A, rank, sampling="uniform", seed=0):
    """H_k."""
    omega = sketch(len(A), rank, sampling, [seed, 0])
    C = A @ omega.T
    return C @ np.linalg.pinv(omega @ C, hermitian=True) @ C.T


def low_rank(rank, sampling):
    def truth(case, steps, rate):
        g = case.upper_gradient(case.iterates(steps, rate)[-1])
        H = approximated(case.A, rank, sampling)
        return case.rho * case.x + case.B.T @ np.linalg.solve(H + DAMPING * np.eye(len(g)), g)

    return truth


class TestNystrom(OperationSuite):
    claims = (
        Claim(
            "NYSTROM",
            options={"NYSTROM": {"rank": 20, "damping": DAMPING, "sampling": "gaussian"}},
            truth=lambda case, steps, rate: case.implicit_hypergradient(case.iterates(steps, rate)[-1], DAMPING),
            kernels={"plus_columns": KernelClaim((0.7, -0.3, 1.5), vectors=4)},
        ),
        Claim(
            "NYSTROM",
            options={"NYSTROM": {"rank": 2, "damping": DAMPING, "sampling": "uniform"}},
            truth=low_rank(2, "uniform"),
            kernels={"plus_columns": KernelClaim((1.0, 0.0, -2.0, 0.5, 0.1), vectors=6)},
        ),
    )


def solver(problem, strict=False, kernels="auto", **options):
    return boat.Solver(
        problem,
        approximate="NYSTROM",
        lower_steps=STEPS,
        lower_optimizer=boat.sgd(RATE),
        upper_optimizer=boat.sgd(0.1),
        options={"NYSTROM": {"damping": DAMPING, **options}},
        strict=strict,
        kernels=kernels,
    )


def quadratic(H, g):
    """f = ½ yᵀHy - xᵀy, F = gᵀy at y = 0: the hypergradient is q itself."""
    n, dtype = len(H), str(H.dtype)
    H, g = jt.array(H, dtype=dtype), jt.array(g.astype(dtype), dtype=dtype)
    return boat.Problem(
        upper_objective=lambda x, y, batch: (g * y).sum(),
        lower_objective=lambda x, y, batch: (
            (y * jt.matmul(H, y.reshape((n, 1))).reshape((n,))).sum() / 2 - (x * y).sum()
        ),
        upper=np.zeros(n, dtype),
        lower=np.zeros(n, dtype),
    )


def decaying(n, eigenvalues):
    """A symmetric matrix with these eigenvalues, then zeros, and a right-hand side."""
    rng = np.random.default_rng(1)
    U = np.linalg.qr(rng.normal(size=(n, n)))[0][:, : len(eigenvalues)]
    return (U * eigenvalues) @ U.T, rng.normal(size=n)


@pytest.mark.parametrize("sampling", ["uniform", "gaussian"])
@pytest.mark.parametrize(
    ("rank", "kernels"),
    [
        *((rank, "auto") for rank in (1, 3, 7, 12)),
        *((rank, "plain") for rank in (1, 3)),
        # a sum of many columns compiles dozens of plain kernels; it is a sum like that of 3
        *(pytest.param(rank, "plain", marks=pytest.mark.nightly) for rank in (7, 12)),
    ],
)
def test_approximation_of_any_rank_agrees_with_numpy(rank, sampling, kernels):
    H, g = decaying(12, 0.5 ** np.arange(12))
    h = solver(quadratic(H, g), rank=rank, sampling=sampling, seed=5, kernels=kernels).hypergradient()
    system = approximated(H, rank, sampling, 5) + DAMPING * np.eye(12)
    q = np.linalg.solve(system, g)
    assert_close(h.upper, q, 1e-9)
    said = h.report.operations["NYSTROM"]
    omega = sketch(12, rank, sampling, [5, 0])
    values = np.linalg.eigvalsh(omega @ H @ omega.T)
    assert said["rank"] == rank and said["dropped"] == 0
    assert [said["smallest_eigenvalue"], said["largest_eigenvalue"]] == pytest.approx([values[0], values[-1]])
    residual = np.linalg.norm(H @ q + DAMPING * q - g) / np.linalg.norm(g)
    assert said["relative_residual"] == pytest.approx(residual, abs=1e-12)


@pytest.mark.parametrize("sampling", ["uniform", "gaussian"])
@pytest.mark.parametrize(("damping", "dtype", "tolerance"), [(1e-6, "float64", 1e-8), (1e-2, "float32", 1e-3)])
def test_hessian_of_rank_k_needs_k_columns(sampling, damping, dtype, tolerance):
    """With ‖H‖/ρ of 10⁶ and 100, only the formula with whitened columns keeps enough digits."""
    H, g = decaying(40, [1.0, 0.7, 0.3, 0.1])
    h = solver(quadratic(H.astype(dtype), g), damping=damping, sampling=sampling, rank=6).hypergradient()
    assert_close(h.upper, np.linalg.solve(H + damping * np.eye(40), g), tolerance)
    said = h.report.operations["NYSTROM"]
    assert (said["rank"], said["dropped"]) == (4, 2) and said["relative_residual"] < tolerance
    assert not h.report.concerns


def test_error_and_residual_fall_with_the_rank():
    H, g = decaying(40, 0.5 ** np.arange(40))
    truth = np.linalg.solve(H + 0.01 * np.eye(40), g)
    errors, residuals = [], []
    for rank in (1, 4, 8, 12):
        h = solver(quadratic(H, g), damping=0.01, sampling="gaussian", rank=rank).hypergradient()
        errors.append(np.linalg.norm(flat(h.upper) - truth) / np.linalg.norm(truth))
        residuals.append(h.report.operations["NYSTROM"]["relative_residual"])
        assert not h.report.concerns
    assert errors == sorted(errors, reverse=True) and residuals == sorted(residuals, reverse=True)
    assert residuals[0] > 1 and errors[-1] < 0.05 and residuals[-1] < 0.1


def test_negative_curvature_is_dropped_and_reported():
    H, g = decaying(12, [2.0, 1.0, -0.5, -0.3])
    problem, options = quadratic(H, g), dict(rank=12, damping=1.0)
    h = solver(problem, **options).hypergradient()
    said = h.report.operations["NYSTROM"]
    assert said["rank"] == 2 and said["dropped"] == 10
    assert said["smallest_eigenvalue"] == pytest.approx(-0.5)
    assert "2 of 12 eigenvalues of its sample W are negative, down to -0.5, and were dropped" in h.report.concerns[0]
    values, U = np.linalg.eigh(H)
    assert_close(h.upper, U @ (U.T @ g / (np.maximum(values, 0) + 1.0)), 1e-9)
    with pytest.raises(boat.DoubtfulError, match="NYSTROM: the Hessian is not positive semidefinite"):
        solver(problem, strict=True, **options).hypergradient()


def test_zero_gradient_and_zero_hessian():
    """∇_y F = 0 gives the direct part; H = 0 gives g/ρ."""
    flat_upper = boat.Problem(
        lambda x, y, b: (x * x).sum(), lambda x, y, b: ((x - y) ** 2).sum(), np.ones(2), np.zeros(2)
    )
    h = solver(flat_upper).hypergradient()
    assert_close(h.upper, [2.0, 2.0])
    assert h.report.operations["NYSTROM"]["relative_residual"] == 0.0 and not h.report.concerns
    g = np.array([1.0, -2.0, 3.0])
    h = solver(quadratic(np.zeros((3, 3)), g)).hypergradient()
    assert_close(h.upper, g / DAMPING)
    assert h.report.operations["NYSTROM"]["rank"] == 0 and not h.report.concerns


@pytest.mark.parametrize("kernels", ["auto", "plain"])
def test_nan_in_the_hessian_is_an_error(kernels):
    """√ at 0 has no second derivative: the NaN must surface, although the iterates and ∇F are finite."""
    problem = boat.Problem(
        upper_objective=lambda x, y, batch: ((y - 1) ** 2).sum(),
        lower_objective=lambda x, y, batch: (jt.abs(y - y.detach()) ** 1.5).sum() - (x * y).sum(),
        upper=np.ones(2),
        lower=np.zeros(2),
    )
    with pytest.raises(boat.NonFiniteError, match=r"stage approximate \(NYSTROM .*∇²_yy"):
        solver(problem, kernels=kernels).hypergradient()


@pytest.mark.parametrize("kernels", ["auto", "plain"])
def test_overflow_of_the_hessian_in_float32_is_an_error(kernels):
    """The entries of the Hessian are finite, their squares are not."""
    H = np.diag([1e25, 1.0]).astype("float32")
    with pytest.raises(boat.NonFiniteError, match=r"stage approximate \(NYSTROM "):
        solver(quadratic(H, np.ones(2)), kernels=kernels).hypergradient()


def test_many_columns_are_split_into_groups():
    """There are more columns than one kernel call takes, so several calls share them."""
    rng = np.random.default_rng(0)
    parts = [[rng.normal(size=(3, 2)), rng.normal(size=4)] for _ in range(13)]
    v, *columns = (boat.Vector.of(part, "test") for part in parts)
    base, *rest = (np.concatenate([leaf.ravel() for leaf in part]) for part in parts)
    weights = rng.normal(size=12)
    assert_close(np.array(lowrank.products(v, columns)), [base @ c for c in rest], 1e-12)
    summed = lowrank.plus(v, columns, weights)
    assert_close(np.concatenate([leaf.numpy().ravel() for leaf in summed.leaves]), base + weights @ rest, 1e-12)


def test_columns_are_orthonormal_and_depend_on_the_seed():
    rows = sketch(30, 50, "uniform", 3)
    assert rows.shape == (30, 30) and np.array_equal(rows @ rows.T, np.eye(30))
    assert np.array_equal(sketch(30, 5, "uniform", 3), sketch(30, 5, "uniform", 3))
    assert not np.array_equal(sketch(30, 5, "uniform", 3), sketch(30, 5, "uniform", 4))
    rows = sketch(30, 5, "gaussian", 3)
    np.testing.assert_allclose(rows @ rows.T, np.eye(5), atol=1e-14)


def test_cost_is_one_product_per_column_and_one_more():
    taken, declared = check_solver(solver(QuadraticCase().problem, rank=10).composition, OperationSuite().packs)
    assert taken.hvps == 2 * declared.hvps == 2 * 11  # two steps
