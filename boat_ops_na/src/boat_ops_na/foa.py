"""FOA: pullbacks without second derivatives, ∇²ψ taken as zero.

    hypergradient = ∇_x F + p_0        p_0 = ∇_y F, as far as the optimizer itself is the identity in y

What is linear in the optimizer itself, such as its weight decay or momentum, stays. Source: Nichol et al., arXiv
1803.02999, section 2 (first-order MAML).
"""

from __future__ import annotations

from dataclasses import replace

from boat_core import Alias, Needs, Operation


def select(trajectory, options):
    return trajectory.without_second_derivatives(), {"second_derivatives": "taken as zero"}


FOA = Operation(
    name="FOA",
    stage="approximate",
    role="selector",
    summary="pullbacks without second derivatives",
    formula="∇_x F + p_0 with ∇²ψ = 0 (plain SGD: ∇_x F + ∇_y F)",
    source="Nichol et al., arXiv 1803.02999",
    apply=select,
    view=lambda options, work: replace(work, frozen=True),
    tags=("pullback-view",),
    order=3,
    needs=(Needs(("IAD",), "without second derivatives nothing but ∇_x F is left, unless x is the start"),),
    aliases=(Alias("FOMAML", map=("NGD",), approximate=("IAD", "FOA", "RAD")),),
)
