"""Finds packs by the entry points of group "boat", and sets aside those that cannot be used.

A pack that does not import, is made for another version, or declares something invalid is set aside with one warning
and listed as broken. Everything else works as if that pack were not installed.
"""

from __future__ import annotations

import contextlib
import copyreg
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from importlib import import_module
from pickle import PicklingError
from typing import Any

import pluggy

from .. import __version__
from .._util.timelimit import TookTooLong, time_limit
from ..declare.named import (
    CommandDeclaration,
    ExecutorDeclaration,
    ObserverDeclaration,
    OptimizerDeclaration,
    ProblemDeclaration,
    SweepPlaceDeclaration,
)
from ..declare.operation import Operation
from ..errors import DeclarationError, nearest, one_line
from . import hookspecs
from .entries import BrokenPack, Call, Declared, PackWarning, Registered
from .hookspecs import HOOK_API
from .metadata import CORE, UNKNOWN, excluded_range, identity, requirements
from .registry import Registry, in_chain_order

GROUP = "boat"
#: The core's own plugins: modules that take part like those of packs.
DEFAULT_PLUGINS = ("boat_core.builtin",)
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
    "boat_sweep_places": SweepPlaceDeclaration,
    "boat_commands": CommandDeclaration,
}
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("boat_"))

_import_seconds: ContextVar[float] = ContextVar("boat_import_seconds", default=0.0)
_installed_as: ContextVar[Registry | None] = ContextVar("boat_installed_as", default=None)


class _SetAside(Exception):
    def __init__(self, cause: str, remedy: str, *more: tuple[str, str]) -> None:
        super().__init__(cause)
        self.cause, self.remedy, self.more = cause, remedy, more


def installed() -> Registry:
    """Return the registry of this process, built at the first call; inside `installed_as` the one given there."""
    registry = _installed_as.get()
    return _load_once() if registry is None else registry


@cache
def _load_once() -> Registry:
    return load_registry()


def installed_operation(distribution: str, name: str) -> Registered:
    """Return the operation of this name of an installed distribution.

    Raises:
        CompositionError: it is not installed; the message says what to install.
    """
    return installed().find(f"{distribution}:{name}")


# Operations hold functions and kernels. What is pickled is where they are installed.


def _pickled_operation(entry: Registered) -> Any:
    if entry not in installed().entries:
        raise PicklingError(f"operation {entry.origin} is not installed, so it cannot be pickled")
    return installed_operation, (entry.distribution, entry.name)


def _pickled_registry(registry: Registry) -> Any:
    if registry is not installed():
        raise PicklingError("only the registry of what is installed can be pickled")
    return installed, ()


copyreg.pickle(Registered, _pickled_operation)
copyreg.pickle(Registry, _pickled_registry)


@contextlib.contextmanager
def installed_as(registry: Registry) -> Iterator[Registry]:
    """Inside this block, `registry` stands for what is installed. Tests use it."""
    token = _installed_as.set(registry)
    try:
        yield registry
    finally:
        _installed_as.reset(token)


@contextlib.contextmanager
def limited_imports() -> Iterator[None]:
    """Inside this block, the import of a pack may take the seconds of `BOAT_IMPORT_SECONDS`, by default 20."""
    text = os.environ.get(SECONDS, "")
    try:
        seconds = float(text or DEFAULT_SECONDS)
    except ValueError:
        warnings.warn(f"{SECONDS}: expected a number of seconds (got {text!r})", PackWarning, stacklevel=2)
        seconds = DEFAULT_SECONDS
    token = _import_seconds.set(max(0.0, seconds))
    try:
        yield
    finally:
        _import_seconds.reset(token)


