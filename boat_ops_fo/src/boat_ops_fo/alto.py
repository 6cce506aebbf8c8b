"""ALTO: alternating descent; y takes T steps on f, then x one on F.

    y ← y - η ∇_y f(x, y), T times        x along ∇_x F(x, y)

The folklore baseline: x does not see how the lower solution moves with it, so where x enters F through y alone, it
does not move at all.
"""

from __future__ import annotations

from boat_core import Cost, FirstOrderStep, Operation


def step(bilevel, x, y, state, descend, k, options):
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
