"""The works in JAX, for all systems that run on it: nets, objectives, and a function that is compiled ahead of time.

Data are arguments of the compiled function, never constants in it: XLA would compute with constants at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from work import Work

Arrays = Mapping[str, jax.Array]
Function = Callable[[Any, Arrays, Arrays], jax.Array]


def outputs(work: Work, y: Arrays, inputs: jax.Array) -> jax.Array:
    for place, (kind, *sizes) in enumerate(work.layers):
        if kind == "linear":
            inputs = inputs @ y[f"{place}.weight"].T + y[f"{place}.bias"]
        elif kind == "conv":
            filtered = jax.lax.conv(inputs, y[f"{place}.weight"], (1, 1), "SAME")
            inputs = filtered + y[f"{place}.bias"][:, None, None]
        elif kind == "dot":
            inputs = inputs @ y[f"{place}.weight"]
        elif kind == "norm":
            centred = inputs - inputs.mean(-1, keepdims=True)
            scaled = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
            inputs = scaled * y[f"{place}.weight"] + y[f"{place}.bias"]
        elif kind == "attention":
            inputs = attend(inputs, y[f"{place}.weight"], y[f"{place}.out"], sizes[1])
        else:
            inputs = PLAIN[kind](inputs)
    return inputs


def pool(inputs: jax.Array) -> jax.Array:
    rows, channels, height, width = inputs.shape
    even = inputs[:, :, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(rows, channels, height // 2, 2, width // 2, 2).max((3, 5))


def attend(inputs: jax.Array, weight: jax.Array, out: jax.Array, heads: int) -> jax.Array:
    rows, tokens, size = inputs.shape
    parts = (inputs @ weight.T).reshape(rows, tokens, 3, heads, size // heads).transpose(2, 0, 3, 1, 4)
    queries, keys, values = parts
    shares = jax.nn.softmax(queries @ keys.swapaxes(2, 3) / (size // heads) ** 0.5)
    return inputs + (shares @ values).swapaxes(1, 2).reshape(rows, tokens, size) @ out.T


PLAIN: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "pool": pool,
    "flatten": lambda inputs: inputs.reshape(len(inputs), -1),
    "average": lambda inputs: inputs.mean(1),
}


def objectives(work: Work) -> tuple[Function, Function]:
    """f and F, of x, y and a batch."""

    def rows(y: Arrays, batch: Arrays) -> jax.Array:
        shares = jax.nn.log_softmax(outputs(work, y, batch["inputs"]))
        return -jnp.take_along_axis(shares, batch["targets"][:, None], axis=1)[:, 0]

    def squared(x: Any, y: Arrays, batch: Arrays) -> jax.Array:
        return ((outputs(work, y, batch["inputs"]) - batch["targets"]) ** 2).mean()

    def penalised(x: jax.Array, y: Arrays, batch: Arrays) -> jax.Array:
        return squared(x, y, batch) / 2 + (jnp.exp(x) * y["0.weight"] ** 2).sum() / 2

    if work.name.startswith("ridge"):
        return penalised, lambda x, y, batch: squared(x, y, batch) / 2
    plain = (lambda x, y, batch: rows(y, batch).mean()) if work.classes else squared
    if work.tasks:
        return plain, plain
    return lambda x, y, batch: (jax.nn.sigmoid(x) * rows(y, batch)).mean(), plain


def arguments(work: Work) -> tuple[Any, Any, Arrays, Arrays]:
    """(x, y0, lower batch, upper batch), in JAX's hands, in the precision of the work."""
    jax.config.update("jax_enable_x64", next(iter(work.lower_start.values())).dtype == "float64")
    x = work.lower_start if work.upper_start is None else work.upper_start
    return jax.device_put((x, work.lower_start, work.lower_batch, work.upper_batch))


class Compiled:
    """A hypergradient as one compiled function. A call returns when the numbers are on the host."""

    def __init__(self, hypergradient: Callable[..., Any], work: Work) -> None:
        self.arguments, self.function = arguments(work), jax.jit(hypergradient)
        self.keys = None if work.upper_start is not None else list(work.lower_start)

    def compile(self) -> None:
        self.function = self.function.lower(*self.arguments).compile()

    def __call__(self) -> np.ndarray:
        value = self.function(*self.arguments)
        leaves = [value] if self.keys is None else [value[key] for key in self.keys]
        return np.concatenate([np.asarray(leaf).reshape(-1) for leaf in leaves])
