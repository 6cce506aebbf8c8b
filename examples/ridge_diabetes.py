"""Learn the penalties of a ridge regression on the diabetes data by gradient: one for all features, and one for each.

    y_k(x) = argmin over y of ‖X y - t‖² + Σ_j exp(x_j) y_j² without fold k        F(x) = Σ_k error of y_k on fold k

numpy solves the inner problems; `custom_root` differentiates the solutions by their optimality condition. RidgeCV of
scikit-learn chooses one penalty from a grid on the same folds.        python examples/ridge_diabetes.py [PICTURE]
"""

import sys

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, train_test_split


def residual(y, x, grams, moments):
    """Return ∇_y of half the inner objective, for all folds at once: (G_k + diag exp x) y_k - m_k."""
    return jt.matmul(grams, y.unsqueeze(-1)).squeeze(-1) + jt.exp(x) * y - moments


@boat.custom_root(residual, boat.conjugate_gradient(max_iterations=200, tolerance=1e-10), numpy=True, strict=True)
def fit(start, x, grams, moments):
    return np.linalg.solve(grams + np.exp(x) * np.eye(grams.shape[-1]), moments[..., None])[..., 0]


def learn(x, X, t, steps):
    """Descend the error on the held-out folds from log penalties x; return the last x and the error at every step."""
    parts = list(KFold(5).split(X))
    grams = np.stack([X[rows].T @ X[rows] for rows, _ in parts])
    moments = np.stack([X[rows].T @ t[rows] for rows, _ in parts])
    held_out = [(jt.array(X[rows], dtype="float64"), jt.array(t[rows], dtype="float64")) for _, rows in parts]
    optimizer, x, errors = boat.adam(0.3), jt.array(x, dtype="float64"), []
    state = optimizer.init(x)

    def F(x):
        y = fit(None, x, grams, moments)
        wrong = [(jt.matmul(rows, y[k].unsqueeze(-1)).squeeze(-1) - v) for k, (rows, v) in enumerate(held_out)]
        return sum((one * one).sum() for one in wrong) / len(t)

    for _ in range(steps):
        error, gradient = boat.value_and_grad(F)(x)
        updates, state = optimizer.update(gradient, state, x)
        errors.append(float(error.numpy()[0]))
        x, state = boat.stop_gradient((boat.apply_updates(x, updates), state))
    return x.numpy(), errors


def test_error(x, X, t, X_test, t_test):
    y = fit(None, x, (X.T @ X)[None], (X.T @ t)[None]).numpy()[0]
    return float(np.mean((X_test @ y - t_test) ** 2))


def main(picture="ridge_diabetes.png", steps=300):
    X, t = load_diabetes(return_X_y=True)
    X, X_test, t, t_test = train_test_split(X / X.std(0), t - t.mean(), test_size=0.33, random_state=0)
    grid = RidgeCV(np.logspace(-3, 4, 50), fit_intercept=False, cv=KFold(5), scoring="neg_mean_squared_error")
    chosen = np.full(X.shape[1], np.log(grid.fit(X, t).alpha_))
    (_, errors_grid), (one, errors_one) = learn(chosen, X, t, 1), learn(np.zeros(1), X, t, steps)
    each, errors_each = learn(np.full(X.shape[1], one[0]), X, t, steps)
    penalties = {"RidgeCV's grid": chosen, "one penalty": np.full(X.shape[1], one[0]), "one for each feature": each}
    errors = {name: test_error(x, X, t, X_test, t_test) for name, x in penalties.items()}
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(errors_one + errors_each, label="one penalty, then one for each")
    left.axhline(errors_grid[0], color="grey", linestyle=":", label="RidgeCV's grid")
    left.legend(title="squared error on held-out folds, by step")
    for name, x in penalties.items():
        right.plot(x, "o-", label=f"{name}: test error {errors[name]:.0f}")
    right.legend(title="log penalty of each feature")
    figure.savefig(picture)
    return {"grid": errors_grid[0], "one": errors_one[-1], "each": errors_each[-1], **errors}


if __name__ == "__main__":
    print(main(*sys.argv[1:2]))
