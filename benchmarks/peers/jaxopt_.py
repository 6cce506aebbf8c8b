"""JAXopt: GradientDescent, its loop differentiated; `custom_root` with its CG, or a Neumann series, for `ridge`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jaxopt
from jax_ import mean_over_tasks, neumann
from jax_model import Arrays, Compiled, objectives
from work import TERMS, Work

NAME, PACKAGES = "JAXopt", ("jaxopt",)
VARIANTS = {"": ("mlp", "attention", "ridge_cg", "ridge_ns", "maml")}
NOTES = {
    "conv, few_shot": "left out, because its loop is a scan; see JAX",
    "mlp, attention, maml": "`unroll` of `GradientDescent`, which is a scan under jit",
    "ridge_cg": "its CG takes one more Hessian product, at its start of zero",
    "ridge_ns": "it has no Neumann series, and uses ours for JAX as its solver",
}


def build(work: Work, variant: str) -> Compiled:
    after = implicit(work) if work.name.startswith("ridge") else unrolled(work)
    return Compiled(jax.grad(mean_over_tasks(after) if work.tasks else after), work)


def unrolled(work: Work) -> Callable[..., jax.Array]:
    lower, upper = objectives(work)
    descent = jaxopt.GradientDescent(
        lambda y, x, batch: lower(x, y, batch),
        stepsize=work.rate,
        maxiter=work.steps,
        tol=0.0,
        acceleration=False,
        implicit_diff=False,
        unroll=True,
        jit=True,
    )

    def after(x: Any, y: Arrays, lower_batch: Arrays, upper_batch: Arrays) -> jax.Array:
        return upper(x, descent.run(y, x, lower_batch).params, upper_batch)

    return after


def implicit(work: Work) -> Callable[..., jax.Array]:
    lower, upper = objectives(work)

    def gradient(y: Arrays, x: jax.Array, batch: Arrays) -> Arrays:
        return jax.grad(lower, 1)(x, y, batch)

    def solve(product: Callable[[Arrays], Arrays], right: Arrays) -> Arrays:
        if work.name == "ridge_cg":
            return jaxopt.linear_solve.solve_cg(product, right, tol=0.0, maxiter=TERMS)
        return neumann(product, right, work.rate)

    @jaxopt.implicit_diff.custom_root(gradient, solve=solve)
    def stepped(y: Arrays, x: jax.Array, batch: Arrays) -> Arrays:
        return jax.tree.map(lambda value, g: value - work.rate * g, y, gradient(y, x, batch))

    def after(x: jax.Array, y: Arrays, lower_batch: Arrays, upper_batch: Arrays) -> jax.Array:
        return upper(x, stepped(y, x, lower_batch), upper_batch)

    return after
