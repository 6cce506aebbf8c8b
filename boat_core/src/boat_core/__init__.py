"""BOAT: compose solvers for bilevel optimization from small operations, on Jittor.

    min over x of F(x, y)   where   y minimises f(x, ·)

The names below are the public ones: packs and scripts need nothing else. They load on first use, so that importing
this package costs next to nothing, and importing Jittor afterwards is prepared (see `boat doctor`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .runtime import install_import_hook

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "BoatError CompositionError ConfigError DeclarationError DoubtfulError DoubtfulWarning EngineError"
        " NonFiniteError ObjectiveError"
        " OperationError OptionError RunError SecondOrderError SecondOrderWarning StructureError"
    ),
    "declare.options": "NoOptions option",
    "declare.operation": "Alias Cost Excludes Needs Operation Work",
    "declare.named": (
        "CommandDeclaration ExecutorDeclaration ObserverDeclaration OptimizerDeclaration ProblemDeclaration"
        " SweepPlaceDeclaration"
    ),
    "plugins.hookspecs": "HOOK_API hookimpl",
    "bilevel.problem": "PerStep Problem Tasks",
    "bilevel.solver": "Solver",
    "plugins.entries": "PackWarning",
    "plugins.registry": "Registry",
    "plugins.composition": "Composition compose solvers",
    "plugins.discovery": "installed",
    "config.schema": "read_config",
    "config.build": "Job",
    "runs.run": "run",
    "sweeps.place": "RunOutcome RunSpec SweepPlace",
    "sweeps.results": "SweepResults SweepRow SweptRun",
    "sweeps.sweep": "sweep",
    "bilevel.settings": "SolverSettings",
    "bilevel.state": "LowerState SolverState",
    "bilevel.executor": "Executor RemoteExecutor Sequential",
    "bilevel.outer_step": "Outcome OuterStep pairwise_sum",
    "bilevel.portable": "OutcomeData Replica StepData",
    "bilevel.outer_iteration": "Batches OuterIteration Proposal",
    "bilevel.report": "HypergradientResult Report StepResult",
    "bilevel.graph": "HypergradientGraph",
    "bilevel.draw": "draw",
    "bilevel.trajectory": "Hypergradient Point Trajectory",
    "bilevel.roles": "Descent FirstOrderStep Iteration MapStep",
    "autodiff.kernels": "FusedStep Kernel kernel",
    "bilevel.objectives": "Bilevel",
    "autodiff.vectors": "Vector dot gradient gradients norm",
    "autodiff.arrays": "scaled",
    "autodiff.guard": "twice_differentiable",
    "autodiff.modules": "call load parameters",
    "optimizers.base": "Optimizer UpdateRule apply_updates",
    "optimizers.sgd": "sgd",
    "optimizers.adam": "adam",
    "optimizers.adamw": "adamw",
    "optimizers.adamax": "adamax",
    "optimizers.radam": "radam",
    "optimizers.rmsprop": "rmsprop",
    "optimizers.adagrad": "adagrad",
    "optimizers.adadelta": "adadelta",
    "optimizers.rprop": "rprop",
    "optimizers.asgd": "asgd",
    "optimizers.adan": "adan",
    "optimizers.lion": "lion",
    "optimizers.transforms": "accumulate add_weight_decay chain clip_by_norm clip_by_value masked scale",
    "optimizers.schedules": (
        "Schedule constant_schedule cosine_schedule exponential_schedule piecewise_schedule polynomial_schedule"
        " warmup_schedule"
    ),
    "optimizers.wrappers": "MetaOptimizer ModuleOptimizer",
    "differentiation.functional": "grad stop_gradient value_and_grad",
    "differentiation.linear.base": "LinearSolve LinearSolver",
    "differentiation.linear.cg": "cg_step conjugate_gradient",
    "differentiation.linear.normal": "normal_cg",
    "differentiation.linear.bicgstab": "bicgstab",
    "differentiation.linear.gmres": "gmres",
    "differentiation.linear.neumann": "neumann neumann_term",
    "differentiation.linear.direct": "direct",
    "differentiation.implicit": "custom_fixed_point custom_root",
    "differentiation.module": "ImplicitModule",
    "differentiation.zero_order": "es_grad smoothed_gradient",
    "differentiation.explicit": "Unrolling unroll",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from .autodiff.arrays import scaled
    from .autodiff.guard import twice_differentiable
    from .autodiff.kernels import FusedStep, Kernel, kernel
    from .autodiff.modules import call, load, parameters
    from .autodiff.vectors import Vector, dot, gradient, gradients, norm
    from .bilevel.draw import draw
    from .bilevel.executor import Executor, RemoteExecutor, Sequential
    from .bilevel.graph import HypergradientGraph
    from .bilevel.objectives import Bilevel
    from .bilevel.outer_iteration import Batches, OuterIteration, Proposal
    from .bilevel.outer_step import Outcome, OuterStep, pairwise_sum
    from .bilevel.portable import OutcomeData, Replica, StepData
    from .bilevel.problem import PerStep, Problem, Tasks
    from .bilevel.report import HypergradientResult, Report, StepResult
    from .bilevel.roles import Descent, FirstOrderStep, Iteration, MapStep
    from .bilevel.settings import SolverSettings
    from .bilevel.solver import Solver
    from .bilevel.state import LowerState, SolverState
    from .bilevel.trajectory import Hypergradient, Point, Trajectory
    from .config.build import Job
    from .config.schema import read_config
    from .declare.named import (
        CommandDeclaration,
        ExecutorDeclaration,
        ObserverDeclaration,
        OptimizerDeclaration,
        ProblemDeclaration,
        SweepPlaceDeclaration,
    )
    from .declare.operation import Alias, Cost, Excludes, Needs, Operation, Work
    from .declare.options import NoOptions, option
    from .differentiation.explicit import Unrolling, unroll
    from .differentiation.functional import grad, stop_gradient, value_and_grad
    from .differentiation.implicit import custom_fixed_point, custom_root
    from .differentiation.linear.base import LinearSolve, LinearSolver
    from .differentiation.linear.bicgstab import bicgstab
    from .differentiation.linear.cg import cg_step, conjugate_gradient
    from .differentiation.linear.direct import direct
    from .differentiation.linear.gmres import gmres
    from .differentiation.linear.neumann import neumann, neumann_term
    from .differentiation.linear.normal import normal_cg
    from .differentiation.module import ImplicitModule
    from .differentiation.zero_order import es_grad, smoothed_gradient
    from .errors import (
        BoatError,
        CompositionError,
        ConfigError,
        DeclarationError,
        DoubtfulError,
        DoubtfulWarning,
        EngineError,
        NonFiniteError,
        ObjectiveError,
        OperationError,
        OptionError,
        RunError,
        SecondOrderError,
        SecondOrderWarning,
        StructureError,
    )
    from .optimizers.adadelta import adadelta
    from .optimizers.adagrad import adagrad
    from .optimizers.adam import adam
    from .optimizers.adamax import adamax
    from .optimizers.adamw import adamw
    from .optimizers.adan import adan
    from .optimizers.asgd import asgd
    from .optimizers.base import Optimizer, UpdateRule, apply_updates
    from .optimizers.lion import lion
    from .optimizers.radam import radam
    from .optimizers.rmsprop import rmsprop
    from .optimizers.rprop import rprop
    from .optimizers.schedules import (
        Schedule,
        constant_schedule,
        cosine_schedule,
        exponential_schedule,
        piecewise_schedule,
        polynomial_schedule,
        warmup_schedule,
    )
    from .optimizers.sgd import sgd
    from .optimizers.transforms import accumulate, add_weight_decay, chain, clip_by_norm, clip_by_value, masked, scale
    from .optimizers.wrappers import MetaOptimizer, ModuleOptimizer
    from .plugins.composition import Composition, compose, solvers
    from .plugins.discovery import installed
    from .plugins.entries import PackWarning
    from .plugins.hookspecs import HOOK_API, hookimpl
    from .plugins.registry import Registry
    from .runs.run import run
    from .sweeps.place import RunOutcome, RunSpec, SweepPlace
    from .sweeps.results import SweepResults, SweepRow, SweptRun
    from .sweeps.sweep import sweep


def _install_routes() -> None:
    from .autodiff.routing import install

    install()  # before `from jittor.nn import …` can take a name as it was


def _start_operators() -> Any:
    from .autodiff.operators.library import start_build

    return start_build()


install_import_hook(then=_install_routes, beside=_start_operators)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
