"""Transforms: optimizers that return gradients instead of steps, or that wrap another optimizer; `chain` composes them.

    clip_by_norm(c)        g · min(1, c / ‖g‖)                     ‖g‖ is the norm over all leaves
    clip_by_value(c)       min(max(g, -c), c)
    add_weight_decay(λ)    g + λ y
    scale(a)               a g                                     a may be a schedule
    masked(part, mask)     applies part to the chosen leaves alone
    accumulate(part, n)    applies part to the mean of n gradients at every n-th step; 0 at the steps between

    boat.chain(boat.clip_by_norm(1.0), boat.add_weight_decay(1e-4), boat.adam(boat.cosine_schedule(1e-3, 1000)))

The last part of a chain turns gradients into steps, which the caller adds to the parameters. The derivative of the norm
at g = 0 is taken as 0. Source of clipping by the norm: Pascanu et al., ICML 2013, arXiv 1211.5063.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import optree

from .._util.integers import as_integer
from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import exact_numbers
from ..declare.named import OptimizerDeclaration
from ..declare.options import option, read_options
from ..errors import OptionError, StructureError
from .base import Optimizer, UpdateRule, made_by


@dataclass(frozen=True)
class NormOptions:
    norm: float = option(gt=0, doc="c, the largest norm of all leaves together")


@dataclass(frozen=True)
class ValueOptions:
    value: float = option(gt=0, varies=True, doc="c, the largest absolute value of an entry")


@dataclass(frozen=True)
class DecayOptions:
    weight_decay: float = option(ge=0, varies=True, doc="λ of the term λ y")


@dataclass(frozen=True)
class ScaleOptions:
    factor: float = option(varies=True, doc="a, the factor")


def _none(o: Any) -> tuple[str, ...]:
    return ()


def _clip(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    return arrays.clamped(g, -o.value, o.value), {}


def _decay(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    return g + o.weight_decay * y, {}


def _scale(o: Any, t: float, g: Any, y: Any, s: Any) -> tuple[Any, dict[str, Any]]:
    return o.factor * g, {}


clip_by_value = UpdateRule(
    "clip_by_value",
    "every entry of the gradient in [-c, c]",
    "Mikolov, PhD thesis, Brno 2012",
    ValueOptions,
    _none,
    _clip,
)
add_weight_decay = UpdateRule(
    "add_weight_decay",
    "λ y added to the gradient",
    "Krogh and Hertz, NeurIPS 1991",
    DecayOptions,
    _none,
    _decay,
)
scale = UpdateRule("scale", "the gradient times a number or a schedule", "by definition", ScaleOptions, _none, _scale)


def clip_by_norm(norm: float) -> Optimizer:
    """Scale the gradient down if its norm over all leaves exceeds `norm` > 0. Raises `OptionError`."""
    return _clip_by_norm(read_options(NormOptions, {"norm": norm}, "clip_by_norm"))


def _clip_by_norm(o: NormOptions) -> Optimizer:
    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        _check("clip_by_norm", state, ())
        leaves, structure = optree.tree_flatten(g)
        with exact_numbers():
            length = arrays.safe_sqrt(derivatives.inner(leaves, leaves))
            factor = o.norm / arrays.clamped(length, o.norm, None)
            return structure.unflatten([leaf * factor.cast(str(leaf.dtype)) for leaf in leaves]), state

    return made_by(Optimizer("clip_by_norm", lambda parameters: (), update), _clip_by_norm, o)


def chain(*parts: Optimizer) -> Optimizer:
    """Apply the parts in order; each receives the output of the one before it.

    Raises:
        OptionError: There is no part, or a part is not an optimizer or a transform.
    """
    for place, part in enumerate(parts):
        _expect(part, f"chain: part {place}")
    if not parts:
        raise OptionError("chain: expected at least one optimizer or transform")
    name = f"chain({', '.join(part.name for part in parts)})"

    def init(parameters: Any) -> Any:
        return tuple(part.init(parameters) for part in parts)

    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        if not isinstance(state, tuple) or len(state) != len(parts):
            raise StructureError(f"{name}: expected a state for each of its {len(parts)} parts (got {_kind(state)})")
        after = []
        for part, own in zip(parts, state):
            g, own = part.update(g, own, y)
            after.append(own)
        return g, tuple(after)

    by_sign = any(part.by_sign for part in parts)
    return made_by(Optimizer(name, init, update, rate=parts[-1].rate, by_sign=by_sign), chain, *parts)


def masked(part: Optimizer, mask: Any, *, others: str) -> Optimizer:
    """Apply `part` to some leaves alone.

    Args:
        part: An optimizer or a transform.
        mask: A pytree like the parameters that is True at the chosen leaves, or a function of the parameters that
            returns one.
        others: The treatment of the other leaves. "pass" leaves their gradient as it is, for the next part of a chain.
            "zero" sets it to 0, so that these parameters stay where they are.

    Raises:
        OptionError: `part` is not an optimizer or a transform, or `others` is neither "pass" nor "zero".
        StructureError: The mask does not have the structure of the parameters. The optimizer raises it in use.
    """
    _expect(part, "masked")
    if others not in ("pass", "zero"):
        raise OptionError(f"masked: others: expected 'pass' or 'zero' (got {others!r})")

    def chosen(parameters: Any) -> list[bool]:
        tree = mask(parameters) if callable(mask) else mask
        structure = optree.tree_structure(parameters)
        leaves, own = optree.tree_flatten(tree)
        if own != structure or not all(isinstance(leaf, bool) for leaf in leaves):
            raise StructureError(f"masked: expected a mask {structure} of True and False (got {tree!r})")
        return leaves

    def init(parameters: Any) -> Any:
        return part.init(_select(optree.tree_leaves(parameters), chosen(parameters)))

    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        leaves, structure = optree.tree_flatten(g)
        own = chosen(y)
        moved, state = part.update(_select(leaves, own), state, _select(structure.flatten_up_to(y), own))
        rest = iter(moved)
        other = arrays.zeros_like if others == "zero" else lambda leaf: leaf
        return structure.unflatten([next(rest) if one else other(leaf) for leaf, one in zip(leaves, own)]), state

    optimizer = Optimizer(f"masked({part.name})", init, update, by_sign=part.by_sign)
    return made_by(optimizer, partial(masked, others=others), part, mask)


def _select(leaves: list[Any], chosen: list[bool]) -> list[Any]:
    return [leaf for leaf, one in zip(leaves, chosen) if one]


def accumulate(part: Optimizer, steps: int) -> Optimizer:
    """Collect `steps` gradients, then apply `part` to their mean; the updates between are 0. Raises `OptionError`."""
    _expect(part, "accumulate")
    number = as_integer(steps)
    if number is None or number < 1:
        raise OptionError(f"accumulate: steps: expected an integer >= 1 (got {steps!r})")
    steps = number
    names = {"count", "sum", "part"}

    def init(parameters: Any) -> Any:
        return {"count": 0, "sum": optree.tree_map(arrays.zeros_like, parameters), "part": part.init(parameters)}

    def update(g: Any, state: Any, y: Any) -> tuple[Any, Any]:
        if not isinstance(state, dict) or set(state) != names:
            raise StructureError(f"accumulate: expected a state that holds count, sum and part (got {_kind(state)})")
        count, zeros = state["count"] + 1, optree.tree_map(arrays.zeros_like, g)
        total = optree.tree_map(lambda a, b: a + b, state["sum"], g)
        if count < steps:
            return zeros, {"count": count, "sum": total, "part": state["part"]}
        mean = optree.tree_map(lambda a: arrays.scaled(1 / steps, a), total)
        updates, own = part.update(mean, state["part"], y)
        return updates, {"count": 0, "sum": zeros, "part": own}

    optimizer = Optimizer(f"accumulate({part.name})", init, update, by_sign=part.by_sign)
    return made_by(optimizer, accumulate, part, steps)


def _expect(part: Any, where: str) -> None:
    if not isinstance(part, Optimizer):
        raise OptionError(f"{where}: expected an optimizer or a transform such as boat.sgd(0.1) (got {part!r})")


def _check(name: str, state: Any, expected: Any) -> None:
    if state != expected:
        raise StructureError(f"{name}: expected the state {expected!r} (got {_kind(state)})")


def _kind(state: Any) -> str:
    return f"{type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list, dict)) else repr(state)


DECLARATIONS = [
    OptimizerDeclaration(
        "clip_by_norm",
        "the gradient scaled down to a norm at most",
        "Pascanu et al., ICML 2013, arXiv 1211.5063",
        NormOptions,
        _clip_by_norm,
    ),
    clip_by_value.declaration,
    add_weight_decay.declaration,
    scale.declaration,
]
