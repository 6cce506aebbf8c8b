"""The declaration of an operation, which the core reads before anything runs.

An operation is one `Operation` value. It holds the operation's name, formula and options, its place in a chain, the
operations it needs and excludes, its cost, and the function that does the work. The grammar (`composition.py`), the
lists and the explanations read these declarations alone. So an operation of a third party takes part in everything, and
neither the core nor another operation has to know its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..autodiff.kernels import Kernel
from ..errors import DeclarationError, Keys
from .options import NoOptions, check_options_class

if TYPE_CHECKING:
    from ..autodiff.kernels import FusedStep

#: Which roles each stage has. A map chain is modifiers and one base; an approximation chain is selectors and one
#: estimator; a first-order solver is one method.
ROLES = {
    "map": ("modifier", "base"),
    "approximate": ("selector", "estimator"),
    "first-order": ("method",),
}


#: The arguments of `apply`, by role. A base map with its own adjoint takes `(iteration, options)` instead.
ARGUMENTS = {
    "modifier": ("upper", "lower", "options"),
    "base": ("objective", "x", "y", "t", "options"),
    "selector": ("trajectory", "options"),
    "estimator": ("trajectory", "options"),
    "method": ("bilevel", "x", "y", "state", "descend", "k", "options"),
}

#: The roles whose operations take derivatives themselves.
ACTING = ("base", "estimator", "method")


@dataclass(frozen=True)
class Cost:
    """The derivatives that one outer step takes.

    Args:
        gradients: The number of gradients of F, f or their aggregate. A gradient in x, one in y, and one in both at
            once each count as one.
        hvps: The largest number of products with second derivatives. ∇²_yy v, ∇²_xy v, and both at once in a pullback
            each count as one.
    """

    gradients: int = 0
    hvps: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.gradients + other.gradients, self.hvps + other.hvps)


@dataclass(frozen=True)
class Work:
    """The plan of one outer step, on which the cost of an operation may depend.

    Args:
        steps: The number of lower steps, T.
        kept: The number of last steps that a pullback goes through.
        frozen: Whether pullbacks take second derivatives as zero.
        labels: The names, roles and tags of the solver's operations.
        learned_start: Whether an operation learns the start of y, and so needs its cotangent.
    """

    steps: int
    kept: int
    frozen: bool = False
    labels: frozenset[str] = frozenset()
    learned_start: bool = False

    @property
    def words(self) -> frozenset[str]:
        """The former name of `labels`."""
        return self.labels

    @property
    def pullback(self) -> Cost:
        """The cost of one pullback. Each kept step builds its direction again, and pulls back through its graph."""
        return Cost(gradients=self.kept, hvps=0 if self.frozen else self.kept)


@dataclass(frozen=True)
class Needs:
    """This operation needs one of those called `names` in the same solver."""

    names: tuple[str, ...]
    reason: str

    def __post_init__(self) -> None:
        _check_names("Needs.names", self.names)


@dataclass(frozen=True)
class Excludes:
    """This operation cannot go with the operations in `what`.

    Args:
        what: The labels of the excluded operations: names, roles or tags.
        reason: The reason, as the end of the sentence "A cannot go with B: …".
        unless: The labels of operations that are allowed nevertheless.
    """

    what: tuple[str, ...]
    reason: str
    unless: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_names("Excludes.what", self.what)
        _check_names("Excludes.unless", self.unless)


@dataclass(frozen=True)
class Alias:
    """Another name in the field for a whole chain, such as RHG for NGD + RAD. `options` holds options by operation."""

    name: str
    map: tuple[str, ...] = ()
    approximate: tuple[str, ...] = ()
    first_order: str | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_names("Alias.name", (self.name,))
        _check_names("Alias.map", self.map)
        _check_names("Alias.approximate", self.approximate)

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of all operations of the chain."""
        return (*self.map, *self.approximate, *((self.first_order,) if self.first_order else ()))

    def __str__(self) -> str:
        return self.first_order or " + ".join(self.map) + " | " + " + ".join(self.approximate)


def _check_names(where: Keys, names: Any) -> None:
    if not (isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)):
        raise DeclarationError(where=where, expected="a tuple of names", got=repr(names))


