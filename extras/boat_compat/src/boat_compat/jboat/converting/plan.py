"""What a boat_config becomes: the keys of a configuration of BOAT's, and why each line is as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boat_core as boat
from boat_core import BoatError

from .._layer.catalogue import Catalogue
from .._layer.chain import Chain, read_chain
from .._layer.lower_optimizer import boat_options, read_optimizer
from .._layer.notes import ALWAYS, notes_of_chain, notes_of_return
from .._layer.options import LINES, Facts, their_key, translate
from .._layer.source import Source
from ..operation_registry import Operation_REGISTRY

NOT_IN_FILE = "not in the JSON files: the script passes it. Put the script's own there."


@dataclass(frozen=True)
class Reason:
    """One line that changed.

    Args:
        theirs: the key and value in JBOAT's file.
        ours: the key and value in BOAT's.
        why: what the change means; empty where only the name differs.
    """

    theirs: str
    ours: str
    why: str = ""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer for the configuration.

    Args:
        section: what stands there: a mapping of name and options, or a list of those.
        rate: its step size.
        named: whether the user has named it.
        why: what it cannot say.
    """

    section: Any
    rate: float
    named: bool = False
    why: str = ""

    def with_rate(self, rate: float) -> Any:
        """Return the section with another step size."""
        parts = self.section if isinstance(self.section, list) else [self.section]
        changed = [{**part, "rate": rate} if "rate" in part else part for part in parts]
        return changed if isinstance(self.section, list) else changed[0]


def optimizer_of_script(source: Source, key: str, arrays: list[Any]) -> Optimizer:
    """Return the optimizer that a script has made.

    Raises:
        ConfigError: BOAT has no counterpart for it.
    """
    settings = read_optimizer(source, key, arrays)
    name, options, decay = boat_options(settings)
    section: Any = {"name": name, **options}
    if decay:
        section = [{"name": "add_weight_decay", "weight_decay": decay}, section]
    why = "" if len(set(settings.groups)) == 1 else "the settings of the first parameter group stand for all"
    return Optimizer(section, settings.rates[0], True, why)


@dataclass
class Plan:
    """A configuration of BOAT's.

    Args:
        solver, run: these sections.
        alpha: `(alpha_init, alpha_decay)` where the lower steps descend gda_loss.
        tasks: whether the feeds are lists.
        reasons: why the lines are as they are.
    """

    solver: dict[str, Any]
    run: dict[str, Any]
    alpha: tuple[float, float] | None = None
    tasks: bool = False
    reasons: list[Reason] = field(default_factory=list)


def make_plan(source: Source, lower: Optimizer, upper: Optimizer, steps: int | None) -> Plan:
    """Translate a boat_config.

    Args:
        source: the boat_config, with the operations that the user wants.
        lower, upper: the optimizers.
        steps: the number of outer steps; None where the user has named none.

    Raises:
        ConfigError: a key is missing or wrong, or the operations do not form a solver.
    """
    catalogue = Catalogue(Operation_REGISTRY)
    chain = read_chain(source, catalogue.labels)
    with_dm = "DM" in chain.names
    lower_steps = 1 if with_dm else source.integer("lower_iters", 1)
    facts = Facts(lower_steps, lower.rate, chain.names)
    options = _options(chain, source, catalogue, facts)
    solver: dict[str, Any] = {}
    if chain.first_order:
        solver["first_order"] = chain.first_order
    else:
        own = [name for name in chain.map if name != "GDA" or with_dm]
        solver |= {"map": own, "approximate": list(chain.approximate)}
    reasons = list(_reasons_of_chain(source, chain))
    start, reason = _start(source, chain)
    solver |= {"start": start} if start else {}
    solver["lower_steps"] = lower_steps
    solver |= _optimizers(chain, lower, upper, reasons)
    alpha = None
    if "GDA" in chain.names and not with_dm:
        gda = options.pop("GDA")
        alpha = gda["alpha"], gda["decay"]
        ours = f"the problem's lower objective is gda_loss, alpha {alpha[0]} · {alpha[1]}^t"
        reasons.append(Reason("gm_op: GDA", ours, "your gda_loss decides what alpha weighs; BOAT's GDA weighs F by it"))
    if options:
        solver["options"] = options
        reasons += _reasons_of_options(source, chain, options)
    reasons += [reason] if reason else []
    tasks = bool(source.find("fogm_batch_input" if chain.first_order else "accumulate_grad", False))
    run = _run(source, steps, reasons)
    reasons += _rest(source, chain, tasks)
    _check(solver)
    return Plan(solver, run, alpha, tasks, reasons)


def _options(chain: Chain, source: Source, catalogue: Catalogue, facts: Facts) -> dict[str, dict[str, Any]]:
    options = {}
    claimed = {
        (label, key) for name in chain.names for label, keys in catalogue.operation(name).claims.items() for key in keys
    }
    for name in sorted(chain.names):
        labels = catalogue.labels(name)
        values = translate(name, catalogue.operation(name), source, facts)
        values = {k: v for k, v in values.items() if not any((label, k) in claimed for label in labels)}
        if values:
            options[name] = values
    return options


def _reasons_of_chain(source: Source, chain: Chain) -> Iterator[Reason]:
    for note in notes_of_chain(chain, bool(source.find("copy_last_param"))):
        yield Reason(note.key, _ours(note.key), note.full)


