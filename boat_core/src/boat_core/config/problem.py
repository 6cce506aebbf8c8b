"""The problem that a configuration names: MODULE:FUNCTION, or a problem that a pack declares.

Names and options of a declared problem are checked at once. The user's module is imported when the problem is built.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..declare.named import ProblemDeclaration
from ..declare.options import read_options
from ..errors import BoatError, ConfigError, OptionError, suggestion
from ..plugins.registry import Registry
from .schema import Config

if TYPE_CHECKING:
    from ..bilevel.problem import Problem


def resolve_problem(config: Config, registry: Registry) -> Callable[[], Problem]:
    """Return a function that builds the problem with the run's seed. Nothing of the user's is imported before it runs.

    Raises:
        ConfigError: there is no problem of that name, or one of its options does not fit. The function that is
            returned raises it too, where module or function do not exist, or their code fails.
    """
    if _is_function(config, registry):
        return partial(_build, config, partial(_function_call, config))
    declaration = _declared_problem(config, registry)
    try:
        options: Any = read_options(declaration.options, dict(config.problem_options or {}), ())
    except OptionError as error:
        raise config.located(error, "problem_options") from None
    return partial(_build, config, lambda: partial(declaration.build, options, config.run.seed))


def _build(config: Config, find: Callable[[], Callable[[], Any]]) -> Problem:
    from ..bilevel.problem import Problem

    problem = run_foreign(config, "problem", f"{config.problem} could not be built", find())
    if not isinstance(problem, Problem):
        raise config.source.error("problem", f"{config.problem} must return a boat_core.Problem (got {problem!r})")
    return problem


def _function_call(config: Config) -> Callable[[], Any]:
    """Import the module of MODULE:FUNCTION and return the call of its function, with the options as arguments."""
    options, function = dict(config.problem_options or {}), _find_function(config)
    _check_arguments(config, function, options)
    return partial(function, seed=config.run.seed, **options)


def _is_function(config: Config, registry: Registry) -> bool:
    """Whether the problem is given as MODULE:FUNCTION, which looks like DISTRIBUTION:NAME."""
    return ":" in config.problem and config.problem not in registry.problem_names()


def _declared_problem(config: Config, registry: Registry) -> ProblemDeclaration:
    try:
        return registry.problem(config.problem)
    except ConfigError as error:
        hint = "; ".join(part for part in (error.hint, "or write MODULE:FUNCTION") if part)
        raise config.source.error("problem", error.message, hint=hint) from None


def _find_function(config: Config) -> Callable[..., Any]:
    module_name, _, name = config.problem.partition(":")
    module = _import(config, module_name)
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        message = f"no function {name!r} in {module.__file__}"
        raise config.source.error("problem", message, hint=suggestion(name, own))
    return function


def _import(config: Config, name: str) -> Any:
    """Import a module, with the configuration's folder first on the path."""
    _require_usable(config, config.module_folder)
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
        near = suggestion(root, [path.stem for path in Path(folder).glob("*.py")])
        raise config.source.error("problem", f"no module {root!r} in {folder} or on Python's path", hint=near)
    return run_foreign(config, "problem", f"importing {name} failed", lambda: importlib.import_module(name))


def _require_usable(config: Config, folder: Path) -> None:
    """Raise `ConfigError` if no folder can have this name. One that does not exist simply holds no module."""
    try:
        folder.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise config.source.error("problem_path", f"this folder cannot be read: {error.strerror}") from None


def _check_arguments(config: Config, function: Callable[..., Any], options: dict[str, Any]) -> None:
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
    for name in options:
        if name not in takes:
            hint = suggestion(name, takes) or "it has none"
            raise config.source.error(f"problem_options.{name}", f"no option of {config.problem}", hint=hint)
    for name in takes:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise config.source.error(f"problem_options.{name}", f"{config.problem} requires it")


def run_foreign(config: Config, path: str, what: str, call: Callable[[], Any]) -> Any:
    """Run the user's code. An exception becomes an error of one line that names the place in that code."""
    try:
        return call()
    except BoatError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = ([f for f in frames if f.filename.startswith(str(config.module_folder))] or frames)[-1]
        where = f" ({last.filename}:{last.lineno})"
        raise config.source.error(path, f"{what}: {type(error).__name__}: {error}{where}") from error
