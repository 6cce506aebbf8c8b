"""BOAT's own solver for each of JBOAT's chains on the quadratic problem, without the layer."""

from __future__ import annotations

import jboat_quadratic as quadratic
from jboat_material import loss_config

import boat_core as boat
from boat_core import sgd

# The upper step is Jittor's own, which rounds its step size to float32.
T, ETA, RATE = 5, 0.1, 0.0625
LOSSES = loss_config("jboat_quadratic")
META_LOSSES = loss_config("jboat_quadratic", lower="meta_lower", upper="meta_upper", aggregate="meta_aggregate")

#: The options of BOAT's operations that the values of the shipped L2 configuration mean.
OPTIONS = {
    "GDA": {"alpha": 0.5, "decay": 0.9},
    "DI": {"rate": 0.1},
    "RGT": {"last_steps": T - 1},
    "CG": {"max_iterations": 2, "tolerance": 1e-10},
    "NS": {"terms": 3, "step_size": ETA},
    "FD": {"radius": 1e-2, "step_size": ETA},
    "VFO": {"inner_rate": 0.1, "u1": 0.1, "control": "value"},
    "MESO": {"eta": 0.001, "gamma": 100.0, "c0": 0.2},
    "PGDO": {
        "inner_rate": 0.1,
        "gamma_init": 1e-12,
        "gamma_max": 0.2,
        "gamma_steps": 50000,
        "penalty": "difference",
    },
}
#: What is left of the chains that mean nothing.
LEFT = {
    "CG,IAD": "IAD,RAD",
    "CG,IAD,PTT": "IAD,PTT,RAD",
    "NS,IAD": "IAD,RAD",
    "NS,IAD,PTT": "IAD,PTT,RAD",
}


def left_of(maps: str, ends: str) -> tuple[list[str], list[str]]:
    """Return the operations of a chain that mean something."""
    ends = LEFT.get(ends, ends)
    if "DI" in maps and "RGT" in ends:
        ends = ",".join(name for name in ends.split(",") if name != "RGT")
    if "DM" in maps:
        maps = ",".join(name for name in maps.split(",") if name != "NGD")
    return maps.split(","), ends.split(",")


def own_solver(maps=None, ends=None, meta=False, rate=RATE, steps=T, options=None, **more) -> boat.Solver:
    chain = {"map": maps, "approximate": ends}
    names = {*(maps or ()), *(ends or ()), *([more["first_order"]] if "first_order" in more else [])}
    values = {name: OPTIONS[name] for name in names if name in OPTIONS} | (options or {})
    optimizers = {"lower_optimizer": sgd(ETA), "upper_optimizer": sgd(rate)}
    return boat.Solver(quadratic.bilevel(meta), **chain, **optimizers, options=values, lower_steps=steps, **more)
