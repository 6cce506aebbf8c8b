"""Masks by rows, drawn from learned probabilities: which units of a layer a task adapts (MT-net).

    W ← W - α M ∘ ∇_W f        row j of M is m_j ∈ {0, 1}, P(m_j = 1) = σ(ζ_j)

    m_j = σ((ζ_j + l_j) / τ)   rounded to 0 or 1, with the derivative of the number before rounding (straight through)

l_j is logistic noise. With `hard=False` there is no rounding. A row is what leads to one unit: `weight[j]` and
`bias[j]`.

M depends on ζ, an upper variable, and on noise that comes in with the batch, but the lower optimizer sees no batch. So
y holds a second entry u beside the displacement of the weights, and f the term ⟨u, M⟩. The gradient of f in u is then M
itself, and `masked_sgd` multiplies one gradient by the other. u stays 0, f keeps its value, and RAD's derivatives go
through M exactly.

Source: Lee and Choi (MT-net), ICML 2018, arXiv 1801.05558, section 4.2; the noise: Jang et al., arXiv 1611.01144.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boat_core import Optimizer, OptimizerDeclaration, StructureError, option, scaled

if TYPE_CHECKING:
    import numpy as np

#: The two entries of y.
WEIGHTS, MASK = "weights", "mask"


@dataclass(frozen=True)
class Options:
    rate: float = option(gt=0, doc="step size α of the rows that the mask lets through")


def layer_of(name: str) -> str:
    """Return the layer of a parameter: its name without the last part."""
    return name.rpartition(".")[0]


def mask_logits(
    parameters: Mapping[str, Any], logit: float = 0.0, masked: Callable[[str], bool] = lambda name: True
) -> dict[str, Any]:
    """Return one logit ζ for each row of each layer.

    Args:
        parameters: Arrays by dotted name. The first axis of a layer's parameters counts its rows.
        logit: ζ at first; 0 adapts a row with probability one half.
        masked: Chooses the layers by name. A task always adapts all rows of the others.

    Returns:
        Numpy arrays of shape (rows,) by the name of the layer.

    Raises:
        StructureError: the parameters of a layer differ in their first axis, or no layer is chosen.
    """
    import numpy as np

    logits: dict[str, Any] = {}
    for name, value in parameters.items():
        layer = layer_of(name)
        if not masked(layer):
            continue
        row = np.full(value.shape[0], logit, dtype=str(value.dtype))
        if logits.setdefault(layer, row).shape != row.shape:
            expected = f"{len(logits[layer])} rows, as the other parameters of the layer have"
            raise StructureError(where=name, expected=expected, got=str(list(value.shape)))
    if not logits:
        raise StructureError(where="mask_logits", expected="at least one layer", got="none")
    return logits


def draw_noise(logits: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draw the noise of one mask: logistic, which is the difference of two Gumbel variables. Numpy arrays."""
    noise = {}
    for layer, row in logits.items():
        drawn = rng.logistic(size=tuple(row.shape))
        noise[layer] = drawn.astype(str(row.dtype))
    return noise


def sample_mask(
    logits: Mapping[str, Any], noise: Mapping[str, Any], temperature: float = 1.0, hard: bool = True
) -> Any:
    """Return the mask of each layer, of shape (rows,), as a function of the logits.

    Args:
        logits: ζ by layer.
        noise: From `draw_noise`.
        temperature: τ > 0.
        hard: Whether the mask is 0 or 1, with the derivative of the soft mask.
    """
    masks = {}
    for layer, zeta in logits.items():
        soft = _sigmoid((zeta + noise[layer]) / temperature)
        # soft > 1/2 is ζ + l > 0, of which the probability is σ(ζ).
        masks[layer] = soft + ((zeta + noise[layer] > 0).cast(str(soft.dtype)) - soft).detach() if hard else soft
    return masks


def _sigmoid(values: Any) -> Any:
    import jittor  # here, because `boat` imports this file whenever it starts

    return jittor.sigmoid(values)


def carried(mask_entry: Mapping[str, Any], masks: Mapping[str, Any]) -> Any:
    """Return ⟨u, M⟩, the term of f by which `masked_sgd` learns the mask. u is `y["mask"]`."""
    total: Any = 0.0
    for layer, u in mask_entry.items():
        total = total + (u * masks[layer]).sum()
    return total


def masked_sgd(rate: float) -> Optimizer:
    """Return the optimizer of masked steps: weights ← weights - rate · M ∘ gradient.

    Its parameters are `{"weights": arrays by name, "mask": arrays by layer}`, and the gradient in "mask" is M.
    """
    return _build(Options(rate))


def _build(options: Options) -> Optimizer:
    def update(gradient: Any, state: Any, parameters: Any) -> tuple[Any, Any]:
        if not isinstance(gradient, Mapping) or set(gradient) != {WEIGHTS, MASK}:
            got = ", ".join(map(str, gradient)) if isinstance(gradient, Mapping) else type(gradient).__name__
            expected, hint = "lower variables with the entries 'weights' and 'mask'", "boml.masked makes them"
            raise StructureError(where="masked_sgd", expected=expected, got=got, hint=hint)
        masks, moves = gradient[MASK], {}
        for name, g in gradient[WEIGHTS].items():
            mask = masks.get(layer_of(name))
            if mask is not None:
                g = mask.reshape((-1, *(1 for _ in g.shape[1:]))) * g
            moves[name] = scaled(-options.rate, g)
        return {WEIGHTS: moves, MASK: {layer: scaled(0.0, m) for layer, m in masks.items()}}, state

    return Optimizer("masked_sgd", lambda parameters: {}, update, rate=options.rate)


MASKED_SGD = OptimizerDeclaration(
    "masked_sgd",
    "gradient descent of the rows that a learned mask lets through",
    "Lee and Choi (MT-net), ICML 2018, arXiv 1801.05558",
    Options,
    _build,
)
