"""WARP: the objective of WarpGrad along a trajectory that is held fixed.

    J(x) = Σ_t F(x, Φ_t(y_t, x))        y_0 … y_T held fixed: no derivative goes through the trajectory

    (·, dx_t) = pullback of Φ_t at ∇_y F(x, y_{t+1})        hypergradient = ∇J = Σ_t (∇_x F(x, y_{t+1}) + dx_t)

x holds what all tasks share and no task adapts, such as warp layers. Every lower step is judged by one step ahead from
where it stands. If x also holds the start of y, the option `start` names its entry. That entry descends λ F(x, y_T(x))
instead, with the derivative through the trajectory: the paper's joint objective L + λ C with MAML's objective as C. A
start that DI learns moves by DI's own rate.

Source: Flennerhag et al. (WarpGrad), ICLR 2020, arXiv 1909.00025, section 3. Their expectation over the trajectory is a
sum here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from boat_core import Alias, Cost, Excludes, Hypergradient, Operation, OptionError, Trajectory, Vector, Work, option


@dataclass(frozen=True)
class Options:
    start: str | None = option(None, doc="entry of x that holds the start of y; nothing: x holds none")
    start_weight: float = option(1.0, ge=0, doc="λ, the weight of the start's own objective")


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    total = trajectory.x.zeros()
    for t in range(trajectory.steps):
        # The whole trajectory, not a view of it, so that whoever reads its end next finds the gradients computed.
        ahead = trajectory if t + 1 == trajectory.steps else trajectory.until(t + 1)
        _, dx = ahead.last(1).pullback(ahead.end.upper_gradient)
        total = (total + ahead.end.direct + dx).sync()
    if options.start is not None:
        total = with_start(total, trajectory, options)
    return Hypergradient(total, report={"steps": trajectory.steps})


def with_start(total: Vector, trajectory: Trajectory, options: Options) -> Vector:
    """Return the hypergradient whose entry `start` is that of λ F(x, y_T(x)), through the trajectory."""
    tree, end = total.tree, trajectory.end
    if not isinstance(tree, Mapping) or options.start not in tree:
        entries = ", ".join(map(str, tree)) if isinstance(tree, Mapping) else "x is no mapping"
        raise OptionError(where=("options", "WARP", "start"), expected="an entry of x", got=options.start, hint=entries)
    _, dx = trajectory.pullback(end.upper_gradient)
    whole = options.start_weight * (end.direct + dx)
    return total.like_tree({**tree, options.start: whole.tree[options.start]})


def cost(options: Options, work: Work) -> Cost:
    # ∇F at each iterate; each step pulled back by itself; the start's own way back through all of them.
    return Cost(gradients=work.steps) + work.pullback + (work.pullback if options.start is not None else Cost())


WARP = Operation(
    name="WARP",
    stage="approximate",
    role="estimator",
    summary="the objective of WarpGrad along a fixed trajectory",
    formula="Σ_t (∇_x F(x, y_{t+1}) + dx_t), (·, dx_t) = pullback of Φ_t at ∇_y F(x, y_{t+1})",
    source="Flennerhag et al. (WarpGrad), ICLR 2020, arXiv 1909.00025",
    apply=estimate,
    options=Options,
    tags=("single-steps",),
    excludes=(
        Excludes(("pullback-view",), "it pulls back single steps, and there is no longer way back to change"),
        Excludes(
            ("start",),
            "x holds what no task adapts; the option start names a part of x that is the start",
            unless=("modifier",),
        ),
    ),
    aliases=(Alias("WarpGrad", map=("NGD",), approximate=("WARP",)),),
    cost=cost,
)
