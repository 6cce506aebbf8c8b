"""The iterates of every case by optax, as JSON. Needs optax: `make peers`."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import CASES, START, STEPS, Case, gradient

jax.config.update("jax_enable_x64", True)


def run(case: Case) -> list[list[float]]:
    optimizer = optax.chain(*(getattr(optax, name)(**arguments) for name, arguments in case.optax))
    y = jnp.asarray(START)
    state, iterates = optimizer.init(y), []
    for t in range(1, STEPS + 1):
        updates, state = optimizer.update(jnp.asarray(gradient(np.asarray(y), t)), state, y)
        y = optax.apply_updates(y, updates)
        iterates.append(np.asarray(y).tolist())
    return iterates


if __name__ == "__main__":
    iterates = {case.name: run(case) for case in CASES if case.optax}
    print(json.dumps({"version": optax.__version__, "iterates": iterates}))
