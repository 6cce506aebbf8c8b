"""BOAT's operations with what a boat_config adds to them: the user's `gda_loss`, VSO's schedule, PGDO's steps ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from boat_core import Bilevel, Cost, Descent, FirstOrderStep, Operation, Optimizer, Vector, Work

from .objectives import Objectives
from .source import Source

#: What stands in place of a distribution where the layer lists the operations of one problem.
DISTRIBUTION = "jboat"


@dataclass(frozen=True)
class Parts:
    """What the operations of one problem are made from.

    Args:
        source: the boat_config.
        objectives: the user's losses.
        start_optimizer: from a step size to the optimizer of a learned start: one of the upper optimizer's class.
    """

    source: Source
    objectives: Objectives
    start_optimizer: Callable[[float], Optimizer]


def adapted(name: str, operation: Operation, parts: Parts) -> Operation | None:
    """Return the operation as JBOAT's configuration means it, or None where BOAT's own is meant."""
    make = _ADAPTED.get(name)
    return make(operation, parts) if make else None


def _gda(operation: Operation, parts: Parts) -> Operation:
    """GDA with the user's own aggregate. Their function decides what α weighs."""
    return replace(operation, apply=parts.objectives.aggregate)


def _di(operation: Operation, parts: Parts) -> Operation:
    """DI whose start moves by an optimizer of the upper optimizer's class, with the step size of DI."""
    return replace(operation, start_optimizer=lambda options: parts.start_optimizer(options.rate))


def _vso(operation: Operation, parts: Parts) -> Operation:
    """VSO whose four weights are divided by reg_decay·k + 1; VSO itself multiplies them by decay^k."""
    decay = parts.source.section("VSO").find("reg_decay", 0.0)
    if not isinstance(decay, (int, float)) or decay < 0:
        raise parts.source.error(("VSO", "reg_decay"), expected="a number >= 0, or true for 1", got=repr(decay))
    apply = operation.apply
    assert apply is not None

    def step(
        bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Any
    ) -> FirstOrderStep:
        share = 1.0 / (float(decay) * k + 1)
        weights = {name: share * getattr(options, name) for name in ("mu0", "theta0", "sigma0", "slack0")}
        result: FirstOrderStep = apply(bilevel, x, y, state, descend, k, replace(options, decay=1.0, **weights))
        return result

    return replace(operation, apply=step)


def _pgdo(operation: Operation, parts: Parts) -> Operation:
    """PGDO with `updata_y_ahead`: y first takes T steps of the lower optimizer on f."""
    ahead = parts.source.section("PGDO").find("updata_y_ahead", False)
    if not isinstance(ahead, bool):
        raise parts.source.error(("PGDO", "updata_y_ahead"), expected="true or false", got=repr(ahead))
    if not ahead:
        return operation
    apply, cost = operation.apply, operation.cost
    assert apply is not None

    def step(
        bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: Any
    ) -> FirstOrderStep:
        for t in range(bilevel.lower_steps):
            y = descend(y, bilevel.lower_gradient(x, y, t)).sync()
        result: FirstOrderStep = apply(bilevel, x, y, state, descend, k, options)
        return result

    def more(options: Any, work: Work) -> Cost:
        return cost(options, work) + Cost(gradients=work.steps)

    return replace(operation, apply=step, cost=more)


_ADAPTED: dict[str, Callable[[Operation, Parts], Operation]] = {"GDA": _gda, "DI": _di, "VSO": _vso, "PGDO": _pgdo}