def load_registry(entry_points: Iterable[Any] | None = None) -> Registry:
    """Find packs, check them one by one, and collect what they declare.

    `BOAT_DISABLE_PLUGINS` (distribution or entry-point names separated by commas, or `all`) leaves packs out.

    Args:
        entry_points: the entry points to load; by default those of the installed distributions.
    """
    loader = _Loader()
    for module in DEFAULT_PLUGINS:
        loader.add(import_module(module), CORE, __version__, f"{CORE} {__version__}")
    points = find_entry_points(loader.set_aside) if entry_points is None else list(entry_points)
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",") if name.strip()}
    left_out = set()
    for point in sorted(points, key=lambda p: (*identity(p.dist), p.name)):
        distribution, version = identity(point.dist)
        if disabled & {"all", distribution, point.name}:
            left_out.add(distribution)
            continue
        try:
            _check_core_range(point.dist)
            with _limited(distribution):
                loader.add(_load(point), distribution, version, f"{distribution} {version} ({point.name})")
            loader.packs[distribution] = version
        except _SetAside as problem:
            causes = problem.cause, problem.remedy, problem.more
            loader.set_aside(BrokenPack(distribution, version, point.name, *causes))
    if left_out:
        warnings.warn(f"{DISABLE} switched off {', '.join(sorted(left_out))}", PackWarning, stacklevel=2)
    return loader.registry()


#: What of a `BrokenPack` may hold text of any length, which somebody else wrote.
_FROM_ELSEWHERE = ("distribution", "version", "entry_point", "cause", "remedy")


class _Loader:
    """Collects what plugins declare, one plugin at a time; a plugin that fails leaves nothing behind."""

    def __init__(self) -> None:
        # Compares the signatures of hooks with their specifications.
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self.packs: dict[str, str] = {}
        self._entries: list[Registered] = []
        self._declared: list[Declared] = []
        self._broken: list[BrokenPack] = []
        self._plugins: list[tuple[str, Any]] = []
        self._calls: list[Call] = []

    def registry(self) -> Registry:
        """Return the catalogue of everything that was added."""
        return Registry(
            dict(self.packs),
            in_chain_order(self._entries),
            tuple(self._declared),
            tuple(self._broken),
            tuple(self._plugins),
            tuple(self._calls),
        )

    def set_aside(self, pack: BrokenPack) -> None:
        """List a pack as broken, with one warning."""
        texts = {key: one_line(getattr(pack, key)) for key in _FROM_ELSEWHERE}
        pack = replace(pack, **texts, more=tuple((one_line(cause), one_line(remedy)) for cause, remedy in pack.more))
        self._broken.append(pack)
        warnings.warn(str(pack), PackWarning, stacklevel=3)

    def add(self, plugin: Any, distribution: str, version: str, name: str) -> None:
        """Collect what a plugin declares.

        Raises:
            _SetAside: the plugin, or something that it declares, is not valid.
        """
        try:
            if problems := list(_problems(plugin, distribution)):
                raise _SetAside(*problems[0], *problems[1:])
            self._manager.register(plugin, name=name)
            entries, declared, calls = self._collect(plugin, distribution, version)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, TookTooLong, _SetAside)):
                raise
            raise _SetAside(
                f"{type(error).__name__}: {error}",
                f"Tell its author (`boat ops check {distribution}` says more), or pip uninstall {distribution}",
            ) from error
        self._entries += entries
        self._declared += declared
        self._calls += calls
        self._plugins.append((name, plugin))

    def _collect(
        self, plugin: Any, distribution: str, version: str
    ) -> tuple[list[Registered], list[Declared], list[Call]]:
        entries: list[Registered] = []
        declared: list[Declared] = []
        calls = []
        for hook, kind in {**dict.fromkeys(STAGE_HOOKS, Operation), **DECLARATION_HOOKS}.items():
            function = getattr(plugin, hook, None)
            if function is None:
                continue
            values = _returned(hook, function(), kind)
            calls.append(Call(hook, distribution, version, ", ".join(value.name for value in values)))
            if kind is Operation:
                entries += [_registered(hook, operation, distribution, version) for operation in values]
            else:
                declared += [Declared(value, distribution, version) for value in values]
        names = [("operation", e.name) for e in [*self._entries, *entries] if e.distribution == distribution]
        names += [(d.declaration.kind, d.name) for d in declared]
        for kind_name, name in names:
            if names.count((kind_name, name)) > 1:
                raise DeclarationError(f"{kind_name} {name!r} is declared twice by this pack")
        return entries, declared, calls


