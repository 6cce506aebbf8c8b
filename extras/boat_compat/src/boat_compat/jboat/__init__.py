"""JBOAT's names and configurations, on BOAT's solvers.

    import boat_compat.jboat as boat

    problem = boat.Problem(boat_config, loss_config)
    problem.build_ll_solver()
    problem.build_ul_solver()
    log, seconds = problem.run_iter(ll_feed_dict, ul_feed_dict, current_iter=0)

Scripts with `import jboat` or `import boat_jit` run unchanged after `boat_compat.jboat.install()`.
"""

from . import fo_ol, gm_ol, na_ol, utils
from .as_problem import as_problem
from .boat_opt import Problem
from .fo_ol import MESO, PGDO, VFO, VSO
from .gm_ol import DI, DM, GDA, NGD, DynamicalSystem, makes_functional_dynamical_system
from .gm_ol.sequential_ds import SequentialDS, validate_and_adjust_order
from .install import install
from .na_ol import CG, FD, FOA, IAD, IGA, NS, PTT, RAD, RGT, HyperGradient, makes_functional_na_operation
from .na_ol.sequential_hg import SequentialHG
from .operation_registry import Operation_REGISTRY, get_registered_operation, register_class
from .read_script import read_script
from .utils import DynamicalSystemRules, HyperGradientRules, average_grad, copy_parameter_from_list, manual_update

__all__ = [
    "CG",
    "DI",
    "DM",
    "FD",
    "FOA",
    "GDA",
    "IAD",
    "IGA",
    "MESO",
    "NGD",
    "NS",
    "PGDO",
    "PTT",
    "RAD",
    "RGT",
    "VFO",
    "VSO",
    "DynamicalSystem",
    "DynamicalSystemRules",
    "HyperGradient",
    "HyperGradientRules",
    "Operation_REGISTRY",
    "Problem",
    "SequentialDS",
    "SequentialHG",
    "as_problem",
    "average_grad",
    "copy_parameter_from_list",
    "fo_ol",
    "get_registered_operation",
    "gm_ol",
    "install",
    "makes_functional_dynamical_system",
    "makes_functional_na_operation",
    "manual_update",
    "na_ol",
    "read_script",
    "register_class",
    "utils",
    "validate_and_adjust_order",
]