def _ours(key: str) -> str:
    names = {"gm_op": "map", "na_op": "approximate", "fo_op": "first_order", "lower_iters": "lower_steps"}
    return {**names, "copy_last_param": "start"}.get(key, "")


def _start(source: Source, chain: Chain) -> tuple[str | None, Reason | None]:
    """Return where y starts. Methods, DM, DI and IAD say it themselves."""
    if chain.first_order or chain.names & {"DM", "DI", "IAD"}:
        return None, None
    keeps = source.flag("copy_last_param")
    start = "warm" if keeps else "cold"
    why = "y goes on from y_T" if keeps else "y starts at the same y_0 in every iteration"
    return start, Reason(f"copy_last_param: {str(keeps).lower()}", f"start: {start}", why)


def _optimizers(chain: Chain, lower: Optimizer, upper: Optimizer, reasons: list[Reason]) -> dict[str, Any]:
    rate, why = upper.rate, upper.why if upper.named else NOT_IN_FILE
    if "DM" in chain.names:
        rate = lower.rate if "GDA" in chain.names else upper.rate * lower.rate
        formula = "the lower one's, beside GDA" if "GDA" in chain.names else "the upper one times the lower one"
        why += f" DM's upper step size is {formula}."
    sections = {
        "lower_optimizer": lower.section,
        "upper_optimizer": upper.with_rate(rate),
    }
    whys = (lower.why if lower.named else NOT_IN_FILE, why)
    for (key, section), text in zip(sections.items(), whys):
        reasons.append(Reason(f"{key.split('_')[0]}_level_opt", f"{key}: {section}", text.strip()))
    return sections


def _reasons_of_options(source: Source, chain: Chain, options: dict[str, dict[str, Any]]) -> Iterator[Reason]:
    for name, values in options.items():
        for option, value in values.items():
            section, key = their_key(name, option)
            line = next((line for line in LINES.get(name, ()) if line.option == option), None)
            theirs = f"{section}.{key}: {line.read(source)}" if line else _origin(name, option)
            if theirs != f"{name}.{option}: {value}":
                yield Reason(theirs, f"{name}.{option}: {value}", line.note if line else "")


def _origin(name: str, option: str) -> str:
    return {
        ("NS", "step_size"): "the lower step size",
        ("FD", "step_size"): "the lower step size",
        ("DM", "multiplier_rate"): "DM.auxiliary_v_lr with GDA, else DM.eta0 times the lower step size",
        ("VFO", "control"): "what VFO does there",
    }.get((name, option), f"{name}.{option}")


def _run(source: Source, steps: int | None, reasons: list[Reason]) -> dict[str, Any]:
    run: dict[str, Any] = {"steps": 10 if steps is None else steps, "seed": 0}
    if steps is None:
        reasons.append(Reason("the loop of the script", "run.steps: 10", NOT_IN_FILE))
    device = source.find("device")
    if device is not None:
        run["device"] = "cuda" if "cuda" in str(device) or source.find("cuda") is True else "cpu"
        reasons.append(Reason(f"device: {device}", f"run.device: {run['device']}", "JBOAT stores it and moves nothing"))
    if source.find("loss_log_path"):
        reasons.append(Reason("loss_log_path", "the run's folder", "every run writes its losses there"))
    return run


def _rest(source: Source, chain: Chain, tasks: bool) -> Iterator[Reason]:
    for note in notes_of_return(bool(source.find("return_grad", False))):
        why = "a run moves x; Solver.hypergradient returns a gradient without a step."
        yield Reason("return_grad: true", "", f"{note.full} {why[0].upper()}{why[1:]}")
    if tasks and chain.first_order:
        why = "JBOAT takes the batches one after another; BOAT takes them as tasks, each with its own y"
        yield Reason("fogm_batch_input: true", "feeds return lists", why)
    elif tasks:
        why = "JBOAT sums the gradients of tasks, BOAT takes their mean: multiply the upper step size by their number"
        yield Reason("accumulate_grad: true", "feeds return lists", why)
    if "VSO" in chain.names and source.section("VSO").find("reg_decay"):
        why = "JBOAT divides all weights by reg_decay·k + 1, BOAT multiplies them by decay^k; its default stands here"
        yield Reason(f"VSO.reg_decay: {source.section('VSO').find('reg_decay')}", "VSO.decay", why)
    if "PGDO" in chain.names and source.section("PGDO").find("updata_y_ahead"):
        why = "BOAT's PGDO has no steps ahead; Problem.run_iter of boat_compat.jboat has"
        yield Reason("PGDO.updata_y_ahead: true", "", why)
    if "DI" in chain.names:
        why = "in a run DI moves the start by plain gradient steps; Problem takes the upper optimizer's class for it"
        yield Reason("DI.lr", "DI.rate", why)
    if "GDA" in chain.names and "DM" in chain.names:
        why = "beside DM, BOAT's own GDA aggregates: it weighs F by μ_k and f by 1 - μ_k, and gda_loss is not called"
        yield Reason("gm_op: DM, GDA", "map: [GDA, DM]", why)
    for note in ALWAYS:
        yield Reason("", "", note.full)


def _check(solver: dict[str, Any]) -> None:
    """Compose the solver now: what `boat convert` writes must be one."""
    try:
        keys = ("map", "approximate", "first_order", "options")
        boat.compose(None, **{key: solver[key] for key in keys if key in solver})
    except BoatError as error:
        raise boat.ConfigError(str(error)) from None
