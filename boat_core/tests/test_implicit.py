"""Implicit derivatives: closed forms, and central differences of solvers that nobody can look into."""

from __future__ import annotations

import gc

import jittor as jt
import numpy as np
import pytest
from jittor import nn

import boat_core as boat
from boat_core.testing import KernelWatch, assert_close, central_differences, counting

pytestmark = pytest.mark.usefixtures("single_operators")

rng = np.random.default_rng(0)
ROWS, N = 8, 3
X, T = rng.normal(size=(ROWS, N)), rng.normal(size=ROWS)
LAM = np.array([0.3, 0.7, 1.2])
#: The cotangent of the solution everywhere: a loss ⟨V, y⟩.
V = rng.normal(size=N)
EXACT = boat.gmres(tolerance=1e-12)


def array(values):
    return jt.array(np.asarray(values), dtype=str(np.asarray(values).dtype))


def numpy(tree):
    return {k: v.numpy() for k, v in tree.items()} if isinstance(tree, dict) else tree.numpy()


def loss(y):
    return (y * array(V).cast(str(y.dtype))).sum()


# Ridge regression: w = argmin ½‖Xw - t‖² + ½ Σ λ_j w_j², a penalty for each feature


def ridge_objective(w, lam, x, t):
    residual = (x * w).sum(1) - t
    return 0.5 * (residual * residual).sum() + 0.5 * (lam * w * w).sum()


def ridge_solution(start, lam, x, t):
    return np.linalg.solve(x.T @ x + np.diag(lam), x.T @ t)


def ridge(solve=EXACT, **settings):
    return boat.custom_root(boat.grad(ridge_objective), solve, numpy=True, **settings)(ridge_solution)


