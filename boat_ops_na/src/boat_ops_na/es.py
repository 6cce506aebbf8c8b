"""ES: the hypergradient from function values alone, that of F(x, y_T(x)) smoothed by a Gaussian (evolution strategies).

    φ(x) = F(x, y_T(x)),   u_i ~ N(0, I)        hypergradient = Σ_i (φ(x + σu_i) - φ(x - σu_i)) u_i / 2nσ

and its other forms, see `boat_core.smoothed_gradient`. Each value of φ rolls the T lower steps once more; nothing of
that is kept or differentiated. Unbiased for the gradient of the smoothed φ, and noisy: the relative standard error is
√((d + 1)/n) for d upper variables where φ is close to linear. It averages out over outer steps if the upper rate is
small; an estimate whose noise exceeds `tolerance` is a concern all the same, since by itself it says little.

Sources: Nesterov and Spokoiny, Found. Comput. Math. 17, 2017; Salimans et al. 2017, arXiv 1703.03864. With x as the
start: Song et al. (ES-MAML), ICLR 2020, arXiv 1910.01215, here with gradient descent as the adaptation.
"""

from __future__ import annotations

from dataclasses import dataclass

from boat_core import (
    Alias,
    Cost,
    Excludes,
    Hypergradient,
    NonFiniteError,
    Operation,
    OptionError,
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

    def __post_init__(self):
        if self.method == "baseline" and self.samples < 2:
            raise OptionError(where="samples", expected="at least 2 with method 'baseline'", got=str(self.samples))


def estimate(trajectory, options):
    import numpy as np  # late: operations are listed without it

    try:
        gradient, report = smoothed_gradient(
            trajectory.value_from,
            trajectory.x,
            method=options.method,
            samples=options.samples,
            sigma=options.sigma,
            rng=np.random.default_rng([options.seed, trajectory.k]),
            centre=trajectory.upper_value(trajectory.steps) if options.method == "forward" else None,
        )
    except NonFiniteError as error:
        raise NonFiniteError(f"stage approximate (ES): F(x, y_T(x)), {error}") from None
    return Hypergradient(gradient, report=report, concerns=concerns(report, options.tolerance))


def concerns(report, tolerance):
    error, samples = report["standard_error"], report["samples"]
    if tolerance is None or (error is not None and error <= tolerance):
        return ()
    if samples == 1:
        return ("one sample does not say how far off it is",)
    noise = "hides the gradient" if error is None else f"is {error:.3g} times the gradient"
    return (f"the noise of the estimate {noise}: more than {samples} samples help",)


def cost(options, work):
    rolls = 2 * options.samples if options.method == "antithetic" else options.samples
    # A learned start takes ∇F at the end, which other estimators have taken before.
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
    excludes=(Excludes(("pullback-view",), "it takes function values alone, and nothing is pulled back"),),
    aliases=(Alias("ES-MAML", map=("NGD",), approximate=("IAD", "ES")),),
    cost=cost,
)
