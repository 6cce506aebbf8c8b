"""Finding packs by the entry points of group "boat", and setting aside those that cannot be used.

A pack that does not import, is not for this version, or declares nonsense is set aside with one warning and listed as
broken; everything else works as if it were not installed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

import importlib_metadata
import pluggy

from .. import __version__
from .._util.timelimit import TookTooLong, time_limit
from ..declare.named import (
    CommandDeclaration,
    ExecutorDeclaration,
    ObserverDeclaration,
    OptimizerDeclaration,
    ProblemDeclaration,
)
from ..declare.operation import Operation
from ..errors import DeclarationError, nearest
from . import hookspecs
from .hookspecs import HOOK_API
from .metadata import CORE, excluded_range, identity, requirements
from .registry import BrokenPack, Call, Declared, PackWarning, Registered, Registry

GROUP = "boat"
#: Leaves packs out: distribution or entry-point names separated by commas, or `all`.
DISABLE = "BOAT_DISABLE_PLUGINS"
#: Seconds that the command line gives the import of a pack; 0 is no limit.
SECONDS = "BOAT_IMPORT_SECONDS"
DEFAULT_SECONDS = 20.0

STAGE_HOOKS = {
    "boat_map_operations": "map",
    "boat_approximate_operations": "approximate",
    "boat_first_order_operations": "first-order",
}
DECLARATION_HOOKS: dict[str, type] = {
    "boat_optimizers": OptimizerDeclaration,
    "boat_problems": ProblemDeclaration,
    "boat_observers": ObserverDeclaration,
    "boat_executors": ExecutorDeclaration,
    "boat_commands": CommandDeclaration,
}

_import_seconds: ContextVar[float] = ContextVar("boat_import_seconds", default=0.0)


class _SetAside(Exception):
    def __init__(self, cause: str, remedy: str, *more: tuple[str, str]) -> None:
        super().__init__(cause)
        self.cause, self.remedy, self.more = cause, remedy, more


@contextlib.contextmanager
def limited_imports() -> Iterator[None]:
    """In this block the import of a pack may take the seconds of `BOAT_IMPORT_SECONDS`, 20 unless told otherwise."""
    given = os.environ.get(SECONDS, "")
    try:
        seconds = float(given or DEFAULT_SECONDS)
    except ValueError:
        warnings.warn(f"{SECONDS}: expected a number of seconds (got {given!r})", PackWarning, stacklevel=2)
        seconds = DEFAULT_SECONDS
    token = _import_seconds.set(max(0.0, seconds))
    try:
        yield
    finally:
        _import_seconds.reset(token)


_installed_as: ContextVar[Registry | None] = ContextVar("boat_installed_as", default=None)


def installed() -> Registry:
    """The registry of this process, built at the first call; inside `installed_as` the one given there."""
    registry = _installed_as.get()
    return _load_once() if registry is None else registry


@cache
def _load_once() -> Registry:
    return load_registry()


@contextlib.contextmanager
def installed_as(registry: Registry) -> Iterator[Registry]:
    """Inside this block that registry stands for what is installed: for tests."""
    token = _installed_as.set(registry)
    try:
        yield registry
    finally:
        _installed_as.reset(token)


def load_registry(entry_points: Iterable[Any] | None = None) -> Registry:
    """Find packs, check them one by one, and collect what they declare.

    `BOAT_DISABLE_PLUGINS` (distribution or entry-point names separated by commas, or `all`) leaves packs out.
    """
    from .. import builtin as plugin

    manager = pluggy.PluginManager("boat")
    manager.add_hookspecs(hookspecs)
    result = Registry(manager)
    _register(result, plugin, CORE, __version__, f"{CORE} {__version__}")
    found = find_entry_points(partial(_set_aside, result)) if entry_points is None else list(entry_points)
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
    switched_off = []
    for point in sorted(found, key=lambda p: (*identity(p.dist), p.name)):
        distribution, version = identity(point.dist)
        if disabled & {"all", distribution, point.name}:
            switched_off.append(distribution)
            continue
        try:
            _check_core_range(point.dist)
            with _limited(distribution):
                _register(result, _load(point), distribution, version, f"{distribution} {version} ({point.name})")
            result.packs[distribution] = version
        except _SetAside as problem:
            said = problem.cause, problem.remedy, problem.more
            _set_aside(result, BrokenPack(distribution, version, point.name, *said))
    if switched_off:
        names = ", ".join(sorted(set(switched_off)))
        warnings.warn(f"{DISABLE} switched off {names}", PackWarning, stacklevel=2)
    stages = list(STAGE_HOOKS.values())
    result.entries.sort(key=lambda e: (stages.index(e.operation.stage), e.operation.order, e.name, e.distribution))
    return result


def _set_aside(result: Registry, pack: BrokenPack) -> None:
    result.broken.append(pack)
    warnings.warn(str(pack), PackWarning, stacklevel=3)


def find_entry_points(unreadable: Callable[[BrokenPack], None]) -> list[Any]:
    """Return those of our group, distribution by distribution: one whose metadata cannot be read spoils no other's."""
    found, seen = [], set()
    for distribution in importlib_metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt")
            if not text or f"[{GROUP}]" not in text.replace(" ", ""):
                continue
            name, version = identity(distribution)
            if name in seen:  # the same once more, further down the path
                continue
            seen.add(name)
            found += list(distribution.entry_points.select(group=GROUP))
        except Exception as error:
            name, version = identity(distribution)
            cause = f"its entry points cannot be read ({type(error).__name__}: {error})"
            unreadable(BrokenPack(name, version, "?", cause, f"pip install --force-reinstall {name}"))
    return found


