"""What an operation says of itself, before anything runs.

An operation is one `Operation` value: who it is, what it computes, which options it takes, where it stands in a chain,
what it needs and excludes, what it costs, and the function that does the work. The grammar (`composition.py`), the
lists and the explanations are made from these declarations alone, so an operation of a third party takes part in
everything without the core knowing its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import DeclarationError
from .options import NoOptions

#: Which roles each stage has. A map chain is modifiers and one base; an approximation chain is selectors and one
#: estimator; a first-order solver is one method.
ROLES = {
    "map": ("modifier", "base"),
    "approximate": ("selector", "estimator"),
    "first-order": ("method",),
}


@dataclass(frozen=True)
class Cost:
    """Work of one outer step.

    gradients: gradients taken of F, f or their aggregate (in x, in y, or in both at once).
    hvps: products with second derivatives (∇²_yy v, ∇²_xy v, or both at once in a pullback), at most.
    """

    gradients: int = 0
    hvps: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.gradients + other.gradients, self.hvps + other.hvps)


@dataclass(frozen=True)
class Needs:
    """This operation makes sense only together with one of `names`."""

    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Excludes:
    """This operation cannot stand beside those in `what`: names of operations, roles, or tags that they declare.

    `unless` names those that are welcome all the same.
    """

    what: tuple[str, ...]
    reason: str
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alias:
    """Another name in the field for a whole chain, such as RHG for NGD + RAD."""

    name: str
    map: tuple[str, ...] = ()
    approximate: tuple[str, ...] = ()
    first_order: str | None = None


def _no_cost(options: Any, steps: int) -> Cost:
    return Cost()


@dataclass(frozen=True)
class Operation:
    """The declaration of one operation.

    Args:
        name: the name that configurations and scripts use, such as "CG".
        stage: "map", "approximate" or "first-order".
        role: one of `ROLES[stage]`.
        summary: one line.
        formula: what it computes, in the notation of the field.
        source: paper and identifier.
        apply: the function that does the work. Its signature depends on the role:

            modifier   `(upper, lower, options) -> objective`, all three `(x, y, t) -> scalar`
            base       `(objective, x, y, t, options) -> direction`
            selector   `(trajectory, options) -> (trajectory, report)`
            estimator  `(trajectory, options) -> Hypergradient`
            method     `(bilevel, x, y, state, descend, k, options) -> FirstOrderStep`
        options: the dataclass of its options.
        order: its place in a chain, low first; users may write the chain in any order.
        default: it is the one meant where a chain names none of its role.
        tags: words that other operations' `Excludes` may refer to, such as "end-point".
        needs, excludes: what it requires and refuses in the same solver, with the reason.
        aliases: other names in the field for chains that this operation completes.
        cost: `(options, steps) -> Cost` of one outer step with `steps` lower steps.
        second_order: whether it takes second derivatives; may be a function of the options.
        init: for a method with lasting state, `(x, y, options) -> pytree`.
        kernels: names of the pack's own kernels that it can use.

    Raises:
        DeclarationError: a field is missing or makes no sense.
    """

    name: str
    stage: str
    role: str
    summary: str
    formula: str
    source: str
    apply: Callable[..., Any]
    options: type = NoOptions
    order: int = 0
    default: bool = False
    tags: tuple[str, ...] = ()
    needs: tuple[Needs, ...] = ()
    excludes: tuple[Excludes, ...] = ()
    aliases: tuple[Alias, ...] = ()
    cost: Callable[[Any, int], Cost] = _no_cost
    second_order: bool | Callable[[Any], bool] = False
    init: Callable[..., Any] | None = None
    kernels: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        where = f"operation {self.name!r}"
        if not (isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()):
            raise DeclarationError(f"{where}: name must be letters, digits, '-' or '_'")
        if self.stage not in ROLES:
            raise DeclarationError(f"{where}: stage must be one of {', '.join(ROLES)} (got {self.stage!r})")
        if self.role not in ROLES[self.stage]:
            raise DeclarationError(f"{where}: role must be one of {', '.join(ROLES[self.stage])} (got {self.role!r})")
        for text in ("summary", "formula", "source"):
            if not (isinstance(getattr(self, text), str) and getattr(self, text).strip()):
                raise DeclarationError(f"{where}: {text} must be a text that is not empty")
        if not callable(self.apply) or not callable(self.cost):
            raise DeclarationError(f"{where}: apply and cost must be callable")
        if not (isinstance(self.options, type) and hasattr(self.options, "__dataclass_fields__")):
            raise DeclarationError(f"{where}: options must be a dataclass (got {self.options!r})")

    def takes_second_derivatives(self, options: Any) -> bool:
        """Whether it takes second derivatives under these options."""
        return bool(self.second_order(options)) if callable(self.second_order) else self.second_order

    @property
    def words(self) -> frozenset[str]:
        """All that another operation's `needs` and `excludes` can refer to."""
        return frozenset({self.name, self.role, *self.tags})
