"""From a configuration to what it names: the composition, the optimizers, the problem, the solver, the observers."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..bilevel.lower_optimizer import LowerOptimizer
from ..declare.named import ObserverDeclaration, ProblemDeclaration
from ..declare.options import read_options
from ..errors import BoatError, CompositionError, ConfigError, OptionError, nearest
from ..plugins.composition import Composition, compose
from ..plugins.registry import Declared, Registry
from .optimizers import build_optimizer, parts_of
from .schema import Config

if TYPE_CHECKING:
    from ..bilevel.problem import Problem
    from ..bilevel.solver import Solver
    from ..optimizers.base import Optimizer


def build_composition(config: Config, registry: Registry) -> Composition:
    """Return the solver's operations in order. Imports neither Jittor (a pack's optimizer may) nor the problem.

    Raises:
        ConfigError: they do not form a solver, or an option does not fit; with the line of the key at fault.
    """
    try:
        composition = compose(registry, **config.solver.chains())
        composition.start_rule(config.solver.start)
        composition.work(config.solver.lower_steps)
        if composition.leaves_rates or any(part.taken for part in parts_of(config, registry, "lower")):
            composition = LowerOptimizer(build_optimizer(config, registry, "lower")).fit(composition)
    except (CompositionError, OptionError) as error:
        raise config.located(error, _key_of(config, str(error))) from None
    return composition


def _key_of(config: Config, message: str) -> str:
    """Return the key of `solver` that holds the operation named first in a message."""
    # It names its key itself.
    if re.match(r"(map|approximate|options|start|lower_steps|lower_optimizer)[\w.-]*: ", message):
        return "solver"
    found: dict[int, str] = {}
    for key in ("map", "approximate", "first_order", "method"):
        value = getattr(config.solver, key)
        for name in [value] if isinstance(value, str) else value or ():
            if place := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", message):
                found.setdefault(place.start(), key)
    return f"solver.{found[min(found)]}" if found else "solver"


def observer_options(config: Config, registry: Registry) -> list[tuple[str, Declared, Any]]:
    """Return key, declaration and checked options of each observer; nothing of theirs is imported.

    Raises:
        ConfigError: no such observer or option, or one twice; with its line.
    """
    found: list[tuple[str, Declared, Any]] = []
    for key, name, given in config.run.named_observers():
        name_key = f"{key}.name" if f"{key}.name" in config.source.places else key
        try:
            entry = registry.observer(name)
        except ConfigError as error:
            raise config.source.error(name_key, str(error)) from None
        if any(entry is other for _, other, _ in found):
            raise config.source.error(name_key, f"{name} stands there twice")
        try:
            found.append((name_key, entry, read_options(entry.declaration.options, given, key)))
        except OptionError as error:
            raise config.located(error, key) from None
    return found


def build_observers(config: Config, registry: Registry) -> list[tuple[Any, str]]:
    """Return the observers that the configuration names, with whose they are; their libraries are imported here.

    Raises:
        ConfigError: a library is missing (with what pip installs), or an observer's own code raised.
    """
    built = []
    for key, entry, options in observer_options(config, registry):
        build = partial(_build_observer, config, key, entry.declaration, options)
        what = f"observer {entry.name} could not be built"
        built.append((_run_foreign(config, key, what, build), entry.origin))
    return built


def _build_observer(config: Config, key: str, declaration: ObserverDeclaration, options: Any) -> Any:
    try:
        return declaration.build(options)
    except ImportError as error:
        missing = f"observer {declaration.name} needs {error.name or 'a library'} ({error})"
        remedy = f"; pip install {declaration.requires!r}" if declaration.requires else ""
        raise config.source.error(key, missing + remedy) from error


def check(config: Config, registry: Registry) -> Composition:
    """Check all that can be checked without running code of the user's: operations, options, and names of the rest.

    Raises:
        ConfigError: with the line of the key at fault.
    """
    for level in ("lower", "upper"):
        parts_of(config, registry, level)
    observer_options(config, registry)
    if not _is_function(config, registry):
        _registered_problem(config, registry)
    return build_composition(config, registry)


def build_solver(config: Config, registry: Registry, problem: Problem) -> Solver:
    """Return the solver that the configuration describes, for a problem that has been built."""
    from ..bilevel.solver import Solver

    section = config.solver
    return Solver(
        problem,
        **section.chains(),
        lower_steps=section.lower_steps,
        lower_optimizer=build_optimizer(config, registry, "lower"),
        upper_optimizer=cast("Optimizer", build_optimizer(config, registry, "upper")),
        start=section.start,
        lower_state=section.lower_state,
        segment=section.segment,
        memory=section.memory,
        strict=section.strict,
        second_order_guard=section.second_order_guard,
        operators=section.operators,
        kernels=section.kernels,
        on_nonfinite=section.on_nonfinite,
        registry=registry,
    )


def build_problem(config: Config, registry: Registry) -> Problem:
    """Return the problem, built with the run's seed. This is where the user's module is imported.

    Raises:
        ConfigError: no such problem, module, function or option (with the nearest), or its code raised.
    """
    from ..bilevel.problem import Problem

    given, seed = dict(config.problem_options or {}), config.run.seed
    if _is_function(config, registry):
        function = _find_function(config)
        _check_arguments(config, function, given)
        build: Callable[[], Any] = partial(function, seed=seed, **given)
    else:
        declaration = _registered_problem(config, registry)
        try:
            options: Any = read_options(declaration.options, given, "problem_options")
        except OptionError as error:
            raise config.located(error, "problem_options") from None
        build = partial(declaration.build, options, seed)
    problem = _run_foreign(config, "problem", f"{config.problem} could not be built", build)
    if not isinstance(problem, Problem):
        raise config.source.error("problem", f"{config.problem} must return a boat_core.Problem (got {problem!r})")
    return problem


def _is_function(config: Config, registry: Registry) -> bool:
    """Whether the problem is given as MODULE:FUNCTION, which looks like DISTRIBUTION:NAME."""
    return ":" in config.problem and config.problem not in registry.problem_names()


def _registered_problem(config: Config, registry: Registry) -> ProblemDeclaration:
    try:
        return registry.problem(config.problem)
    except ConfigError as error:
        raise config.source.error("problem", f"{error}; or write MODULE:FUNCTION") from None


def _find_function(config: Config) -> Callable[..., Any]:
    module_name, _, name = config.problem.partition(":")
    module = _import(config, module_name)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        raise config.source.error("problem", f"no function {name!r} in {module.__file__}{nearest(name, own)}")
    return function


def _import(config: Config, name: str) -> Any:
    """Import a module, the configuration's folder first on the path."""
    folder, root = str(config.module_folder), name.partition(".")[0]
    importlib.invalidate_caches()
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    local, loaded = PathFinder.find_spec(root, [folder]), sys.modules.get(root)
    if local and local.origin and loaded and getattr(loaded, "__file__", None) != local.origin:
        # A module of that name from elsewhere, such as another run's problem in this process.
        for known in [m for m in sys.modules if m == root or m.startswith(f"{root}.")]:
            del sys.modules[known]
    if importlib.util.find_spec(root) is None:
        near = nearest(root, [path.stem for path in Path(folder).glob("*.py")])
        raise config.source.error("problem", f"no module {root!r} in {folder} or on Python's path{near}")
    return _run_foreign(config, "problem", f"importing {name} failed", lambda: importlib.import_module(name))


def _check_arguments(config: Config, function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Compare the options with the function's signature, so that a wrong name is the configuration's error."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    takes = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if "seed" not in takes:
        raise config.source.error(
            "problem", f"{config.problem} must take an argument 'seed' (it takes {', '.join(takes)})"
        )
    takes.remove("seed")
    for name in given:
        if name not in takes:
            hint = nearest(name, takes) or "; it has none"
            raise config.source.error(f"problem_options.{name}", f"no option of {config.problem}{hint}")
    for name in takes:
        if parameters[name].default is inspect.Parameter.empty and name not in given:
            raise config.source.error(f"problem_options.{name}", f"{config.problem} requires it")


def _run_foreign(config: Config, path: str, what: str, call: Callable[[], Any]) -> Any:
    """Run code of the user's; what it raises becomes one line that names where in that code."""
    try:
        return call()
    except BoatError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = ([f for f in frames if f.filename.startswith(str(config.module_folder))] or frames)[-1]
        where = f" ({last.filename}:{last.lineno})"
        raise config.source.error(path, f"{what}: {type(error).__name__}: {error}{where}") from error