def _check_core_range(distribution: Any) -> None:
    """Compare the pack's requirement on the core with the version that runs, before any of the pack's code does."""
    try:
        lines = requirements(distribution) if distribution else []
    except Exception as error:
        cause = f"its metadata cannot be read ({type(error).__name__}: {error})"
        raise _SetAside(cause, f"pip install --force-reinstall {identity(distribution)[0]}") from error
    excluded = excluded_range(lines, __version__)
    if excluded is not None:
        raise _SetAside(
            f"it is made for boat-core {excluded}, and {__version__} is installed",
            f"pip install --upgrade {distribution.name} {CORE}",
        )


@contextlib.contextmanager
def _limited(distribution: str) -> Iterator[None]:
    """Give foreign code its time, and keep what it prints out of what a command prints."""
    seconds = _import_seconds.get()
    try:
        with contextlib.redirect_stdout(sys.stderr), time_limit(seconds):
            yield
    except TookTooLong:
        raise _SetAside(
            f"its import took longer than {seconds:g} s",
            f"pip uninstall {distribution}, or give it more time: {SECONDS}={10 * seconds:g}",
        ) from None


def _load(point: Any) -> Any:
    try:
        return point.load()
    except (KeyboardInterrupt, TookTooLong):
        raise
    except BaseException as error:
        remedy = f"`python -c 'import {point.module}'` shows the whole error; mend or uninstall it"
        if isinstance(error, ModuleNotFoundError) and error.name:
            remedy = f"If {error.name} is a package that it forgot to require, install that; {remedy}"
        raise _SetAside(f"its import failed with {type(error).__name__}: {error}", remedy) from error


def _register(result: Registry, plugin: Any, distribution: str, version: str, name: str) -> None:
    try:
        if found := list(_problems(plugin, distribution)):
            raise _SetAside(*found[0], *found[1:])
        result.manager.register(plugin, name=name)
        entries, declared, calls = _collect(result, plugin, distribution, version)
    except BaseException as error:
        if result.manager.has_plugin(name):
            result.manager.unregister(name=name)
        if isinstance(error, (KeyboardInterrupt, TookTooLong, _SetAside)):
            raise
        raise _SetAside(
            f"{type(error).__name__}: {error}",
            f"Tell its author (`boat ops check {distribution}` says more), or pip uninstall {distribution}",
        ) from error
    result.entries += entries
    result.declared += declared
    for call in calls:
        result.calls[call] = 1


def _problems(plugin: Any, distribution: str) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a plugin before it is registered: cause and remedy of each."""
    api = getattr(plugin, "BOAT_HOOK_API", None)
    if api != HOOK_API:
        remedy = f"pip install --upgrade {CORE if isinstance(api, int) and api > HOOK_API else distribution}"
        if api is None:
            remedy = f"Its author: set BOAT_HOOK_API = {HOOK_API} beside the hooks"
        yield f"its BOAT_HOOK_API is {api!r}, and this boat-core speaks {HOOK_API}", remedy
    known = [name for name in vars(hookspecs) if name.startswith("boat_")]
    functions = {name: getattr(plugin, name, None) for name in dir(plugin)}
    marked = {name for name, function in functions.items() if isinstance(getattr(function, "boat_impl", None), dict)}
    meant = marked | {name for name, f in functions.items() if name.startswith("boat_") and callable(f)}
    for name in sorted(meant):
        if name not in known:
            yield f"there is no hook {name!r}{nearest(name, known)}", "Its author: rename the function"
        elif name not in marked:
            yield f"{name} lacks the mark @boat_core.hookimpl", "Its author: mark the function"
    if not meant:
        yield "it implements no hook", "Its author: write one, marked with @boat_core.hookimpl"


def _collect(
    result: Registry, plugin: Any, distribution: str, version: str
) -> tuple[list[Registered], list[Declared], list[Call]]:
    entries: list[Registered] = []
    declared: list[Declared] = []
    calls = []
    for hook, kind in {**dict.fromkeys(STAGE_HOOKS, Operation), **DECLARATION_HOOKS}.items():
        for implementation in getattr(result.manager.hook, hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            values = _returned(hook, implementation.function(), kind)
            calls.append(Call(hook, distribution, version, ", ".join(value.name for value in values)))
            if kind is Operation:
                entries += [_registered(hook, operation, distribution, version) for operation in values]
            else:
                declared += [Declared(value, distribution, version) for value in values]
    known = [("operation", e.name) for e in result.entries if e.distribution == distribution]
    names = known + [("operation", e.name) for e in entries] + [(d.declaration.kind, d.name) for d in declared]
    for word, name in names:
        if names.count((word, name)) > 1:
            raise DeclarationError(f"{word} {name!r} is declared twice by this pack")
    return entries, declared, calls


def _registered(hook: str, operation: Operation, distribution: str, version: str) -> Registered:
    if operation.stage != STAGE_HOOKS[hook]:
        raise DeclarationError(f"{hook} returned {operation.name!r}, an operation of stage {operation.stage!r}")
    for kernel in operation.kernels:
        kernel.origin = f"{distribution} {version}"
    return Registered(operation, distribution, version)


def _returned(hook: str, values: Any, kind: type) -> list[Any]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DeclarationError(f"{hook} must return a list of {kind.__name__} (got {type(values).__name__})")
    for value in values:
        if not isinstance(value, kind):
            raise DeclarationError(f"{hook} must return {kind.__name__} values (got {value!r})")
    return list(values)
