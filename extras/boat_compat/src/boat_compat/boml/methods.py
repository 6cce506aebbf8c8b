"""BOML's method names and settings as settings of a solver.

    solver = boat.Solver(problem, **boml.method("T-RHG", T=10, truncate_iter=5))

Each method is what its paper defines. `METHODS` has the definition of each, docs/boml.md where BOML's own differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import boat_core as boat
from boat_core import OptionError

from .masks import masked_sgd
from .rates import meta_sgd


@dataclass(frozen=True)
class Method:
    """What a name stands for.

    Args:
        definition: One lower step, or what the hypergradient is, as a formula.
        source: The paper.
        problem: What x and y are.
        map, approximate: The operations of the solver.
        own: The settings that only some methods have, with their defaults.
        options: A function of all settings that returns the options of the operations.
        start: The rule for the start of y; None leaves it to the operations.
        steps: T if it is not given.
    """

    definition: str
    source: str
    problem: str
    map: tuple[str, ...]
    approximate: tuple[str, ...]
    own: Mapping[str, Any]
    options: Callable[[Mapping[str, Any]], dict[str, dict[str, Any]]] = lambda settings: {}
    start: str | None = "cold"
    steps: int = 5


def _rgt(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    steps = settings["truncate_iter"]
    return {} if steps is None else {"RGT": {"last_steps": steps}}


def _cg(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {"CG": {name: settings[name] for name in ("max_iterations", "tolerance", "damping")}}


def _fd(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {"FD": {"radius": settings["radius"]}}


def _gda(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    scales = {"upper_scale": settings["s"], "lower_scale": settings["t"]}
    return {"GDA": {"alpha": settings["alpha_init"], "schedule": "harmonic", **scales}}


def _warp(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {"WARP": {"start": "start", "start_weight": settings["warp_lambda"]}}


_SHARED = "x: what tasks share, such as a representation; y: a head (feature_learner)"
_START = "x: the start of all parameters; y: the parameters of a task (start_learner)"
_RATE = {"learning_rate": 0.1}

#: The methods by name.
METHODS: dict[str, Method] = {
    "RHG": Method(
        definition="dF(x, y_T(x))/dx through all T steps y ← y - α∇f",
        source="Franceschi et al. 2017/2018, arXiv 1703.01785, 1806.04910",
        problem=_SHARED,
        map=("NGD",),
        approximate=("RAD",),
        own=_RATE,
    ),
    "T-RHG": Method(
        definition="RHG through the last `truncate_iter` steps",
        source="Shaban et al. 2019, arXiv 1810.10667",
        problem=_SHARED,
        map=("NGD",),
        approximate=("RGT", "RAD"),
        own={**_RATE, "truncate_iter": None},
        options=_rgt,
    ),
    "HOAG": Method(
        definition="∇_x F - ∇²_xy f q, ∇²_yy f q = ∇_y F solved by CG, y warm",
        source="Pedregosa 2016, arXiv 1602.02355",
        problem=_SHARED,
        map=("NGD",),
        approximate=("CG",),
        own={**_RATE, "max_iterations": 20, "tolerance": 1e-6, "damping": 0.0},
        options=_cg,
        start="warm",
    ),
    "DARTS": Method(
        definition="∇_x F - α(∇_x f(x, y⁺) - ∇_x f(x, y⁻))/2ε, y± = y ± ε∇_y F(x, y - α∇f), ε = radius/‖∇_y F‖",
        source="Liu et al. (DARTS), ICLR 2019, arXiv 1806.09055",
        problem=_SHARED,
        map=("NGD",),
        approximate=("FD",),
        own={**_RATE, "radius": 0.01},
        options=_fd,
        start="warm",
        steps=1,
    ),
    "BDA": Method(
        definition="y ← y - α(α_t s∇F + (1 - α_t) t∇f), α_t = alpha_init/t at step t = 1, 2, …; then RHG",
        source="Liu et al. (BDA), ICML 2020, arXiv 2006.04045",
        problem=_SHARED,
        map=("GDA", "NGD"),
        approximate=("RAD",),
        own={**_RATE, "alpha_init": 0.5, "s": 1.0, "t": 1.0},
        options=_gda,
    ),
    "MAML": Method(
        definition="dF(y_T(x))/dx, y_0 = x, y ← y - α∇f(y)",
        source="Finn et al. (MAML), ICML 2017, arXiv 1703.03400",
        problem=_START,
        map=("NGD",),
        approximate=("IAD", "RAD"),
        own=_RATE,
        start=None,
    ),
    "FOMAML": Method(
        definition="∇F(y_T), y_0 = x: MAML with second derivatives taken as zero",
        source="Finn et al. 2017, section 5.2; Nichol et al., arXiv 1803.02999",
        problem=_START,
        map=("NGD",),
        approximate=("IAD", "FOA", "RAD"),
        own=_RATE,
        start=None,
    ),
    "Meta-SGD": Method(
        definition="y_1 = x - a ∘ ∇f(x): the start x and the rates a, one for each parameter, descend F(y_1)",
        source="Li et al. (Meta-SGD) 2017, arXiv 1707.09835",
        problem="x: the start and the rates; y: the displacement (meta_sgd_learner)",
        map=("NGD",),
        approximate=("RAD",),
        own={},
        steps=1,
    ),
    "MT-net": Method(
        definition="W ← W - α M ∘ ∇_W f in layers T W u; start, T and the probabilities of the mask M descend F",
        source="Lee and Choi (MT-net), ICML 2018, arXiv 1801.05558",
        problem="x: the start, T and the logits of M; y: the displacement of W (masked_learner)",
        map=("NGD",),
        approximate=("RAD",),
        own=_RATE,
        steps=1,
    ),
    "WarpGrad": Method(
        definition="θ ← θ - α∇f(θ; φ); φ descends Σ_t F(θ_t - α∇f(θ_t; φ); φ), θ_t held fixed;"
        " the start descends warp_lambda · F(θ_T)",
        source="Flennerhag et al. (WarpGrad), ICLR 2020, arXiv 1909.00025",
        problem="x: the start and the warp layers φ; y: the displacement of θ (warped_learner)",
        map=("NGD",),
        approximate=("WARP",),
        own={**_RATE, "warp_lambda": 1.0},
        options=_warp,
    ),
}

#: The settings that every method has, with their defaults.
COMMON: dict[str, Any] = {
    "T": None,
    "inner_objective_optimizer": "SGD",
    "momentum": 0.5,
    "meta_learning_rate": 0.001,
    "outer_objective_optimizer": "Adam",
    "mlr_decay": 0.0,
    "gradient_clip": None,
    "lower_optimizer": None,
    "upper_optimizer": None,
}
_OPTIMIZERS = ("SGD", "Momentum", "Adam")
#: BOML's strategies (method, inner_method, outer_method) by the method that they are.
_STRATEGIES = {
    ("MetaInit", "Simple", "Simple"): "MAML",
    ("MetaFeat", "Trad", "Reverse"): "RHG",
    ("MetaFeat", "Trad", "Implicit"): "HOAG",
    ("MetaFeat", "Trad", "Darts"): "DARTS",
    ("MetaFeat", "Aggr", "Reverse"): "BDA",
}
_FLAGS = {"first_order": "FOMAML", "learn_lr": "Meta-SGD", "use_t": "MT-net", "use_warp": "WarpGrad"}
#: BOML's settings that cannot be had, with the reason.
_GONE = {
    "learn_alpha": "alpha is a number here, not an upper variable",
    "learn_alpha_itr": "alpha is a number here, not an upper variable",
    "learn_st": "s and t are numbers here, not upper variables",
    "epsilon": "the probe of DARTS is radius/‖∇_y F‖, on both sides of the difference",
}


def method(
    name: str, *, inner_method: str | None = None, outer_method: str | None = None, **settings: Any
) -> dict[str, Any]:
    """Return the arguments of `boat.Solver` for a method of BOML: `boat.Solver(problem, **boml.method("MAML"))`.

    Args:
        name: A name in `METHODS`: RHG, T-RHG, HOAG, DARTS, BDA, MAML, FOMAML, Meta-SGD, MT-net or WarpGrad. Or
            "MetaInit" or "MetaFeat", with BOML's `inner_method` and `outer_method`.
        inner_method, outer_method: See `name`. `first_order`, `learn_lr`, `use_t`, `use_warp` and `truncate_iter` then
            choose the method, as in BOML.
        settings: By BOML's names:

            T                          the number of lower steps; 5, but 1 for DARTS, Meta-SGD and MT-net
            learning_rate              the rate of the lower steps, 0.1; Meta-SGD's rates are in x
            inner_objective_optimizer  "SGD", "Momentum" or "Adam", where the method leaves the choice
            momentum                   of "Momentum" on either level, 0.5
            meta_learning_rate         the rate of x, 0.001
            outer_objective_optimizer  "Adam", "Momentum" or "SGD"
            mlr_decay                  the rate of x falls as 1/(1 + mlr_decay · k); 0 (BOML's default is 1e-5)
            gradient_clip              the norm to which the hypergradient is clipped; none
            truncate_iter              T-RHG: the last steps that are pulled back; half of T
            max_iterations, tolerance, damping   HOAG: of CG; 20, 1e-6, 0. The tolerance does not fall with k
            radius                     DARTS: 0.01
            alpha_init, s, t           BDA: 0.5, 1, 1
            warp_lambda                WarpGrad: 1

            `lower_optimizer`, `upper_optimizer` and all settings of `boat.SolverSettings` go to the solver as they are.

    Raises:
        OptionError: a name or a setting is unknown, with the nearest, or the method does not have it.
    """
    name = _named(name, inner_method, outer_method, settings)
    chosen = METHODS[name]
    passed = {field.name for field in fields(boat.SolverSettings)}
    known = {*COMMON, *chosen.own, *passed}
    for key in settings:
        if key not in known:
            raise OptionError(f"{name} has no such setting", where=("method", key), hint=_hint(name, key, known))
    values = {**COMMON, **chosen.own, **settings}
    if settings.get("T") is not None and "lower_steps" in settings:
        raise OptionError("T and lower_steps are the same number: leave one out", where="method")
    result: dict[str, Any] = {
        "map": list(chosen.map),
        "approximate": list(chosen.approximate),
        "options": chosen.options(values),
        "lower_steps": chosen.steps if values["T"] is None else values["T"],
        "lower_optimizer": values["lower_optimizer"] or _lower_optimizer(name, values),
        "upper_optimizer": values["upper_optimizer"] or _upper_optimizer(values),
    }
    if chosen.start is not None:
        result["start"] = chosen.start
    return {**result, **{key: value for key, value in settings.items() if key in passed}}


def _named(name: str, inner: str | None, outer: str | None, settings: dict[str, Any]) -> str:
    """Return the name in `METHODS`; take the flags of BOML's strategies out of the settings."""
    if name in METHODS:
        if inner is not None or outer is not None:
            raise OptionError(f"{name} is a whole method: leave out inner_method and outer_method", where="method")
        return name
    if name not in ("MetaInit", "MetaFeat"):
        names = (*METHODS, "MetaInit", "MetaFeat")
        expected = f"one of {', '.join(names)}"
        raise OptionError(where="method", expected=expected, got=repr(name), hint=_nearest(str(name), names))
    strategy = name, inner or ("Simple" if name == "MetaInit" else "Trad"), outer or _outer(name)
    if strategy not in _STRATEGIES:
        expected = " or ".join(f"{i} with {o}" for n, i, o in _STRATEGIES if n == name)
        raise OptionError(where=("method", name), expected=expected, got=f"{strategy[1]} with {strategy[2]}")
    flags = [flag for flag in _FLAGS if settings.pop(flag, False)]
    if flags and (name != "MetaInit" or len(flags) > 1):
        expected = "one of them at most, beside MetaInit"
        raise OptionError(where=("method", flags[-1]), expected=expected, got=", ".join(flags))
    truncated = settings.get("truncate_iter", -1)
    if _STRATEGIES[strategy] == "RHG" and truncated is not None and truncated >= 0:
        return "T-RHG"
    settings.pop("truncate_iter", None)
    return _FLAGS[flags[0]] if flags else _STRATEGIES[strategy]


def _outer(name: str) -> str:
    return "Simple" if name == "MetaInit" else "Reverse"


def _lower_optimizer(name: str, values: Mapping[str, Any]) -> Any:
    kind = values["inner_objective_optimizer"]
    if name == "Meta-SGD":
        _only_sgd(name, kind)
        return lambda x: meta_sgd(x["rates"])
    if name == "MT-net":
        _only_sgd(name, kind)
        return masked_sgd(values["learning_rate"])
    return _optimizer("inner_objective_optimizer", kind, values["learning_rate"], values["momentum"])


def _only_sgd(name: str, kind: str) -> None:
    if kind != "SGD":
        raise OptionError(where=("method", "inner_objective_optimizer"), expected=f"SGD with {name}", got=repr(kind))


def _upper_optimizer(values: Mapping[str, Any]) -> boat.Optimizer:
    rate, decay = values["meta_learning_rate"], values["mlr_decay"]
    if decay < 0:
        raise OptionError(where=("method", "mlr_decay"), expected="a number >= 0", got=repr(decay))
    schedule = (lambda k: rate / (1 + decay * k)) if decay else rate
    stepper = _optimizer("outer_objective_optimizer", values["outer_objective_optimizer"], schedule, values["momentum"])
    clip = values["gradient_clip"]
    return stepper if clip is None else boat.chain(boat.clip_by_norm(clip), stepper)


def _optimizer(where: str, kind: str, rate: Any, momentum: float) -> boat.Optimizer:
    if kind not in _OPTIMIZERS:
        expected = f"one of {', '.join(_OPTIMIZERS)}"
        raise OptionError(where=("method", where), expected=expected, got=repr(kind))
    if kind == "Adam":
        return boat.adam(rate)
    return boat.sgd(rate, momentum=momentum) if kind == "Momentum" else boat.sgd(rate)


def _hint(name: str, key: str, known: set[str]) -> str | None:
    if key in _GONE:
        return _GONE[key]
    if key == "learning_rate" and name == "Meta-SGD":
        return "its rates are in x: boml.meta_sgd_learner(network, rate)"
    if owners := [other for other, method in METHODS.items() if key in method.own]:
        return f"{', '.join(owners)} has it"
    return _nearest(key, sorted(known))


def _nearest(name: str, names: Any) -> str | None:
    matches = get_close_matches(name, names, 1)
    return f"did you mean {matches[0]!r}?" if matches else None