#: The rules for the start of y in an outer iteration, and the words for an operation that requires the rule.
STARTS = {
    "warm": "goes on from where y is",
    "cold": "starts y anew",
    "upper": "starts y at x",
    "learned": "learns the start of y",
}


def undeclared(options: Any, work: Work) -> Cost:
    """Return the cost of an operation that declares none."""
    return Cost()


_KINDS: dict[str, type] = {
    **dict.fromkeys(("tags", "needs", "excludes", "aliases", "kernels"), tuple),
    **dict.fromkeys(("claims", "optimizer_steps"), Mapping),
    **dict.fromkeys(("default", "own_adjoint"), bool),
    "order": int,
}
_TUPLES: dict[str, type] = {"tags": str, "needs": Needs, "excludes": Excludes, "aliases": Alias, "kernels": Kernel}


def _check_call(where: str, name: str, function: Any, takes: tuple[str, ...]) -> None:
    """Raise `DeclarationError` unless `function` is None or accepts these arguments."""
    if function is None:
        return
    if not callable(function):
        raise DeclarationError(f"{name} must be callable", where=where, got=repr(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built in, with no signature to look at
        return
    try:
        signature.bind(*takes)
    except TypeError:
        message = f"{name} must take ({', '.join(takes)}) (its signature is {signature})"
        raise DeclarationError(message, where=where) from None


@dataclass(frozen=True)
class Operation:
    """The declaration of one operation.

    Args:
        name: The name that configurations and scripts use, such as "CG".
        stage: "map", "approximate" or "first-order".
        role: One of `ROLES[stage]`.
        summary: A summary of one line.
        formula: The result of the operation, in the notation of the field.
        source: The paper and its identifier.
        apply: The function that does the work. Its signature depends on the role:

            modifier   `(upper, lower, options) -> objective`, all three `(x, y, t) -> scalar`
            base       `(objective, x, y, t, options) -> direction`,
                       or with its own adjoint `(iteration, options) -> MapStep`
            selector   `(trajectory, options) -> (trajectory, report)`
            estimator  `(trajectory, options) -> Hypergradient`
            method     `(bilevel, x, y, state, descend, k, options) -> FirstOrderStep`

            A modifier that only changes the start has no `apply`.
        options: The dataclass of its options.
        order: Its place in a chain; low numbers come first. Users may write the chain in any order.
        default: Whether a chain that names no operation of this role gets this one.
        tags: The properties by which other operations know it. "end-point": an estimator that reads the last iterate
            only; on the boundary of a lower set it sees the free directions, see `Point`. "curved-set": it also holds
            where that boundary is curved, so that `Point.symmetric` is false. "pullback": an estimator that also
            returns the cotangent of the start. "single-steps": an estimator that pulls back steps one by one.
            "pullback-view": a selector that changes only what is pulled back. "start": it determines the start of y.
            "aggregate": a modifier with the options `alpha` and `decay`, the weight of F and its decay. "line-search":
            an estimator that searches along its residual. "values": its work is `Trajectory.values_from`, which several
            processes can share. A pack may use tags of its own.
        needs, excludes: The operations that it requires and refuses in the same solver, with the reason.
        aliases: Other names in the field for chains that this operation completes.
        cost: A function `(options, work) -> Cost` of one outer step. A solver whose costs contain no product with
            second derivatives takes none; its objectives may then use operators that Jittor differentiates only once.
        view: A function `(options, work) -> work` of a selector: the plan for the estimators after it. It raises
            `OptionError` if the options do not fit the number of steps.
        start: The rule of `STARTS` that it requires. A method requires "warm".
        start_optimizer: A function `options -> Optimizer`, required with "learned". The optimizer moves the start along
            its cotangent.
        own_adjoint: Whether this base map computes the hypergradient itself. It then replaces the estimators that its
            `excludes` allow beside it.
        lower_steps: The only number of lower steps with which it works.
        claims: The options of other operations that it sets itself: a mapping from the label of an operation to names
            of options.
        init: A function `(x, y, options) -> pytree` that returns the initial state, for a method or a map with its own
            adjoint that keeps state between outer steps.
        optimizer_steps: For a base map, kernels that compute the step of a lower optimizer. The key is the rule of that
            optimizer, such as `boat_core.sgd`; the name of a rule of `boat_core` does too.
        kernels: The kernels of the pack that it can use, see `boat_core.Kernel`.

    Raises:
        DeclarationError: A field is missing or invalid.
    """

    name: str
    stage: str
    role: str
    summary: str
    formula: str
    source: str
    apply: Callable[..., Any] | None = None
    options: type = NoOptions
    order: int = 0
    default: bool = False
    tags: tuple[str, ...] = ()
    needs: tuple[Needs, ...] = ()
    excludes: tuple[Excludes, ...] = ()
    aliases: tuple[Alias, ...] = ()
    cost: Callable[[Any, Work], Cost] = undeclared
    view: Callable[[Any, Work], Work] | None = None
    start: str | None = None
    start_optimizer: Callable[[Any], Any] | None = None
    own_adjoint: bool = False
    lower_steps: int | None = None
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    init: Callable[..., Any] | None = None
    optimizer_steps: Mapping[Any, FusedStep] = field(default_factory=dict)
    kernels: tuple[Kernel, ...] = ()

    def __post_init__(self) -> None:
        where = f"operation {self.name!r}"
        if not (isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()):
            raise DeclarationError("name must be letters, digits, '-' or '_'", where=where)
        if self.stage not in ROLES:
            raise DeclarationError(f"stage must be one of {', '.join(ROLES)}", where=where, got=repr(self.stage))
        if self.role not in ROLES[self.stage]:
            raise DeclarationError(
                f"role must be one of {', '.join(ROLES[self.stage])}", where=where, got=repr(self.role)
            )
        for text in ("summary", "formula", "source"):
            if not (isinstance(getattr(self, text), str) and getattr(self, text).strip()):
                raise DeclarationError(f"{text} must be a text that is not empty", where=where)
        if self.apply is None and not self.start_optimizer:
            raise DeclarationError("apply must be a function (got None)", where=where)
        _check_call(where, "apply", self.apply, self.takes)
        _check_call(where, "cost", self.cost, ("options", "work"))
        _check_call(where, "view", self.view, ("options", "work"))
        _check_call(where, "init", self.init, ("x", "y", "options"))
        _check_call(where, "start_optimizer", self.start_optimizer, ("options",))
        if self.start not in (None, *STARTS):
            raise DeclarationError(f"start must be one of {', '.join(STARTS)}", where=where, got=repr(self.start))
        if (self.start == "learned") != callable(self.start_optimizer):
            raise DeclarationError("start 'learned' and start_optimizer go together", where=where)
        check_options_class(self.options, where)
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
                raise DeclarationError(f"{name} must be of type {kind.__name__}", where=where, got=repr(value))
        for name, kind in _TUPLES.items():
            for value in getattr(self, name):
                if not isinstance(value, kind):
                    raise DeclarationError(f"{name} must hold {kind.__name__} values", where=where, got=repr(value))
        for key in self.optimizer_steps:
            # A rule is known by what it declares: this room stands below the optimizers.
            if not isinstance(key, str) and not hasattr(key, "declaration"):
                expected = "rules such as boat_core.sgd"
                raise DeclarationError("optimizer_steps", where=where, expected=expected, got=repr(key))
        if self.own_adjoint and self.role != "base":
            raise DeclarationError(f"own_adjoint is for base maps (its role is {self.role!r})", where=where)
        if not (self.lower_steps is None or (type(self.lower_steps) is int and self.lower_steps >= 1)):
            raise DeclarationError("lower_steps must be None or at least 1", where=where, got=repr(self.lower_steps))
        for name, claimed in self.claims.items():
            _check_names((where, f"claims[{name!r}]"), claimed)

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the arguments of `apply`."""
        return ("iteration", "options") if self.own_adjoint else ARGUMENTS[self.role]

    @property
    def start_rule(self) -> str | None:
        """The rule that the operation requires for the start of y, or None."""
        return self.start or ("warm" if self.role == "method" or self.own_adjoint else None)

    def __deepcopy__(self, memo: Any) -> Operation:
        return self  # a value, with compiled kernels

    @property
    def labels(self) -> frozenset[str]:
        """The name, role and tags, by which other operations refer to this one."""
        return frozenset({self.name, self.role, *self.tags})

    @property
    def words(self) -> frozenset[str]:
        """The former name of `labels`."""
        return self.labels
