"""Which operations, optimizers and problems are installed, found by the entry points of group "boat".

A pack that cannot be used (does not import, is not for this version, declares nonsense) is set aside with one warning
and listed as broken; everything else works as if it were not installed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from types import ModuleType
from typing import Any

import importlib_metadata
import pluggy

from . import hookspecs
from .declarations import OptimizerDeclaration, ProblemDeclaration
from .errors import CompositionError, ConfigError, DeclarationError, nearest
from .hookspecs import HOOK_API
from .operation import Alias, Operation

GROUP = "boat"
CORE = "boat-core"

_STAGE_HOOKS = {
    "boat_map_operations": "map",
    "boat_approximate_operations": "approximate",
    "boat_first_order_operations": "first-order",
}


class PackWarning(UserWarning):
    """A pack was set aside, or an observer switched off."""


@dataclass(frozen=True)
class Registered:
    """An operation and the distribution that brought it."""

    operation: Operation
    distribution: str
    version: str

    @property
    def name(self) -> str:
        return self.operation.name


@dataclass(frozen=True)
class BrokenPack:
    """A pack that was set aside: who, why, and what to do."""

    distribution: str
    version: str
    entry_point: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point}) was set aside: {self.cause}. {self.remedy}"


class _SetAside(Exception):
    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause, self.remedy = cause, remedy


@dataclass
class Registry:
    """What is installed. Build one with `load_registry`; `registry()` is the one of this process."""

    manager: pluggy.PluginManager
    entries: list[Registered] = field(default_factory=list)
    optimizers: dict[str, OptimizerDeclaration] = field(default_factory=dict)
    problems: dict[str, ProblemDeclaration] = field(default_factory=dict)
    broken: list[BrokenPack] = field(default_factory=list)

    def operations(self, stage: str | None = None, role: str | None = None) -> list[Registered]:
        """The usable operations, those whose bare name is unique, in chain order."""
        chosen = [e for e in self.entries if stage in (None, e.operation.stage) and role in (None, e.operation.role)]
        return [e for e in chosen if self.label(e) == e.name]

    def label(self, entry: Registered) -> str:
        """Its name, or `distribution:NAME` where two distributions declare the same."""
        twins = {e.distribution for e in self.entries if e.name == entry.name}
        return entry.name if len(twins) == 1 else f"{entry.distribution}:{entry.name}"

    def find(self, name: str) -> Registered:
        """Return the operation called `name` (or `distribution:NAME`).

        Raises:
            CompositionError: unknown (with the nearest name), ambiguous (with both distributions), known but not
                installed (with the distribution to install), or in a pack that was set aside (with the cause).
        """
        found = [e for e in self.entries if name in (e.name, f"{e.distribution}:{e.name}")]
        if len(found) == 1:
            return found[0]
        if found:
            labels = " and ".join(sorted(f"{e.distribution}:{e.name}" for e in found))
            raise CompositionError(f"operation {name!r} is declared twice: write {labels.replace(' and ', ' or ')}")
        raise CompositionError(self._absent(name))

    def _absent(self, name: str) -> str:
        bare = name.rpartition(":")[2]
        for distribution, names in published_operations().items():
            if bare not in names:
                continue
            for pack in self.broken:
                if pack.distribution == distribution:
                    return f"operation {name!r} is in a pack that was set aside: {pack}"
            return f"operation {name!r} is in {distribution}, which is not installed; pip install {distribution}"
        if bare in self.aliases():
            return f"{name!r} is a whole solver, not an operation; write method: {name}"
        known = [self.label(e) for e in self.entries] + [n for ns in published_operations().values() for n in ns]
        return f"no operation {name!r}{nearest(name, known) or '; no operations are installed'}"

    def aliases(self) -> dict[str, Alias]:
        """Other names for whole chains, as the installed operations declare them."""
        return {alias.name: alias for e in self.operations() for alias in e.operation.aliases}

    def optimizer(self, name: str) -> OptimizerDeclaration:
        """Return the optimizer called `name`, or raise `ConfigError` with the nearest."""
        if name not in self.optimizers:
            raise ConfigError(f"no optimizer {name!r}{nearest(name, self.optimizers)}")
        return self.optimizers[name]

    def notify(self, hook: str, **values: Any) -> None:
        """Call an observer hook; an observer that raises is reported once and switched off, the run goes on.

        The one registered last is called first.
        """
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception as error:
                plugin = implementation.plugin
                name = implementation.plugin_name if isinstance(plugin, ModuleType) else type(plugin).__qualname__
                cause = f"{type(error).__name__} in {hook}: {error}"
                warnings.warn(f"observer {name} was switched off: {cause}", PackWarning, stacklevel=2)
                self.manager.unregister(plugin)

    def observe(self, *observers: Any) -> None:
        """Let objects with marked observer hooks take part from now on."""
        for observer in observers:
            self.manager.register(observer)

    def forget(self, *observers: Any) -> None:
        """Undo `observe`; observers that were switched off in between are fine."""
        for observer in observers:
            if self.manager.is_registered(observer):
                self.manager.unregister(observer)


@lru_cache(maxsize=1)
def published_operations() -> dict[str, list[str]]:
    """Which distribution publishes which operations, installed or not: data, read from `published.txt`."""
    text = resources.files("boat_core").joinpath("published.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {distribution: names for distribution, *names in rows}


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The registry of this process, built at the first call."""
    return load_registry()


