"""What the sections of a boat_config say, in the words of BOAT's options: one table, with each change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .source import Source


@dataclass(frozen=True)
class Facts:
    """What a translation needs beside its section.

    Args:
        lower_steps: T.
        lower_rate: the lower optimizer's step size, the smallest of its groups; None where it is not known.
        names: the operations of the chain.
    """

    lower_steps: int
    lower_rate: float | None
    names: frozenset[str]


@dataclass(frozen=True)
class Line:
    """One option: which key it comes from, and how.

    Args:
        section, key: the place in the boat_config.
        option: the name of BOAT's option.
        convert: from the value there and the facts to the value here.
        note: why the value differs; empty where it does not.
        text: the value is a word, and no number.
        default: what a missing key means; None where the key must be there.
    """

    section: str
    key: str
    option: str
    convert: Callable[[Any, Facts], Any] = lambda value, facts: value
    note: str = ""
    text: bool = False
    default: Any = None

    def read(self, source: Source) -> Any:
        """Return the value in the file, or raise `ConfigError`."""
        section = source.section(self.section)
        if section.find(self.key) is None and self.default is not None:
            return self.default
        if self.text or isinstance(self.default, bool):
            return section.require(self.key, "a value")
        return section.number(self.key)


def _times(factor: float) -> Callable[[Any, Facts], Any]:
    return lambda value, facts: factor * value


def _whole(value: Any, facts: Facts) -> Any:
    return int(value) if value == int(value) else value


LINES: dict[str, tuple[Line, ...]] = {
    "GDA": (Line("GDA", "alpha_init", "alpha"), Line("GDA", "alpha_decay", "decay")),
    "DI": (Line("DI", "lr", "rate"),),
    "DM": (
        Line("DM", "tau", "tau"),
        Line("DM", "p", "p"),
        Line("DM", "mu0", "mu0"),
        Line("DM", "strategy", "schedule", text=True),
    ),
    "RGT": (
        Line(
            "RGT",
            "truncate_iter",
            "last_steps",
            lambda value, facts: facts.lower_steps - int(value),
            "theirs counts the leading steps that are left out, ours the last steps that are kept",
        ),
    ),
    "CG": (
        Line("CG", "k", "max_iterations", _whole),
        Line("CG", "tolerance", "tolerance", note="theirs is absolute, ours relative to ‖∇_y F‖"),
    ),
    "NS": (
        Line(
            "CG", "k", "terms", lambda value, facts: _whole(value, facts) + 1, "theirs counts the terms after the first"
        ),
    ),
    "FD": (Line("FD", "r", "radius", note="ours is centred at y_(T-1), theirs at y_0"),),
    "VFO": (Line("VFO", "y_hat_lr", "inner_rate"), Line("VFO", "u1", "u1")),
    "VSO": (
        Line("VSO", "z_loop", "z_steps", _whole),
        Line(
            "VSO",
            "z_lr",
            "z_rate",
            note="the step size of z; JBOAT gives it to y",
        ),
        Line("VSO", "ll_l2_reg", "mu0", _times(2), "theirs weighs ‖z‖², ours ½‖z‖²"),
        Line("VSO", "ul_l2_reg", "theta0", _times(2), "theirs weighs ‖y‖², ours ½‖y‖²"),
        Line("VSO", "ul_ln_reg", "sigma0"),
    ),
    "MESO": (
        Line("MESO", "eta", "eta"),
        Line("MESO", "gamma_1", "gamma", lambda value, facts: 1 / value if value else value, "theirs is 1/γ"),
        Line("MESO", "c0", "c0"),
    ),
    "PGDO": (
        Line("PGDO", "y_hat_lr", "inner_rate"),
        Line(
            "PGDO",
            "gamma_init",
            "gamma_init",
            lambda value, facts: value or 1e-12,
            "ours must be positive: a penalty of 1e-12 stands for none",
        ),
        Line("PGDO", "gamma_max", "gamma_max"),
        Line("PGDO", "gamma_argmax_step", "gamma_steps", _whole),
        Line("PGDO", "penalty", "penalty", text=True, default="difference"),
    ),
}


def translate(name: str, operation: Any, source: Source, facts: Facts) -> dict[str, Any]:
    """Return the options of one operation.

    Args:
        name: its bare name.
        operation: its declaration.
        source: the boat_config.
        facts: what else is known.

    Keys of the section that BOAT's operation knows, and theirs does not, are passed on: `"CG": {"damping": 0.1}`.

    Raises:
        ConfigError: a key is missing or no number.
    """
    options = dict(_passed_on(name, operation, source))
    if name == "RGT":
        _check_truncation(source, facts)
    for line in LINES.get(name, ()):
        options[line.option] = line.convert(line.read(source), facts)
    if name in ("NS", "FD") and facts.lower_rate is not None:
        options.setdefault("step_size", facts.lower_rate)
    if name == "VFO":
        options.setdefault("control", "value")
    if name == "DM":
        options.setdefault("multiplier_rate", _multiplier_rate(source, facts))
    return options


def _check_truncation(source: Source, facts: Facts) -> None:
    section = source.section("RGT")
    if section.integer("truncate_iter", 1) >= facts.lower_steps:
        expected = f"fewer than the lower_iters, {facts.lower_steps}"
        raise section.error("truncate_iter", expected=expected, got=str(section.find("truncate_iter")))


def _multiplier_rate(source: Source, facts: Facts) -> float | None:
    """η_0 of DM: `auxiliary_v_lr` beside GDA; alone eta0 times the lower step size."""
    section = source.section("DM")
    if "GDA" in facts.names:
        return section.number("auxiliary_v_lr")
    eta0 = section.number("eta0")
    return None if facts.lower_rate is None else eta0 * facts.lower_rate


def _passed_on(name: str, operation: Any, source: Source) -> dict[str, Any]:
    section = source.find(name)
    theirs = {line.key for lines in LINES.values() for line in lines if line.section == name}
    if not isinstance(section, dict):
        return {}
    own = {field.name for field in fields(operation.options)}
    if name not in LINES:
        # An operation that JBOAT does not have: its section holds BOAT's options, and a wrong name is an error.
        return dict(section)
    return {key: value for key, value in section.items() if key in own - theirs}


def their_key(name: str, option: str) -> tuple[str, str]:
    """Return the place in the boat_config from which an option of an operation comes."""
    for line in LINES.get(name, ()):
        if line.option == option:
            return line.section, line.key
    return name, option
