"""A network as a meta-learner: which of its parameters all tasks share (x), and which each task adapts (y).

    learner = meta_sgd_learner(net, rate=0.1)
    problem = learner.problem(loss, batches)               loss(net, batch) -> scalar, where net(*inputs) is the network
    solver = boat.Solver(problem, **boml.method("Meta-SGD"))

Where x holds the start and more (rates, warps, masks), y is the displacement from the start: the weights are
x["start"] + y, and y starts at 0 for every task. The trajectory is that of y_0 = x, and RAD through a cold start is
MAML's derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import boat_core as boat

from .layers import is_behind, split
from .masks import MASK, WEIGHTS, carried, draw_noise, mask_logits, sample_mask
from .rates import initial_rates

#: The entries of x.
START, RATES, WARP, LOGITS = "start", "rates", "warp", "mask_logits"

#: A loss `(net, batch) -> scalar`. `net` is a function of inputs.
Loss = Callable[[Callable[..., Any], Any], Any]


@dataclass(frozen=True)
class Learner:
    """A network whose parameters are divided between x and y.

    Args:
        network: The Jittor Module. It is called with parameters in place of its own, and never changed.
        upper: x at first.
        lower: y at first.
        weights: A function `(x, y) -> parameters` of the network.
        temperature, hard: How masks are drawn, see `sample_mask`; they matter if y has an entry "mask".
    """

    network: Any
    upper: Any
    lower: Any
    weights: Callable[[Any, Any], dict[str, Any]]
    temperature: float = field(default=1.0, kw_only=True)
    hard: bool = field(default=True, kw_only=True)

    @property
    def masked(self) -> bool:
        """Whether lower batches carry noise for a mask."""
        return isinstance(self.upper, Mapping) and LOGITS in self.upper

    def __call__(self, x: Any, y: Any, *inputs: Any) -> Any:
        """Return the network's output with the weights of (x, y)."""
        return boat.call(self.network, self.weights(x, y), *inputs)

    def lower_batch(self, batch: Any, rng: np.random.Generator) -> Any:
        """Return a lower batch: the batch itself, or, with a mask, `(batch, noise)` with noise drawn from `rng`."""
        return (batch, draw_noise(self.upper[LOGITS], rng)) if self.masked else batch

    def upper_objective(self, loss: Loss) -> Callable[[Any, Any, Any], Any]:
        """Return F, the loss of the network with the weights of (x, y)."""
        return lambda x, y, batch: loss(lambda *inputs: self(x, y, *inputs), batch)

    def lower_objective(self, loss: Loss) -> Callable[[Any, Any, Any], Any]:
        """Return f: the same on lower batches, and with a mask the term that carries it."""
        plain = self.upper_objective(loss)
        if not self.masked:
            return plain

        def objective(x: Any, y: Any, batch: Any) -> Any:
            batch, noise = batch
            masks = sample_mask(x[LOGITS], noise, self.temperature, self.hard)
            return plain(x, y, batch) + carried(y[MASK], masks)

        return objective

    def problem(self, loss: Loss, batches: Callable[[int, Any], Any] | None = None, **more: Any) -> boat.Problem:
        """Return the bilevel problem.

        Args:
            loss: The loss `(net, batch) -> scalar` of both levels.
            batches: `(k, rng)`, which returns one pair (support, query), or `boat.Tasks` of such pairs. Noise for masks
                is added here.
            more: Further arguments of `boat.Problem`, such as `evaluate`.
        """

        def with_noise(k: int, rng: np.random.Generator) -> Any:
            assert batches is not None
            drawn = batches(k, rng)
            if not isinstance(drawn, boat.Tasks):
                lower, upper = drawn
                return self.lower_batch(lower, rng), upper
            pairs = drawn.by_name()
            return boat.Tasks({name: (self.lower_batch(one, rng), other) for name, (one, other) in pairs.items()})

        return boat.Problem(
            self.upper_objective(loss),
            self.lower_objective(loss),
            upper=self.upper,
            lower=self.lower,
            batches=None if batches is None else with_noise,
            **more,
        )