HESSIAN = X.T @ X + np.diag(LAM)
W = np.linalg.solve(HESSIAN, X.T @ T)
OF_LAM = -np.linalg.solve(HESSIAN, V) * W
SOLVERS = {
    "conjugate_gradient": boat.conjugate_gradient(tolerance=1e-12),
    "preconditioned": boat.conjugate_gradient(
        tolerance=1e-12, preconditioner=lambda v: v * array(1 / np.diag(HESSIAN))
    ),
    "normal_cg": boat.normal_cg(tolerance=1e-12),
    "bicgstab": boat.bicgstab(tolerance=1e-12),
    "gmres": EXACT,
    "neumann": boat.neumann(2000, step_size=1 / np.linalg.norm(HESSIAN, 2), tolerance=1e-12),
    "direct": boat.direct(),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_linear_solver_gives_the_closed_form_of_ridge_regression(name):
    solver, lam, t = ridge(SOLVERS[name]), array(LAM), array(T)
    y = solver(None, lam, array(X), t)
    assert_close(y, W, 1e-12)
    assert solver.report.optimality < 1e-12 and solver.report.linear is None
    of_lam, of_t = jt.grad(loss(y), [lam, t])
    assert_close(of_lam, OF_LAM, 1e-9)
    assert_close(of_t, X @ np.linalg.solve(HESSIAN, V), 1e-9)
    assert solver.report.linear.stopped == "tolerance" and solver.report.linear.residual < 1e-11


def test_float32_stays_float32():
    lam, x, t = (array(a.astype("float32")) for a in (LAM, X, T))
    y = ridge(None)(None, lam, x, t)
    assert str(y.dtype) == "float32"
    assert_close(jt.grad(loss(y), lam), OF_LAM, 1e-4)


def test_lasso_on_its_active_set():
    """w = soft(w - η Xᵀ(Xw - t), ηλ); where w_j = 0 nothing moves, elsewhere dw/dλ = -(X_AᵀX_A)⁻¹ sign(w_A)."""
    eta, penalty = 1 / np.linalg.norm(X.T @ X, 2), 1.5

    def soft(z, by):
        return np.sign(z) * np.maximum(abs(z) - by, 0)

    @boat.custom_fixed_point(lambda w, lam: shrunk(w - eta * gradient(w), eta * lam), EXACT, numpy=True)
    def lasso(start, lam):
        w = start
        for _ in range(2000):
            w = soft(w - eta * X.T @ (X @ w - T), eta * lam)
        return w

    def gradient(w):
        return (array(X) * ((array(X) * w).sum(1) - array(T)).unsqueeze(1)).sum(0)

    def shrunk(z, by):
        zero = z * 0.0
        return jt.maximum(z - by, zero) - jt.maximum(-z - by, zero)

    lam = array([penalty])
    y = lasso(np.zeros(N), lam)
    active = y.numpy() != 0
    assert 0 < active.sum() < N, "the penalty must matter"
    XA = X[:, active]
    truth = -V[active] @ np.linalg.solve(XA.T @ XA, np.sign(y.numpy()[active]))
    assert_close(jt.grad(loss(y), lam), [truth], 1e-9)


def kkt(y, P, c, A, b):
    """Stationarity and feasibility of ½yᵀPy + cᵀy under Ay = b, with ν its multipliers."""
    stationary = (P * y["y"]).sum(1) + c + (A * y["nu"].unsqueeze(1)).sum(0)
    return {"y": stationary, "nu": (A * y["y"]).sum(1) - b}


def quadratic_programme(start, P, c, A, b):
    whole = np.block([[P, A.T], [A, np.zeros((len(b), len(b)))]])
    found = np.linalg.solve(whole, np.concatenate([-c, b]))
    return {"y": found[: len(c)], "nu": found[len(c) :]}


@pytest.mark.parametrize("name", ["normal_cg", "gmres", "direct"])
def test_a_quadratic_programme_by_its_conditions_of_optimality(name):
    """Its matrix is indefinite; derivatives in all of its data. P is no symmetric variable, nor need it be."""
    data = {"P": HESSIAN, "c": rng.normal(size=N), "A": rng.normal(size=(2, N)), "b": rng.normal(size=2)}
    solver = boat.custom_root(kkt, SOLVERS[name], numpy=True)(quadratic_programme)

    def value(tree):
        return V @ quadratic_programme(None, **numpy(tree))["y"]

    given = {k: array(v) for k, v in data.items()}
    y = solver(None, **given)
    found = dict(zip(given, jt.grad(loss(y["y"]), list(given.values()))))
    assert_close(found, central_differences(value, data), 1e-8)


# A softmax-like energy, minimised by others


def energy(y, theta, power=2):
    return (y.exp() * theta["scale"]).sum() + ((y - theta["centre"][0]) ** power).sum()


THETA = {"scale": np.array([0.5, 1.0, 2.0]), "centre": (np.array([0.3, -0.2, 0.4]), None)}


def by_scipy(start, theta, power=2):
    optimize = pytest.importorskip("scipy.optimize")
    scale, centre = theta["scale"], theta["centre"][0]

    def value(y):
        return (np.exp(y) * scale).sum() + ((y - centre) ** power).sum()

    def slope(y):
        return np.exp(y) * scale + power * (y - centre) ** (power - 1)

    return optimize.minimize(value, start, jac=slope, method="BFGS", options={"gtol": 1e-11}).x


def root_by_scipy(start, theta, power=2):
    optimize = pytest.importorskip("scipy.optimize")
    scale, centre = theta["scale"], theta["centre"][0]
    return optimize.root(lambda y: np.exp(y) * scale + power * (y - centre) ** (power - 1), start, tol=1e-13).x


@pytest.mark.parametrize("black_box", [by_scipy, root_by_scipy])
def test_solvers_of_scipy(black_box):
    theta = {"scale": array(THETA["scale"]), "centre": (array(THETA["centre"][0]), None)}
    fit = boat.custom_root(boat.grad(energy), SOLVERS["conjugate_gradient"], numpy=True)(black_box)
    y = fit(np.zeros(N), theta, power=2)
    assert fit.__name__ == black_box.__name__ and fit.report.optimality < 1e-6

    def value(tree):
        found = black_box(np.zeros(N), {"scale": tree["scale"].numpy(), "centre": (tree["centre"][0].numpy(), None)})
        return V @ found

    leaves = [theta["centre"][0], theta["scale"]]
    assert_close(jt.grad(loss(y), leaves), central_differences(value, THETA, 1e-4), 1e-6)


def test_a_solver_in_jittor_of_pytrees_with_several_arguments_and_aux():
    """y = a·s + b in two leaves, by a solver that moves its start in place and has a history of its own."""

    def optimality(y, a, b, name, *, factors):
        assert name == "plain" and factors["none"] is None and factors["count"] == 3
        s = factors["s"]
        return {"p": y["p"] - a * s, "q": [y["q"][0] - (a * b).sum()]}

    @boat.custom_root(optimality, EXACT, aux=True)
    def solver(start, a, b, name, *, factors):
        start["p"].assign(a * factors["s"])
        return {"p": start["p"], "q": [(a * b).sum()]}, {"steps": 1, "last": a * b}

    a, b, s = array(LAM), array(V), array(W)
    start = {"p": array(np.zeros(N))}
    y, aux = solver(start, a, b, "plain", factors={"s": s, "none": None, "count": 3, "data": X})
    assert aux["steps"] == 1 and not jt.grad(aux["last"].sum(), a).numpy().any()
    assert not start["p"].numpy().any(), "the user's start is as it was"
    of = jt.grad(loss(y["p"]) + 2 * y["q"][0].sum(), [a, b, s])
    assert_close(of, [V * W + 2 * V, 2 * LAM, V * LAM], 1e-9)


def test_arguments_with_a_history_and_shared_ones():
    """λ = exp(η) stands twice among the arguments."""
    eta = array(np.log(LAM))

    @boat.custom_root(lambda y, p, q: y - p * q, EXACT)
    def product(start, p, q):
        return p * q

    lam = eta.exp()
    assert_close(jt.grad(loss(product(None, lam, lam)), eta), 2 * V * LAM**2, 1e-9)


def test_a_solver_written_in_c():
    lam = array(LAM)
    y = boat.custom_root(lambda y, a: y - a, numpy=True)(np.maximum)(np.zeros(N), lam)
    assert_close(jt.grad(loss(y), lam), V, 1e-12)


def test_a_fixed_point_is_a_root():
    M = 0.4 * rng.normal(size=(N, N))

    def mapping(y, x):
        return ((array(M) * y).sum(1) + x).tanh()

    def iterate(start, x):
        for _ in range(200):
            start = np.tanh(M @ start + x)
        return start

    found = []
    for solver in (
        boat.custom_fixed_point(mapping, EXACT, numpy=True)(iterate),
        boat.custom_fixed_point(mapping, boat.neumann(200, tolerance=1e-12), numpy=True)(iterate),
        boat.custom_root(lambda y, x: mapping(y, x) - y, SOLVERS["normal_cg"], numpy=True)(iterate),
    ):
        x = array(LAM)
        found.append(jt.grad(loss(solver(np.zeros(N), x)), x).numpy())
    truth = central_differences(lambda x: V @ iterate(np.zeros(N), x.numpy()), LAM)
    for one in found:
        assert_close(one, truth, 1e-9)


def test_constant_arguments_need_no_derivative():
    """Nothing is differentiable: values alone. One leaf of two is asked for: the others cost nothing, nor do calls."""
    solver = ridge()
    assert_close(solver(None, LAM, X, T), W, 1e-12)
    with counting() as counted:
        y = solver(None, array(LAM), X, T)
        assert (counted.gradients, counted.hvps) == (1, 0)  # ∇f, once, to see that it is zero
        y.sync()
    with counting() as counted:
        lam = array(LAM)
        jt.grad(loss(solver(None, lam, X, T)), lam).sync()
    assert counted.gradients == 2 and counted.hvps == solver.report.linear.iterations + 2  # restart, and -uᵀ∂_λ∇f


def test_an_argument_that_is_overwritten_before_the_derivative_is_taken():
    """It is that where y was found."""
    solver, eta = ridge(), array(np.log(LAM))
    lam = eta.exp()
    y = solver(None, lam, X, T)
    lam.assign(lam * 2)
    assert_close(jt.grad(loss(y), eta), OF_LAM * LAM, 1e-9)


def test_within_no_grad():
    """Values alone; but that r = ∇f is zero is still looked at."""
    with jt.no_grad():
        assert_close(ridge()(None, array(LAM), X, T), W, 1e-12)
        with pytest.warns(boat.DoubtfulWarning, match="the solution may be wrong"):
            boat.custom_root(boat.grad(ridge_objective))(lambda start, *_: start)(np.zeros(N), array(LAM), X, T)


def test_one_solution_may_be_differentiated_twice_over():
    """Two losses of it, one after the other; and a derivative for each, as Jittor takes them."""
    solver, lam = ridge(), array(LAM)
    y = solver(None, lam, X, T)
    for factor in (1.0, -2.0):
        assert_close(jt.grad(loss(y) * array([factor]), lam, retain_graph=True), factor * OF_LAM, 1e-9)


def test_calls_compile_nothing_again_and_leave_nothing_behind():
    solver, lam = ridge(), array(LAM)

    def once():
        jt.grad(loss(solver(None, lam, X, T)), lam).sync()

    once()
    watch, held = KernelWatch(), []
    for _ in range(2):
        for _ in range(5):
            once()
        gc.collect()
        held.append(jt.liveness_info()["hold_vars"])
    watch.poll()
    assert watch.names == [] and held[0] == held[1]


# What is doubtful, and what is wrong


def test_a_wrong_solution_is_reported():
    @boat.custom_root(boat.grad(ridge_objective), EXACT)
    def early(start, lam, x, t):
        return start

    with pytest.warns(boat.DoubtfulWarning, match=r"early: the solution .*‖optimality\(y\)‖ = \S+ > 0.001 ="):
        early(np.zeros(N), array(LAM), X, T)
    assert early.report.optimality == pytest.approx(np.linalg.norm(X.T @ T)) and early.report.bound == 1e-3

    strict = boat.custom_fixed_point(lambda y, a: y * a, strict=True, tolerance=1e-6)(lambda start, a: start)
    with pytest.raises(boat.DoubtfulError, match=r"<lambda>: .*‖mapping\(y\) - y‖ = \S+ > \S+ = 1e-06 · \(1"):
        strict(np.ones(N), array(LAM))
    loose = boat.custom_root(boat.grad(ridge_objective), tolerance=1e3)(lambda start, *_: start)
    loose(np.zeros(N), array(LAM), X, T)


def test_a_warning_names_the_line_of_the_user():
    solver = boat.custom_root(lambda y, a: y - a)(lambda start, a: start)
    with pytest.warns(boat.DoubtfulWarning) as caught:
        solver(np.ones(N), array(LAM))
    assert caught[0].filename == __file__


def test_a_stalled_linear_solve_is_reported():
    few = ridge(boat.conjugate_gradient(1, tolerance=1e-9))
    lam = array(LAM)
    text = r"its derivative may be wrong: conjugate_gradient: the solve did not converge: relative residual \S+ after 1"
    with pytest.warns(boat.DoubtfulWarning, match=f"{text} iterations; more iterations, a preconditioner"):
        jt.grad(loss(few(None, lam, X, T)), lam)
    assert few.report.linear.iterations == 1 and few.report.linear.residual > 1e-3
    with pytest.raises(boat.DoubtfulError, match=text):
        jt.grad(loss(ridge(boat.conjugate_gradient(1), strict=True)(None, lam, X, T)), lam)
    # no derivative at all: ∂_y r = 0
    flat = boat.custom_root(lambda y, a: y * 0.0 + 0.0 * a, strict=True)(lambda start, a: start)
    with pytest.raises(boat.DoubtfulError, match="gmres: the solve broke down: relative residual 1 "):
        jt.grad(loss(flat(np.ones(N), lam)), lam)


def test_nonfinite_numbers_are_reported():
    solver = boat.custom_root(lambda y, a: {"p": y["p"] - a})
    with pytest.raises(boat.NonFiniteError, match=r"<lambda>: NaN or infinity in the solution, leaf \['p'\]"):
        solver(lambda start, a: {"p": np.full(N, np.inf)})(None, array(LAM))
    root = boat.custom_root(lambda y, a: (y - a).sqrt())
    with pytest.raises(boat.NonFiniteError, match="the optimality condition contains NaN or infinity"):
        root(lambda start, a: np.zeros(N))(None, array(LAM))
    lam = array(LAM)
    y = boat.custom_root(lambda y, a: y - a)(lambda start, a: a)(None, lam)
    with pytest.raises(
        boat.NonFiniteError, match=r"its derivative contains NaN or infinity, from the cotangent .*\(gmres"
    ):
        jt.grad(loss(y) * float("nan"), lam)


@pytest.mark.parametrize("as_numpy", [True, False])
def test_a_solver_that_changes_its_arguments(as_numpy):
    def careless(start, theta, data):
        if as_numpy:
            theta["w"][0][1] += 1
        else:
            theta["w"][0].assign(theta["w"][0] + 1)
        return start

    theta = {"w": [array(LAM)]}
    solver = boat.custom_root(lambda y, theta, data: y, numpy=as_numpy)(careless)
    with pytest.raises(boat.OperationError, match=r"careless changed its argument 'theta'\['w'\]\[0\]"):
        solver(np.zeros(N), theta, X)
    assert_close(theta["w"][0], LAM, 0)

    def replacing(start, *given):
        given[0]["w"] = [3]
        return start

    def popping(start, *given):
        given[0].pop("w")
        return start

    for solver, changed in ((replacing, r"0\['w'\]\[0\]"), (popping, "containers")):
        with pytest.raises(boat.OperationError, match=f"changed its argument {changed}:"):
            boat.custom_root(lambda y, *_: y, numpy=as_numpy)(solver)(np.zeros(N), theta)


@pytest.mark.parametrize(
    ("solution", "optimality", "message"),
    [
        (lambda s, a: {"p": "x"}, lambda y, a: y, r"the solution\['p'\]: expected a numpy or Jittor array \(got str\)"),
        (lambda s, a: np.arange(3), lambda y, a: y, "the solution: expected a floating-point array"),
        (lambda s, a: None, lambda y, a: y, "the solution: expected a pytree with at least one array"),
        (lambda s, a: {"p": a}, lambda y, a: {}, r"like the solution, a leaf \['p'\] in it"),
        (lambda s, a: {"p": a}, lambda y, a: y | {"q": a}, r"like the solution, no leaf \['q'\] in it"),
        (lambda s, a: [a], lambda y, a: (y[0],), "the optimality: expected the structure"),
        (lambda s, a: [a], lambda y, a: [V], r"the optimality\[0\]: expected a Jittor array \(got ndarray\)"),
        (lambda s, a: [a], lambda y, a: [(y[0] - a).sum()], r"the optimality\[0\]: expected shape \[3\].*got \[1\]"),
        (lambda s, a: [a], lambda y, a: [y[0].float32()], "expected .* dtype float64 .*got .* float32"),
    ],
)
def test_solutions_and_conditions_that_do_not_fit(solution, optimality, message):
    with pytest.raises(boat.StructureError, match=message):
        boat.custom_root(optimality)(solution)(None, array(LAM))


def test_invalid_arguments_are_refused():
    with pytest.raises(boat.StructureError, match=r"expected \(y, aux\), since aux=True"):
        boat.custom_root(lambda y, a: y, aux=True)(lambda start, a: a)(None, array(LAM))
    with pytest.raises(boat.OptionError, match=r"custom_root: expected a function \(y, \*args\) \(got None\)"):
        boat.custom_root(None)
    with pytest.raises(boat.OptionError, match=r"custom_fixed_point.solve: expected a linear solver such as gmres\(\)"):
        boat.custom_fixed_point(lambda y: y, boat.gmres)
    with pytest.raises(boat.OptionError, match=r"custom_root: expected a function \(start, \*args\) to decorate"):
        boat.custom_root(lambda y: y)(3)
    with pytest.raises(boat.OptionError, match="custom_root.tolerance: expected a number > 0"):
        boat.custom_root(lambda y: y, tolerance=0.0)
    with pytest.raises(boat.StructureError, match="'a': expected a numeric array"):
        boat.custom_root(lambda y, a: y)(lambda start, a: a)(None, np.array([None]))


def test_derivatives_of_every_order():
    """√x as the root of y² - x and as the fixed point of Newton's method."""
    root = boat.custom_root(lambda y, x: y * y - x, EXACT)(lambda start, x: jt.sqrt(x))
    newton = boat.custom_fixed_point(lambda y, x: 0.5 * (y + x / y), EXACT)(lambda start, x: jt.sqrt(x))
    for solver in (root, newton):
        x = array(np.array([4.0]))
        derivative = solver(array(np.ones(1)), x)
        for truth in (1 / 4, -1 / 32, 3 / 256, -15 / 2048):
            derivative = jt.grad(derivative, x)
            assert_close(derivative, [truth], 1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_second_derivatives_of_ridge_regression_by_every_linear_solver(name):
    """∇⟨V, w(λ, t)⟩ by λ and t, differentiated along a direction: central differences of its closed form."""
    solver, along = ridge(SOLVERS[name]), (np.array([0.3, -0.5, 0.2]), rng.normal(size=ROWS))

    def closed(lam, t):
        hessian = X.T @ X + np.diag(lam)
        u, w = np.linalg.solve(hessian, V), np.linalg.solve(hessian, X.T @ t)
        return np.concatenate([-u * w, X @ u])

    h = 1e-5
    ends = [closed(LAM + sign * h * along[0], T + sign * h * along[1]) for sign in (1, -1)]
    first = boat.grad(lambda both: loss(solver(None, both[0], array(X), both[1])))
    product = boat.grad(lambda both: sum((g * array(a)).sum() for g, a in zip(first(both), along)))
    assert_close(product((array(LAM), array(T))), (ends[0] - ends[1]) / (2 * h), 1e-7)


def test_second_derivatives_of_a_square_root_that_is_not_symmetric_in_its_variables():
    """y = (a², b - a³) as the root of a triangular system; all second derivatives in closed form."""

    def optimality(y, x):
        return {"p": y["p"] - x[:1] * x[:1], "q": y["q"] + y["p"] * x[:1] - x[1:]}

    def solve(start, x):
        return {"p": x[:1] * x[:1], "q": x[1:] - x[:1] * x[:1] * x[:1]}

    solver = boat.custom_root(optimality, EXACT)(solve)
    zero = {"p": array(np.zeros(1)), "q": array(np.zeros(1))}
    first = boat.grad(lambda x: solver(zero, x)["q"].sum() * solver(zero, x)["p"].sum())
    a, b = 0.7, 1.9  # (b - a³) a²: gradient (2ab - 5a⁴, a²)
    hessian = np.array([[2 * b - 20 * a**3, 2 * a], [2 * a, 0]])
    for row, unit in zip(hessian, np.eye(2)):
        second = boat.grad(lambda x, unit=unit: (first(x) * array(unit)).sum())
        assert_close(second(array(np.array([a, b]))), row, 1e-10)


def test_a_solution_within_a_lower_objective():
    """f = ½(y - √x)²·… needs second derivatives of the solution: RAD and CG agree with the closed form."""
    root = boat.custom_root(lambda s, x: s * s - x, EXACT)(lambda start, x: jt.sqrt(x))

    def lower(x, y, batch):
        s = root(y, x * x * y * y + 1)  # √(x²y² + 1)
        return (0.5 * y * y + s - y).sum()

    problem = boat.Problem(lambda x, y, batch: (y * y).sum(), lower, np.array([0.8]), np.array([0.5]))
    y, x = 0.5, 0.8
    for _ in range(400):
        y -= 0.2 * (y + x * x * y / np.sqrt(x * x * y * y + 1) - 1)
    s = np.sqrt(x * x * y * y + 1)
    of_y, of_x = 1 + x * x / s - x**4 * y * y / s**3, 2 * x * y / s - x**3 * y**3 / s**3
    for name in ("RAD", "CG"):
        optimizers = {"lower_optimizer": boat.sgd(0.2), "upper_optimizer": boat.sgd(0.1)}
        solver = boat.Solver(problem, approximate=name, lower_steps=100, **optimizers)
        assert_close(solver.hypergradient().upper, [-2 * y * of_x / of_y], 1e-6)


class OneWay(jt.Function):
    def execute(self, x):
        self.x = x
        return x * x

    def grad(self, g):
        return 2 * self.x * g


def test_the_condition_is_guarded():
    """A Function whose first derivative is right will do where the condition takes none, and it is said so."""

    def optimality(y, a):
        return y - OneWay()(a)

    with pytest.raises(boat.SecondOrderError, match="OneWay"):
        boat.custom_root(optimality)(lambda start, a: a * a)(None, array(LAM))
    lam = array(LAM)
    y = boat.custom_root(optimality, EXACT, second_order_guard="off")(lambda start, a: a * a)(None, lam)
    first = jt.grad(loss(y), lam)
    assert_close(first, 2 * V * LAM, 1e-9)
    with pytest.raises(boat.SecondOrderError, match="OneWay"):
        jt.grad(first.sum(), lam)


# The module


class Ridge(boat.ImplicitModule, nn.Module):
    linear_solver = SOLVERS["conjugate_gradient"]

    def __init__(self):
        self.weight = array(np.zeros(N))

    def execute(self, x):
        return (x * self.weight).sum(1)

    def objective(self, lam, x, t):
        residual = self(x) - t
        return 0.5 * (residual * residual).sum() + 0.5 * (lam["λ"] * self.weight * self.weight).sum()

    def solve(self, lam, x, t):
        self.weight.update(array(ridge_solution(None, lam["λ"].numpy(), x.numpy(), t.numpy())))


class ByCondition(Ridge):
    def optimality(self, lam, x, t):
        return {"weight": jt.grad(Ridge.objective(self, lam, x, t), self.weight)}


@pytest.mark.parametrize("kind", [Ridge, ByCondition])
def test_the_module_is_the_formula(kind):
    module, lam = kind(), {"λ": array(LAM)}
    own = module.weight
    module.adapt(lam, X, T)
    outputs = module(array(X))
    assert_close(outputs, X @ W, 1e-9)
    cotangent = rng.normal(size=ROWS)
    of = jt.grad((outputs * array(cotangent)).sum(), lam["λ"])
    assert_close(of, -np.linalg.solve(HESSIAN, X.T @ cotangent) * W, 1e-9)
    assert module.report.linear.method == "conjugate_gradient"

    along, h = np.array([0.3, -0.5, 0.2]), 1e-5
    ends = []
    for lam_h in (LAM + h * along, LAM - h * along):
        hessian = X.T @ X + np.diag(lam_h)
        ends.append(-np.linalg.solve(hessian, X.T @ cotangent) * np.linalg.solve(hessian, X.T @ T))
    assert_close(jt.grad((of * array(along)).sum(), lam["λ"]), (ends[0] - ends[1]) / (2 * h), 1e-7)

    module.release()
    assert module.weight is own
    assert_close(module.weight, W, 1e-12)
    assert not jt.grad(module(array(X)).sum(), lam["λ"]).numpy().any()
    assert list(boat.parameters(module)) == ["weight"]


def test_a_module_that_is_adapted_again_holds_one_solution():
    module, lam = Ridge(), {"λ": array(LAM)}
    held = []
    for _ in range(6):
        module.adapt(lam, X, T)
        jt.grad(loss(module.weight), lam["λ"]).sync()
        gc.collect()
        held.append(jt.liveness_info()["hold_vars"])
    assert len(set(held[1:])) == 1


def test_a_module_without_its_methods_is_refused():
    class Bare(boat.ImplicitModule, nn.Module):
        def __init__(self):
            self.weight = array(np.zeros(N))

    with pytest.raises(boat.DeclarationError, match="Bare: expected a method `solve`"):
        Bare().adapt(array(LAM))

    class Solves(Bare):
        def solve(self, meta):
            pass

    with pytest.raises(boat.DeclarationError, match="Solves: expected a method `objective` or `optimality`"):
        Solves().adapt(array(LAM))


def test_a_network_as_a_module():
    """A linear layer in float32, trained by Jittor's own optimizer."""

    class Net(boat.ImplicitModule, nn.Module):
        def __init__(self):
            self.layer = nn.Linear(N, 1)

        def execute(self, x):
            return self.layer(x)

        def objective(self, meta, x, t):
            return ((self(x) - t) ** 2).sum() + (meta * self.layer.weight**2).sum() + (self.layer.bias**2).sum()

        def solve(self, meta, x, t):
            optimizer = nn.SGD(self.parameters(), 0.02)
            for _ in range(400):
                optimizer.step(self.objective(meta, x, t))

    net, meta = Net(), array(np.float32([1.0]))
    x, t = X.astype("float32"), T.astype("float32")[:, None]
    net.adapt(meta, x, t)
    of = jt.grad(net.layer.weight.sum(), meta)
    H = np.block([[X.T @ X + np.eye(N), X.sum(0)[:, None]], [X.sum(0)[None], np.array([[ROWS + 1.0]])]])
    w = np.linalg.solve(H, np.append(X.T @ T, T.sum()))
    ones = np.append(np.ones(N), 0)
    assert_close(of, [-np.linalg.solve(H, ones)[:N] @ w[:N]], 1e-3)