def _registered(hook: str, operation: Operation, distribution: str, version: str) -> Registered:
    if operation.stage != STAGE_HOOKS[hook]:
        raise DeclarationError(f"{hook} returned {operation.name!r}, an operation of stage {operation.stage!r}")
    for kernel in operation.kernels:
        kernel.origin = f"{distribution} {version}"
    return Registered(operation, distribution, version)


def _returned(hook: str, values: Any, kind: type) -> list[Any]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DeclarationError(f"{hook} must return a list of {kind.__name__}", got=type(values).__name__)
    for value in values:
        if not isinstance(value, kind):
            raise DeclarationError(f"{hook} must return {kind.__name__} values", got=repr(value))
    return list(values)


def _problems(plugin: Any, distribution: str) -> Iterator[tuple[str, str]]:
    """Return what is wrong with a plugin before its hooks run: the cause and the remedy of each fault."""
    api = getattr(plugin, "BOAT_HOOK_API", None)
    if api != HOOK_API:
        remedy = f"pip install --upgrade {CORE if isinstance(api, int) and api > HOOK_API else distribution}"
        if api is None:
            remedy = f"Its author: set BOAT_HOOK_API = {HOOK_API} beside the hooks"
        yield f"its BOAT_HOOK_API is {api!r}, and this boat-core speaks {HOOK_API}", remedy
    functions = {name: getattr(plugin, name, None) for name in dir(plugin)}
    marked = {name for name, function in functions.items() if isinstance(getattr(function, "boat_impl", None), dict)}
    meant = marked | {name for name, f in functions.items() if name.startswith("boat_") and callable(f)}
    for name in sorted(meant):
        if name not in HOOKS:
            yield f"there is no hook {name!r}{nearest(name, HOOKS)}", "Its author: rename the function"
        elif name not in marked:
            yield f"{name} lacks the mark @boat_core.hookimpl", "Its author: mark the function"
    if not meant:
        yield "it implements no hook", "Its author: write one, marked with @boat_core.hookimpl"


def find_entry_points(unreadable: Callable[[BrokenPack], None]) -> list[Any]:
    """Return the entry points of our group, one distribution after another.

    Args:
        unreadable: called with each distribution whose metadata cannot be read. The others are not affected.
    """
    points, seen = [], set()
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt")
            if not text or f"[{GROUP}]" not in text.replace(" ", ""):
                continue
            name, version = identity(distribution)
            if name in seen and name != UNKNOWN:  # the same distribution, further down the path
                continue
            seen.add(name)
            selected = list(distribution.entry_points.select(group=GROUP))
            if broken := [point for point in selected if not point.pattern.match(point.value)]:
                raise ValueError(f"the entry point {broken[0].name} names no module: {broken[0].value!r}")
            points += selected
        except Exception as error:
            name, version = identity(distribution)
            cause = f"its entry points cannot be read ({type(error).__name__}: {error})"
            unreadable(BrokenPack(name, version, "?", cause, f"pip install --force-reinstall {name}"))
    return points


def _check_core_range(distribution: Any) -> None:
    """Compare what the pack requires of the core with the version that runs, before any code of the pack runs.

    Raises:
        _SetAside: it is made for another version, or its metadata cannot be read.
    """
    try:
        lines = requirements(distribution) if distribution else []
    except Exception as error:
        cause = f"its metadata cannot be read ({type(error).__name__}: {error})"
        raise _SetAside(cause, f"pip install --force-reinstall {identity(distribution)[0]}") from error
    excluded = excluded_range(lines, __version__)
    if excluded is not None:
        raise _SetAside(
            f"it is made for boat-core {excluded}, and {__version__} is installed",
            f"pip install --upgrade {identity(distribution)[0]} {CORE}",
        )


@contextlib.contextmanager
def _limited(distribution: str) -> Iterator[None]:
    """Give code of a pack its time, and keep what it prints out of what a command prints."""
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
