"""What is installed: operations, optimizers, problems and observers, each with the distribution that brought it.

`discovery.py` finds it; here it is looked up. Two distributions may bring one name: both are listed as
`distribution:NAME`, and only the bare name is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pluggy

from ..declare.named import (
    CommandDeclaration,
    ExecutorDeclaration,
    ObserverDeclaration,
    OptimizerDeclaration,
    ProblemDeclaration,
)
from ..declare.operation import Alias, Operation
from ..errors import CompositionError, ConfigError, DeclarationError, nearest
from .known_packs import published_names, published_operations, publisher


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

    @property
    def origin(self) -> str:
        """Its name with the distribution and version that brought it."""
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def named(self) -> str:
        """Its name, with the distribution and version where users may not know whose it is."""
        return self.name if self.published else self.origin

    @property
    def published(self) -> bool:
        """Whether that distribution is known to publish it."""
        return self.name in published_operations().get(self.distribution, ())


@dataclass(frozen=True)
class Declared:
    """An optimizer, a problem or an observer, and the distribution that brought it."""

    declaration: Any
    distribution: str
    version: str

    @property
    def name(self) -> str:
        name: str = self.declaration.name
        return name

    @property
    def origin(self) -> str:
        """The distribution and version that brought it, with its name: as plugins are called."""
        return f"{self.distribution} {self.version} ({self.name})"


@dataclass(frozen=True)
class Call:
    """A hook of a pack, or an operation, that ran, and what it gave."""

    what: str
    distribution: str
    version: str
    gave: str = ""


@dataclass(frozen=True)
class BrokenPack:
    """A pack that was set aside: who, why, and what to do; `more` are further causes and remedies seen with it."""

    distribution: str
    version: str
    entry_point: str
    cause: str
    remedy: str
    more: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point}) was set aside: {self.cause}. {self.remedy}"


Entry = Registered | Declared


def label(entries: Iterable[Entry], entry: Entry) -> str:
    """Its name, or `distribution:NAME` where two of the distributions have one of that name."""
    twins = {e.distribution for e in entries if e.name == entry.name}
    return entry.name if len(twins) <= 1 else f"{entry.distribution}:{entry.name}"


def _matching(entries: Iterable[Any], name: str) -> list[Any]:
    return [e for e in entries if name in (e.name, f"{e.distribution}:{e.name}")]


@dataclass
class Registry:
    """What is installed. `load_registry` builds one; `registry()` is the one of this process."""

    manager: pluggy.PluginManager
    #: The distributions that take part: name -> version.
    packs: dict[str, str] = field(default_factory=dict)
    entries: list[Registered] = field(default_factory=list)
    declared: list[Declared] = field(default_factory=list)
    broken: list[BrokenPack] = field(default_factory=list)
    #: Hooks that ran, in the order of their first calls, and how often.
    calls: dict[Call, int] = field(default_factory=dict)
    #: Observers that raised and were switched off since: what, and why.
    switched_off: list[str] = field(default_factory=list)

    def operations(self, stage: str | None = None, role: str | None = None) -> list[Registered]:
        """The usable operations, those whose bare name is unique, in chain order."""
        chosen = [e for e in self.entries if stage in (None, e.operation.stage) and role in (None, e.operation.role)]
        return [e for e in chosen if self.label(e) == e.name]

    def label(self, entry: Registered) -> str:
        """Its name, or `distribution:NAME` where two distributions declare the same."""
        return label(self.entries, entry)

    def find(self, name: str) -> Registered:
        """Return the operation called `name` (or `distribution:NAME`).

        Raises:
            CompositionError: unknown (with the nearest name), ambiguous (with both distributions), known but not
                installed (with the distribution to install), or in a pack that was set aside (with the cause).
        """
        found: list[Registered] = _matching(self.entries, name)
        if len(found) == 1:
            return found[0]
        if found:
            labels = sorted(f"{e.distribution}:{e.name}" for e in found)
            raise CompositionError(f"operation {name!r} is declared twice: write {' or '.join(labels)}")
        raise CompositionError(self._absent(name))

    def _absent(self, name: str) -> str:
        whose, _, bare = name.rpartition(":")
        for distribution, names in published_operations().items():
            if bare not in names:
                continue
            for pack in self.broken:
                if pack.distribution == distribution:
                    return f"operation {name!r} is in a pack that was set aside: {pack}"
            return f"operation {name!r} is in {distribution}, which is not installed; pip install {distribution}"
        for pack in self.broken:
            if pack.distribution == whose:
                return f"operation {name!r} is in a pack that was set aside: {pack}"
        if bare in self.aliases():
            return f"{name!r} is a whole solver, not an operation; write method: {name}"
        known = [self.label(e) for e in self.entries] + [n for ns in published_operations().values() for n in ns]
        aside = "".join(f"; or is it in a pack that was set aside? {pack}" for pack in self.broken)
        return f"no operation {name!r}{nearest(name, known) or '; no operations are installed'}{aside}"

    def aliases(self) -> dict[str, Alias]:
        """Other names for whole chains, as the installed operations declare them; those that are unambiguous."""
        return {name: found[0][1] for name, found in self._aliases().items() if len(found) == 1}

    def alias(self, name: str) -> Alias:
        """Return the whole chain called `name`.

        Raises:
            CompositionError: unknown (with the nearest), or two distributions mean different chains by it.
        """
        found = self._aliases().get(name, [])
        if len(found) > 1:
            chains = " or ".join(f"{alias} ({entry.distribution})" for entry, alias in found)
            raise CompositionError(f"method {name!r} is declared twice: write out {chains}")
        if not found:
            raise CompositionError(
                f"no method {name!r}{nearest(name, self.aliases()) or '; no installed pack names one'}"
            )
        return found[0][1]

    def _aliases(self) -> dict[str, list[tuple[Registered, Alias]]]:
        """Name -> the different chains that go by it; one from where it is known to be published goes before others."""
        found: dict[str, list[tuple[Registered, Alias]]] = {}
        for entry in sorted(self.operations(), key=lambda e: not e.published):
            for alias in entry.operation.aliases:
                chains = found.setdefault(alias.name, [])
                if all(other != alias and not known.published for known, other in chains):
                    chains.append((entry, alias))
        return found

    def problem_names(self) -> list[str]:
        """The problems that a configuration can name."""
        return self._labels(ProblemDeclaration)

    def optimizers(self) -> list[Declared]:
        """The optimizers and transforms that a configuration can name."""
        return self._of_kind(OptimizerDeclaration)

    def optimizer_label(self, entry: Declared) -> str:
        """Its name, or `distribution:NAME` where two distributions declare the same."""
        return label(self.optimizers(), entry)

    def optimizer(self, name: str) -> OptimizerDeclaration:
        """Return the optimizer called `name`, or raise `ConfigError` with the nearest."""
        found: OptimizerDeclaration = self._declared(OptimizerDeclaration, name).declaration
        return found

    def problem(self, name: str) -> ProblemDeclaration:
        """Return the problem called `name`, or raise `ConfigError` with the nearest."""
        found: ProblemDeclaration = self._declared(ProblemDeclaration, name).declaration
        return found

    def observer(self, name: str) -> Declared:
        """Return the observer called `name`, or raise `ConfigError` with the nearest."""
        return self._declared(ObserverDeclaration, name)

    def executor(self, name: str) -> Declared:
        """Return the executor called `name`, or raise `ConfigError` with the nearest."""
        return self._declared(ExecutorDeclaration, name)

    def commands(self) -> list[Declared]:
        """The verbs that packs add to the command `boat`."""
        return self._of_kind(CommandDeclaration)

    def _declared(self, kind: Any, name: str) -> Declared:
        found: list[Declared] = _matching(self._of_kind(kind), name)
        if len(found) == 1:
            return found[0]
        if found:
            both = " or ".join(sorted(f"{e.distribution}:{e.name}" for e in found))
            raise ConfigError(f"{kind.kind} {name!r} is declared twice: write {both}")
        raise ConfigError(self.explain_absent(kind, name))

    def explain_absent(self, kind: Any, name: str) -> str:
        """Say why there is no declaration of this kind and name, and what to install where that is known."""
        described, distribution = f"{kind.kind} {name!r}", publisher(kind.kind, name)
        for pack in self.broken:
            if pack.distribution == distribution:
                return f"{described} is in a pack that was set aside: {pack}"
        if distribution and distribution not in self.packs:
            return f"{described} is in {distribution}, which is not installed; pip install {distribution}"
        return f"no {described}{nearest(name, [*self._labels(kind), *published_names(kind.kind)])}"

    def _of_kind(self, kind: type) -> list[Declared]:
        return [entry for entry in self.declared if isinstance(entry.declaration, kind)]

    def _labels(self, kind: type) -> list[str]:
        entries = self._of_kind(kind)
        return [label(entries, entry) for entry in entries]

    def notify(self, hook: str, **values: Any) -> None:
        """Call an observer hook; an observer that raises is reported once and switched off, the run goes on.

        The one registered last is called first.
        """
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            self._count(hook, implementation.plugin)
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception as error:
                self._switch_off(implementation, hook, error)

    def _count(self, hook: str, plugin: Any) -> None:
        name = self.manager.get_name(plugin) or ""
        distribution, _, version = name.partition(" ")
        gave = ""
        if name.isdigit():  # an object that a program or a command handed over
            distribution, version, gave = type(plugin).__module__, "", type(plugin).__qualname__
        call = Call(hook, distribution, version.partition(" ")[0], gave)
        self.calls[call] = self.calls.get(call, 0) + 1

    def _switch_off(self, implementation: Any, hook: str, error: Exception) -> None:
        plugin = implementation.plugin
        named = self.manager.get_name(plugin) or ""
        whose = named if not named.isdigit() else type(plugin).__qualname__
        said = f"observer {whose} was switched off: {type(error).__name__} in {hook}: {error}"
        self.switched_off.append(said)
        self.manager.unregister(plugin)
        warnings.warn(f"{said}. The run goes on without it", PackWarning, stacklevel=3)

    def observe(self, observer: Any, origin: str | None = None) -> None:
        """Let an object with marked observer hooks take part from now on; `origin` says whose it is.

        Raises:
            DeclarationError: a hook of it is unknown or takes an argument that it is not given; it takes no part.
        """
        try:
            self.manager.register(observer, name=origin)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            self.forget(observer)
            raise DeclarationError(f"observer {origin or type(observer).__qualname__}: {error}") from None

    def forget(self, *observers: Any) -> None:
        """Undo `observe`; observers that were switched off in between are fine."""
        for observer in observers:
            if self.manager.is_registered(observer):
                self.manager.unregister(observer)


@lru_cache(maxsize=1)
def registry() -> Registry:
    """Deprecated name of `discovery.installed`."""
    from .discovery import installed

    return installed()
