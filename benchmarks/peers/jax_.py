"""JAX: the lower steps as one scan in one jit, with `checkpoint` each computed again for its gradient, or as a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax_model import Arrays, Compiled, objectives
from work import TERMS, Work

NAME, PACKAGES = "JAX", ("jax", "jaxlib")
VARIANTS = {
    "scan": ("mlp", "attention", "ridge_cg", "ridge_ns", "maml"),
    "checkpoint": ("mlp", "attention", "maml"),
    "loop": ("conv", "few_shot"),
}
NOTES = {
    "conv": "a Python loop inside the jit; on a CPU, XLA does not use its fast convolutions in the body of a scan"
    " (jax-ml/jax#12868), which took more than ten times as long",
    "ridge_cg": "`jax.scipy.sparse.linalg.cg`, which takes one more Hessian product, at its start of zero",
    "maml": "`vmap` over the tasks",
    "few_shot": "a Python loop over the tasks, too; a `vmap` over them took twenty times as long",
}


def build(work: Work, variant: str) -> Compiled:
    if work.name.startswith("ridge"):
        return Compiled(implicit(work), work)
    after = unrolled(work, REPEAT[variant])
    if work.tasks:
        mean = mean_of_loop if variant == "loop" else mean_over_tasks
        return Compiled(jax.grad(mean(after)), work)
    return Compiled(jax.grad(after), work)


def unrolled(work: Work, repeat: Callable[..., Any]) -> Callable[..., jax.Array]:
    """F(x, y_T), as a function of x, y_0 and the batches."""
    lower, upper = objectives(work)

    def after(x: Any, y: Arrays, lower_batch: Arrays, upper_batch: Arrays) -> jax.Array:
        def step(y: Arrays) -> Arrays:
            return descend(y, jax.grad(lower, 1)(x, y, lower_batch), work.rate)

        return upper(x, repeat(step, y, work.steps), upper_batch)

    return after


def scan(step: Callable[[Any], Any], y: Any, steps: int) -> Any:
    return jax.lax.scan(lambda y, _: (step(y), None), y, length=steps)[0]


def loop(step: Callable[[Any], Any], y: Any, steps: int) -> Any:
    for _ in range(steps):
        y = step(y)
    return y


REPEAT: dict[str, Callable[..., Any]] = {
    "scan": scan,
    "checkpoint": lambda step, y, steps: scan(jax.checkpoint(step, prevent_cse=False), y, steps),
    "loop": loop,
}


def descend(y: Arrays, gradient: Arrays, rate: float) -> Arrays:
    return jax.tree.map(lambda value, g: value - rate * g, y, gradient)


def mean_over_tasks(after: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The mean over the tasks of what comes of starting at x."""

    def mean(x: Arrays, _: Arrays, lower_batches: Arrays, upper_batches: Arrays) -> jax.Array:
        return jax.vmap(after, (None, None, 0, 0))(x, x, lower_batches, upper_batches).mean()

    return mean


def mean_of_loop(after: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The same without `vmap`."""

    def mean(x: Arrays, _: Arrays, lower_batches: Arrays, upper_batches: Arrays) -> jax.Array:
        def one(task: int) -> jax.Array:
            return after(x, x, *jax.tree.map(lambda value: value[task], (lower_batches, upper_batches)))

        count = len(lower_batches["inputs"])
        return sum(map(one, range(count))) / count

    return mean


def implicit(work: Work) -> Callable[..., jax.Array]:
    """- ∇²_xy f · q at (x, y_1), ∇²_yy f · q = ∇_y F."""
    lower, upper = objectives(work)

    def hypergradient(x: jax.Array, y: Arrays, lower_batch: Arrays, upper_batch: Arrays) -> jax.Array:
        y = descend(y, jax.grad(lower, 1)(x, y, lower_batch), work.rate)
        right = jax.grad(upper, 1)(x, y, upper_batch)
        _, pull = jax.vjp(lambda x, y: jax.grad(lower, 1)(x, y, lower_batch), x, y)
        if work.name == "ridge_cg":
            q, _ = jax.scipy.sparse.linalg.cg(lambda v: pull(v)[1], right, tol=0.0, maxiter=TERMS)
        else:
            q = neumann(lambda v: pull(v)[1], right, work.rate)
        return -pull(q)[0]

    return hypergradient


def neumann(product: Callable[[Arrays], Arrays], right: Arrays, rate: float) -> Arrays:
    def add(sums: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        term, total = sums
        term = descend(term, product(term), rate)
        return term, jax.tree.map(jnp.add, total, term)

    _, total = scan(add, (right, right), TERMS - 1)
    return jax.tree.map(lambda value: rate * value, total)
