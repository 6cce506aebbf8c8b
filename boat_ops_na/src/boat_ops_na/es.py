"""ES (evolution strategies): the gradient of F(x, y_T(x)), smoothed by a Gaussian, from function values alone.

    φ(x) = F(x, y_T(x)),   u_i ~ N(0, I)        hypergradient = Σ_i (φ(x + σu_i) - φ(x - σu_i)) u_i / 2nσ

The other forms of the estimate are in `boat_core.smoothed_gradient`. Each value of φ runs the T lower steps once more;
ES neither keeps nor differentiates them. The estimate is an unbiased one of the gradient of the smoothed φ, but it is
noisy: if φ is close to linear in its d variables, the relative standard error is √((d + 1)/n). A small upper rate
averages the noise out over the outer steps. An estimate whose noise exceeds `tolerance` is nevertheless reported as a
concern, because a single such estimate says little.

Sources: Nesterov and Spokoiny, Found. Comput. Math. 17, 2017; Salimans et al. 2017, arXiv 1703.03864. With x as the
start: Song et al. (ES-MAML), ICLR 2020, arXiv 1910.01215; here gradient descent is the adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boat_core import (
    Alias,
    Cost,
    Excludes,
    Hypergradient,
    NonFiniteError,
    Operation,
    OptionError,
    Trajectory,
    Work,
    option,
    smoothed_gradient,
)


@dataclass(frozen=True)
class Options:
    method: str = option(
        "antithetic",
        choices=("antithetic", "forward", "naive", "baseline"),
        doc="which form of the estimate, see boat_core.smoothed_gradient",
    )
    samples: int = option(20, ge=1, doc="n, directions; two lower trajectories each if antithetic, else one")
    sigma: float = option(0.01, gt=0, doc="σ, how far they reach")
    seed: int = option(0, ge=0, doc="seed of the directions, which depend on the outer step as well")
    tolerance: float | None = option(
        1.0, gt=0, doc="relative standard error above which the estimate is a concern; nothing: it never is"
    )

    def __post_init__(self) -> None:
        if self.method == "baseline" and self.samples < 2:
            raise OptionError(where="samples", expected="at least 2 with method 'baseline'", got=str(self.samples))


def estimate(trajectory: Trajectory, options: Options) -> Hypergradient:
    import numpy as np  # here, so that listing the operations does not import numpy

    try:
        gradient, report = smoothed_gradient(
            trajectory.value_from,
            trajectory.x,
            method=options.method,
            samples=options.samples,
            sigma=options.sigma,
            rng=np.random.default_rng([options.seed, trajectory.k]),
            values=trajectory.values_from,
            centre=trajectory.upper_value(trajectory.steps) if options.method == "forward" else None,
        )
    except NonFiniteError as error:
        raise NonFiniteError(f"stage approximate (ES): F(x, y_T(x)), {error}") from None
    return Hypergradient(gradient, report=report, concerns=concerns(report, options.tolerance))


def concerns(report: Mapping[str, Any], tolerance: float | None) -> tuple[str, ...]:
    error, samples = report["standard_error"], report["samples"]
    if tolerance is None or (error is not None and error <= tolerance):
        return ()
    if samples == 1:
        return ("one sample does not say how far off the estimate is",)
    noise = "hides the gradient" if error is None else f"is {error:.3g} times the gradient"
    return (f"the noise of the estimate {noise}: more than {samples} samples help",)


def cost(options: Options, work: Work) -> Cost:
    rolls = 2 * options.samples if options.method == "antithetic" else options.samples
    # A learned start needs ∇F at the end. Other estimators have computed it already, ES has not.
    return Cost(gradients=rolls * work.steps + work.learned_start)


ES = Operation(
    name="ES",
    stage="approximate",
    role="estimator",
    summary="function values at random points around x, no derivative",
    formula="Σ_i (φ(x + σu_i) - φ(x - σu_i)) u_i / 2nσ, φ(x) = F(x, y_T(x)), u_i ~ N(0, I)",
    source="Nesterov and Spokoiny 2017; Salimans et al. 2017, arXiv 1703.03864",
    apply=estimate,
    options=Options,
    tags=("values",),
    excludes=(Excludes(("pullback-view",), "it takes function values alone, and nothing is pulled back"),),
    aliases=(Alias("ES-MAML", map=("NGD",), approximate=("IAD", "ES")),),
    cost=cost,
)
