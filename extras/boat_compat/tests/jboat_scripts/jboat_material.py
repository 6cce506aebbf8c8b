"""What the tests of the JBOAT layer share: the values of JBOAT's shipped configurations, its 72 chains, a problem."""

from __future__ import annotations

import copy
import json
from itertools import product
from pathlib import Path
from typing import Any

import jittor as jt
import numpy as np

import boat_compat.jboat as jboat

L2 = json.loads((Path(__file__).parent / "configs_jit" / "boat_config_l2.json").read_text("utf8"))
NAS = json.loads("""{
    "fo_op": null, "gm_op": ["NGD"], "na_op": ["RAD"], "return_grad": false, "lower_iters": 1, "accumulate_grad": false,
    "copy_last_param": true, "device": "cuda", "cuda": true, "loss_log_path": "loss_log.json",
    "DI": {"lr": 0.1}, "GDA": {"alpha_init": 0.5, "alpha_decay": 0.9},
    "DM": {"auxiliary_v_lr": 0.1, "tau": 0.01, "p": 100, "mu0": 0.9, "eta0": 0.5, "strategy": "s3"},
    "RGT": {"truncate_iter": 0}, "CG": {"k": 1, "tolerance": 1e-5}, "FD": {"r": 1e-2},
    "VSO": {"z_loop": 5, "z_lr": 0.01, "ll_l2_reg": 0.1, "ul_l2_reg": 0.01, "ul_ln_reg": 10, "reg_decay": true},
    "PGDO": {"y_hat_lr": 0.1, "gamma_init": 0.0, "gamma_max": 0.2, "gamma_argmax_step": 5000},
    "VFO": {"eta": 0.5, "u1": 0.1, "y_hat_lr": 0.1},
    "MESO": {"eta": 0.001, "gamma_1": 0.01, "c0": 0.2, "y_hat_lr": 0.1}}""")

_MAPS = ("NGD", "DI,NGD", "GDA,NGD", "DI,GDA,NGD")
_ENDS = ("RAD", "RAD,PTT", "RAD,RGT", "PTT,RAD,RGT", "CG", "CG,PTT", "NS", "NS,PTT", "FD", "FD,PTT", "IGA", "IGA,PTT")
_STARTS = ("IAD", "IAD,PTT", "CG,IAD", "CG,IAD,PTT", "NS,IAD", "NS,IAD,PTT", "FOA,IAD", "FOA,IAD,PTT")
#: (gm_op, na_op) with two models, and with one model for both levels; fo_op.
UNROLLED = [*product(_MAPS, _ENDS), *product(("DM,NGD", "DM,GDA,NGD"), ("RAD", "CG"))]
META = [*product(("NGD", "NGD,GDA"), _STARTS)]
FIRST_ORDER = ["VSO", "VFO", "MESO", "PGDO"]


def loss_config(module: str, **names: str) -> dict[str, Any]:
    """Return a loss_config as JBOAT ships it."""
    entries = {"lower_level_loss": "lower", "upper_level_loss": "upper", "gda_loss": "aggregate"}
    return {
        key: {"function": f"{module}.{names.get(name, name)}", "params": {"weights": 0.0}}
        for key, name in entries.items()
    }


class Parameter(jt.Module):
    """A model that takes no input and returns its parameter."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = jt.array(value, dtype=str(value.dtype))

    def execute(self) -> Any:
        return self.value


def problem(
    shipped: dict[str, Any],
    losses: dict[str, Any],
    upper_model: Any,
    lower_model: Any,
    chain: tuple[str, str] | str = ("NGD", "RAD"),
    rates: tuple[float, float] = (0.1, 0.05),
    **changes: Any,
) -> jboat.Problem:
    """Build a problem as a script does: SGD below with the first rate, SGD above with the second."""
    config = copy.deepcopy(shipped)
    maps, ends = chain if isinstance(chain, tuple) else (None, None)
    config["gm_op"] = maps.split(",") if maps else None
    config["na_op"] = ends.split(",") if ends else None
    config["fo_op"] = chain if isinstance(chain, str) else None
    if ends and "RGT" in ends:
        config["RGT"]["truncate_iter"] = 1
    config["lower_level_model"], config["upper_level_model"] = lower_model, upper_model
    config["lower_level_var"], config["upper_level_var"] = (
        list(lower_model.parameters()),
        list(upper_model.parameters()),
    )
    config["lower_level_opt"] = jt.nn.SGD(lower_model.parameters(), lr=rates[0])
    config["upper_level_opt"] = jt.nn.SGD(upper_model.parameters(), lr=rates[1])
    config["loss_log_path"] = None
    config.update(changes)
    return jboat.Problem(config, losses).build_ll_solver().build_ul_solver()


def quadratic_models() -> tuple[Parameter, Parameter]:
    """Return the models of the quadratic problem, as a converted module asks for them."""
    from jboat_quadratic import CASE

    return Parameter(CASE.x), Parameter(CASE.y)


def no_feeds(k: int, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return empty feeds."""
    return {}, {}
