"""RGT: reverse mode through the last K of the T lower steps only.

    (p_t, dx_t) = pullback of Φ_t at p_{t+1}, for t = T-1 … T-K        hypergradient = ∇_x F + Σ_{t >= T-K} dx_t

K = T is RAD. Where the lower steps contract, what is left out falls off geometrically with K. Source: Shaban et al.,
AISTATS 2019, arXiv 1810.10667, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from boat_core import Alias, Excludes, Operation, OptionError, option


@dataclass(frozen=True)
class Options:
    last_steps: int | None = option(
        None, ge=1, doc="K, at most the lower steps; half of them, rounded up, if not given"
    )


def kept(options, steps):
    return options.last_steps or (steps + 1) // 2


def select(trajectory, options):
    # After PTT, T̄ of the T steps are left, and K stays what it was.
    shorter = trajectory.last(kept(options, trajectory.bilevel.lower_steps))
    return shorter, {"truncation": shorter.kept, "steps": shorter.steps}


def view(options, work):
    if kept(options, work.steps) > work.steps:
        expected = f"at most the {work.steps} lower steps"
        raise OptionError(where="last_steps", expected=expected, got=str(options.last_steps))
    return replace(work, kept=min(kept(options, work.steps), work.kept))


RGT = Operation(
    name="RGT",
    stage="approximate",
    role="selector",
    summary="pulls back through the last lower steps only",
    formula="∇_x F + Σ_{t >= T-K} dx_t",
    source="Shaban et al. 2019, arXiv 1810.10667",
    apply=select,
    view=view,
    options=Options,
    tags=("pullback-view",),
    order=1,
    excludes=(
        Excludes(("end-point",), "that reads the end point only, and no truncation changes it"),
        Excludes(("start",), "a truncated pullback never reaches the start y_0"),
    ),
    aliases=(Alias("T-RHG", map=("NGD",), approximate=("RGT", "RAD")),),
)