def start_learner(network: Any) -> Learner:
    """Return MAML's learner: x is the start of all parameters, y the parameters of one task (the chain IAD + RAD)."""
    start = _numpy(boat.parameters(network))
    return Learner(network, start, start, lambda x, y: y)


def feature_learner(network: Any, head: str | Callable[[str], bool]) -> Learner:
    """Return the learner of a representation: x is everything but the head, y the head, which starts at 0.

    Args:
        network: The network.
        head: The name of the head, such as "head", or a function that chooses its parameters by name.
    """
    chosen = head if callable(head) else lambda name: name.split(".")[0] == head
    lower, upper = split(_numpy(boat.parameters(network)), chosen)
    _require(lower, "head", boat.parameters(network))
    return Learner(network, upper, _zeros(lower), lambda x, y: {**x, **y})


def meta_sgd_learner(network: Any, rate: float = 0.1, high: float | None = None, seed: int = 0) -> Learner:
    """Return Meta-SGD's learner: x holds the start and a rate of its own for each parameter.

    Args:
        network: The network.
        rate, high, seed: The rates at first, see `initial_rates`.
    """
    start = _numpy(boat.parameters(network))
    x = {START: start, RATES: initial_rates(start, rate, high, seed)}
    return Learner(network, x, _zeros(start), lambda x, y: _moved(x[START], y))


def masked_learner(
    network: Any,
    logit: float = 0.0,
    masked: Callable[[str], bool] | None = None,
    temperature: float = 1.0,
    hard: bool = True,
) -> Learner:
    """Return MT-net's learner of a network that `with_transforms` has changed.

    x holds the start of W, all T, and the logits of the mask. y holds the displacement of W.

    Args:
        network: The network. Without T it is an M-net: masks alone.
        logit: The logits at first.
        masked: Chooses the layers with a mask by name; by default those behind which a T stands, or all if none does.
        temperature, hard: See `sample_mask`.
    """
    shared, adapted = split(_numpy(boat.parameters(network)), is_behind)
    if masked is None and shared:
        before = {name.rpartition(".transform.")[0] + ".layer" for name in shared}
        masked = before.__contains__
    logits = mask_logits(adapted, logit, masked or (lambda layer: True))
    x = {START: adapted, LOGITS: logits, **({"transform": shared} if shared else {})}
    y = {WEIGHTS: _zeros(adapted), MASK: _zeros(logits)}

    def weights(x: Any, y: Any) -> dict[str, Any]:
        return {**x.get("transform", {}), **_moved(x[START], y[WEIGHTS])}

    return Learner(network, x, y, weights, temperature=temperature, hard=hard)


def warped_learner(network: Any, shared: Callable[[str], bool] = is_behind) -> Learner:
    """Return WarpGrad's learner of a network that `with_warps` has changed.

    x holds the start of the task layers and the warp layers. y holds the displacement of the task layers.

    Args:
        network: The network.
        shared: Chooses the warp parameters by name. Write it for a network that has warp layers of its own.
    """
    warp, adapted = split(_numpy(boat.parameters(network)), shared)
    _require(warp, "warp", adapted)
    _require(adapted, "task", warp)
    x = {START: adapted, WARP: warp}
    return Learner(network, x, _zeros(adapted), lambda x, y: {**x[WARP], **_moved(x[START], y)})


def _moved(start: Mapping[str, Any], y: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value + y[name] for name, value in start.items()}


def _numpy(parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in parameters.items()}


def _zeros(parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.zeros_like(value) for name, value in parameters.items()}


def _require(chosen: Mapping[str, Any], what: str, others: Mapping[str, Any]) -> None:
    if not chosen:
        names = ", ".join(others)
        raise boat.StructureError(where=f"{what} parameters", expected="at least one", got="none", hint=f"have {names}")
