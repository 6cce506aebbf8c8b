"""DM: the averaged method of multipliers; one step of y, of a multiplier v and of x in every outer iteration.

    ψ_k = f, with GDA ψ_k = μ_k F + (1 - μ_k) f         μ_k = μ_0 (k+1)^(-1/p)
    y ← y - β ∇_y ψ_k        v ← v - η_k (∇²_yy ψ_k · v - ∇_y F)        hypergradient = ∇_x F - ∇²_xy ψ_k · v

All derivatives are those at (x_k, y_k) with v_k as it was; v_0 = 0. y goes through the lower optimizer. Schedules:

    η_k = η_0 μ^a (k+1)^(-τ/2)        upper rate · μ^b (k+1)^(-3τ/2)        (a, b) = s1 (2, 7), s2 (1, 5), s3 (0, 3)

and without GDA upper rate · (k+1)^(-τ). With CG in the approximation stage v takes the exact line search η_k =
‖r‖² / ⟨r, ∇²_yy ψ r⟩ along r = ∇²_yy ψ v - ∇_y F. Source: Liu et al. (sl-BAMM), ICML 2023, arXiv 2302.03407.
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import Alias, Cost, Excludes, Hypergradient, MapStep, Operation, dot, option

POWERS = {"s1": (2, 7), "s2": (1, 5), "s3": (0, 3)}


@dataclass(frozen=True)
class Options:
    multiplier_rate: float | None = option(
        None, gt=0, lower_rate="any", doc="η_0, step size of v; the lower optimizer's rate if not given"
    )
    tau: float = option(0.01, ge=0, lt=1, doc="τ, decay of the step sizes")
    p: float = option(100.0, gt=0, doc="decay of μ: (k+1)^(-1/p)")
    mu0: float = option(0.9, gt=0, lt=1, doc="μ_0, the weight of F at first")
    schedule: str = option("s1", choices=tuple(POWERS), doc="powers of μ in the step sizes of v and x")


def step(iteration, options):
    k, aggregated = iteration.k, "aggregate" in iteration.labels
    mu = options.mu0 * (k + 1) ** (-1 / options.p) if aggregated else 1.0
    point = iteration.point({"aggregate": {"alpha": mu, "decay": 1.0}} if aggregated else {})
    v = point.y.like_tree(iteration.state)

    mixed, Hv = point.products(v)
    r = Hv - point.upper_gradient
    rr = dot(r, r)
    of_v, of_x = POWERS[options.schedule]
    eta, concerns = options.multiplier_rate * mu**of_v * (k + 1) ** (-options.tau / 2), ()
    report = {"mu": mu, "norm_residual": rr**0.5}
    if "line-search" in iteration.labels and rr > 0:
        curvature = dot(r, point.hessian_product(r)) / rr
        report["curvature"] = curvature
        # Asked in this way a NaN goes on to where it is reported.
        eta = 0.0 if curvature <= 0 else 1 / curvature
        if curvature <= 0:
            concerns = (f"the line search met curvature {curvature:.3g} <= 0: no step of the multiplier",)

    return MapStep(
        direction=point.lower_gradient,
        hypergradient=Hypergradient(point.direct - mixed, report=report | {"eta": eta}, concerns=concerns),
        state=(v - eta * r).tree,
        upper_scale=mu**of_x * (k + 1) ** (-1.5 * options.tau) if aggregated else (k + 1) ** -options.tau,
    )


DM = Operation(
    name="DM",
    stage="map",
    role="base",
    summary="averaged method of multipliers, one step an outer iteration",
    formula="y ← y - β∇_y ψ, v ← v - η(∇²_yy ψ v - ∇_y F), hypergradient = ∇_x F - ∇²_xy ψ v",
    source="Liu et al. (sl-BAMM), ICML 2023, arXiv 2302.03407",
    apply=step,
    options=Options,
    own_adjoint=True,
    lower_steps=1,
    init=lambda x, y, options: y.zeros().tree,
    excludes=(
        Excludes(
            ("selector", "estimator"),
            "it carries its own adjoint, one step per iteration",
            unless=("pullback", "line-search"),
        ),
    ),
    claims={
        "aggregate": ("alpha", "decay"),
        "line-search": ("max_iterations", "tolerance", "damping"),
    },
    aliases=(Alias("sl-BAMM", map=("GDA", "DM"), approximate=("RAD",)),),
    # ∇F and ∇ψ; the products with v, and with r for the line search.
    cost=lambda options, work: Cost(gradients=2, hvps=2 if "line-search" in work.labels else 1),
)