def load_registry(entry_points: Iterable[Any] | None = None) -> Registry:
    """Find packs, check them one by one, and collect what they declare.

    `BOAT_DISABLE_PLUGINS` (distribution or entry-point names separated by commas, or `all`) leaves packs out.
    """
    from . import optimizers

    manager = pluggy.PluginManager("boat")
    manager.add_hookspecs(hookspecs)
    result = Registry(manager)
    _register(result, optimizers, CORE, importlib_metadata.version(CORE), CORE)
    found = importlib_metadata.entry_points(group=GROUP) if entry_points is None else entry_points
    disabled = {name.strip() for name in os.environ.get("BOAT_DISABLE_PLUGINS", "").split(",") if name.strip()}
    switched_off = []
    for point in sorted(found, key=lambda p: (p.dist.name if p.dist else "", p.name)):
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
        if disabled & {"all", distribution, point.name}:
            switched_off.append(distribution)
            continue
        try:
            _check_core_range(point.dist)
            _register(result, _load(point), distribution, version, f"{distribution}:{point.name}")
        except _SetAside as problem:
            pack = BrokenPack(distribution, version, point.name, problem.cause, problem.remedy)
            result.broken.append(pack)
            warnings.warn(str(pack), PackWarning, stacklevel=2)
    if switched_off:
        names = ", ".join(sorted(set(switched_off)))
        warnings.warn(f"BOAT_DISABLE_PLUGINS switched off {names}", PackWarning, stacklevel=2)
    result.entries.sort(key=lambda e: (list(_STAGE_HOOKS.values()).index(e.operation.stage), e.operation.order, e.name))
    return result


def _check_core_range(distribution: Any) -> None:
    """Compare the pack's Requires-Dist on the core with what runs, before any of the pack's code does."""
    from packaging.requirements import InvalidRequirement, Requirement

    ours = importlib_metadata.version(CORE)
    for line in (distribution.requires if distribution else None) or []:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        fits = requirement.specifier.contains(ours, prereleases=True)
        if requirement.name.replace("_", "-").lower() == CORE and not fits:
            raise _SetAside(
                f"it is made for boat-core {requirement.specifier}, and {ours} is installed",
                f"pip install --upgrade {distribution.name} {CORE}",
            )


def _load(point: Any) -> ModuleType:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _SetAside(
            f"its import failed with {type(error).__name__}: {error}",
            f"Mend or uninstall it; `python -c 'import {point.module}'` shows the whole error",
        ) from error


def _register(result: Registry, plugin: ModuleType, distribution: str, version: str, name: str) -> None:
    api = getattr(plugin, "BOAT_HOOK_API", None)
    if api != HOOK_API:
        raise _SetAside(
            f"its BOAT_HOOK_API is {api!r}, and this boat-core speaks {HOOK_API}",
            "Install a release of the pack made for this boat-core",
        )
    _check_marks(plugin)
    try:
        result.manager.register(plugin, name=name)
        entries, optimizers, problems = _collect(result, plugin, distribution, version)
    except (Exception, SystemExit) as error:
        if result.manager.has_plugin(name):
            result.manager.unregister(name=name)
        if isinstance(error, _SetAside):
            raise
        raise _SetAside(
            f"{type(error).__name__}: {error}", "Tell its author; `boat ops doctor` repeats this"
        ) from error
    result.entries += entries
    result.optimizers |= optimizers
    result.problems |= problems


def _check_marks(plugin: ModuleType) -> None:
    """Refuse hooks of unknown names, and a plugin whose functions look like hooks but carry no mark."""
    known = [name for name in vars(hookspecs) if name.startswith("boat_")]
    ours = [(n, f) for n, f in vars(plugin).items() if n.startswith("boat_") and callable(f)]
    for name, function in ours:
        if not hasattr(function, "boat_impl"):
            raise _SetAside(f"{name} lacks the mark @boat_core.hookimpl", "Mark it")
        if name not in known:
            raise _SetAside(f"there is no hook {name!r}{nearest(name, known)}", "Rename it")
    if not ours:
        raise _SetAside("it implements no hook", "Mark its functions with @boat_core.hookimpl")


def _collect(
    result: Registry, plugin: ModuleType, distribution: str, version: str
) -> tuple[list[Registered], dict[str, OptimizerDeclaration], dict[str, ProblemDeclaration]]:
    entries = []
    for hook, stage in _STAGE_HOOKS.items():
        for operation in _declared(result, hook, plugin, Operation):
            if operation.stage != stage:
                raise DeclarationError(f"{hook} returned {operation.name!r}, an operation of stage {operation.stage!r}")
            entries.append(Registered(operation, distribution, version))
    optimizers = {d.name: d for d in _declared(result, "boat_optimizers", plugin, OptimizerDeclaration)}
    problems = {d.name: d for d in _declared(result, "boat_problems", plugin, ProblemDeclaration)}
    for kind, new, old in (("optimizer", optimizers, result.optimizers), ("problem", problems, result.problems)):
        for name in new:
            if name in old:
                raise DeclarationError(f"{kind} {name!r} is declared already by another pack")
    return entries, optimizers, problems


def _declared(result: Registry, hook: str, plugin: ModuleType, kind: type) -> Iterator[Any]:
    for implementation in getattr(result.manager.hook, hook).get_hookimpls():
        if implementation.plugin is not plugin:
            continue
        values = implementation.function()
        if not isinstance(values, Sequence):
            raise DeclarationError(f"{hook} must return a list of {kind.__name__} (got {type(values).__name__})")
        for value in values:
            if not isinstance(value, kind):
                raise DeclarationError(f"{hook} must return {kind.__name__} values (got {value!r})")
            yield value
