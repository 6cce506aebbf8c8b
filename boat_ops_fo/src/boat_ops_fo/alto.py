"""ALTO: alternating descent. y takes T steps on f, then x takes one step on F.

    y ← y - η ∇_y f(x, y), T times        x along ∇_x F(x, y)

This is the folklore baseline. It ignores that the lower solution depends on x: if x enters F only through y, x never
moves.
"""

from __future__ import annotations

from typing import Any

from boat_core import Bilevel, Cost, Descent, FirstOrderStep, NoOptions, Operation, Vector


def step(
    bilevel: Bilevel, x: Vector, y: Vector, state: Any, descend: Descent, k: int, options: NoOptions
) -> FirstOrderStep:
    for t in range(bilevel.lower_steps):
        y = descend(y, bilevel.lower_gradient(x, y, t)).sync()
    return FirstOrderStep(y=y, direction=bilevel.upper_gradients(x, y)[0], report={"steps": bilevel.lower_steps})


ALTO = Operation(
    name="ALTO",
    stage="first-order",
    role="method",
    summary="alternating descent, blind to the lower response",
    formula="y ← y - η∇_y f, T times; x along ∇_x F",
    source="folklore baseline",
    apply=step,
    cost=lambda options, work: Cost(gradients=work.steps + 1),
)
