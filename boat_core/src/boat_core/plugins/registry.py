"""The catalogue: operations, optimizers, problems, observers, executors, places, commands, with who provides them.

`discovery.py` builds it once. It does not change afterwards. Two distributions may declare one name: both are then
listed as `distribution:NAME`, and only the bare name is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..declare.named import (
    CommandDeclaration,
    ExecutorDeclaration,
    ObserverDeclaration,
    OptimizerDeclaration,
    ProblemDeclaration,
    SweepPlaceDeclaration,
)
from ..declare.operation import ROLES, Alias, Operation
from ..errors import CompositionError, ConfigError, nearest, suggestion
from .entries import BrokenPack, Call, Declared, Registered, label
from .known_packs import published_names, published_operations, publisher, settle


def _matching(entries: Iterable[Any], name: str) -> list[Any]:
    return [entry for entry in entries if name in (entry.name, f"{entry.distribution}:{entry.name}")]


def in_chain_order(entries: Iterable[Registered]) -> tuple[Registered, ...]:
    """Return the entries with their addresses, by stage, then in the order in which they stand in a chain."""
    stages, entries = list(ROLES), list(entries)
    key = lambda e: (stages.index(e.operation.stage), e.operation.order, e.name, e.distribution)  # noqa: E731
    return tuple(sorted((replace(entry, address=label(entries, entry)) for entry in entries), key=key))


@dataclass(frozen=True, eq=False)
class Registry:
    """What is installed, as a value that does not change.

    Args:
        packs: the distributions that take part, with their versions.
        entries: the operations, in chain order.
        declared: everything else that configurations or the command line can name.
        broken: the packs that were set aside.
        plugins: the objects that implement hooks, with their names. The events of a run go to them.
        calls: the hooks that ran at discovery.
    """

    packs: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Registered, ...] = ()
    declared: tuple[Declared, ...] = ()
    broken: tuple[BrokenPack, ...] = ()
    plugins: tuple[tuple[str, Any], ...] = ()
    calls: tuple[Call, ...] = ()

    # A registry is a value: its copy is itself. `discovery.py` says how it is pickled.

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: Any) -> Registry:
        return self

    def adding(self, *declarations: Any, distribution: str, version: str) -> Registry:
        """Return a registry that lists these declarations too, as if that distribution provided them."""
        added = [Registered(one, distribution, version) for one in declarations if isinstance(one, Operation)]
        declared = [Declared(one, distribution, version) for one in declarations if not isinstance(one, Operation)]
        return replace(
            self,
            packs={**self.packs, distribution: version},
            entries=in_chain_order([*self.entries, *added]),
            declared=(*self.declared, *declared),
        )

    def operations(self, stage: str | None = None, role: str | None = None) -> list[Registered]:
        """Return the operations that solvers are made of, in chain order, of a stage or a role where one is given.

        Of several packs that declare the same name, only the one takes part that is known for the operation.
        """
        return [
            entry
            for entry in self._settled
            if stage in (None, entry.operation.stage) and role in (None, entry.operation.role)
        ]

    def with_only(self, entry: Registered) -> Registry:
        """Return a registry in which no other pack declares an operation of this name."""
        return replace(self, entries=in_chain_order(e for e in self.entries if e.name != entry.name or e == entry))

    @cached_property
    def _settled(self) -> tuple[Registered, ...]:
        by_name: dict[str, list[Registered]] = {}
        for entry in self.entries:
            by_name.setdefault(entry.name, []).append(entry)
        alone = [remaining[0] for entries in by_name.values() if len(remaining := settle(entries)) == 1]
        return tuple(entry for entry in self.entries if entry in alone)

    def defaults(self, stage: str, role: str) -> list[Registered]:
        """Return the operations of a role that complete a chain which names none; more than one is ambiguous."""
        candidates = [e for e in self.entries if (e.operation.stage, e.operation.role) == (stage, role)]
        return settle([entry for entry in candidates if entry.operation.default])

    def label(self, entry: Registered) -> str:
        """Return its name, or `distribution:NAME` where another distribution declares the same name."""
        return label(self.entries, entry)

    def find(self, name: str) -> Registered:
        """Return the operation called `name`, or `distribution:NAME`.

        Raises:
            CompositionError: unknown (with the nearest name), ambiguous (with both distributions), known but not
                installed (with the distribution to install), or in a pack that was set aside (with the cause).
        """
        entries: list[Registered] = _matching(self.entries, name)
        if len(entries) == 1:
            return entries[0]
        if entries:
            labels = sorted(f"{entry.distribution}:{entry.name}" for entry in entries)
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
        """Return the names of whole chains that the operations declare, without those that are ambiguous."""
        return {name: meanings[0][1] for name, meanings in self._aliases.items() if len(meanings) == 1}

    def alias(self, name: str) -> Alias:
        """Return the whole chain called `name`, with the addresses of the operations where two packs declare a name.

        Raises:
            CompositionError: the name is unknown (with the nearest), or two distributions mean different chains by it.
        """
        meanings = self._aliases.get(name, [])
        if len(meanings) > 1:
            chains = " or ".join(f"{alias} ({entry.distribution})" for entry, alias in meanings)
            raise CompositionError(f"method {name!r} is declared twice: write out {chains}")
        if not meanings:
            hint = suggestion(name, self.aliases()) or "no installed pack names one"
            raise CompositionError(f"no method {name!r}", hint=hint)
        owner, alias = meanings[0]
        return replace(
            alias,
            map=tuple(self._meant(owner, one) for one in alias.map),
            approximate=tuple(self._meant(owner, one) for one in alias.approximate),
            first_order=alias.first_order and self._meant(owner, alias.first_order),
        )

    def _meant(self, owner: Registered, name: str) -> str:
        """Return the address of the operation that the method of `owner` means by a name: its own comes first."""
        competing = [entry for entry in self.entries if entry.name == name]
        meant = [owner] if owner in competing else settle(competing)
        return meant[0].address if len(meant) == 1 else name

    @cached_property
    def _aliases(self) -> dict[str, list[tuple[Registered, Alias]]]:
        """The different chains that go by each name."""
        users: dict[str, list[Registered]] = {}
        for entry in self.entries:
            for alias in entry.operation.aliases:
                users.setdefault(alias.name, []).append(entry)
        meanings: dict[str, list[tuple[Registered, Alias]]] = {}
        for name, entries in users.items():
            chains = meanings.setdefault(name, [])
            for entry in settle(entries):
                for alias in entry.operation.aliases:
                    if alias.name == name and all(alias != other for _, other in chains):
                        chains.append((entry, alias))
        return meanings

    def problem_names(self) -> list[str]:
        """Return the problems that a configuration can name."""
        return self._labels(ProblemDeclaration)

    def problems(self) -> list[Declared]:
        """Return the problems that packs declare."""
        return self._of_kind(ProblemDeclaration)

    def problem_label(self, entry: Declared) -> str:
        """Return its name, or `distribution:NAME` where another distribution declares the same name."""
        return label(self.problems(), entry)

    def optimizers(self) -> list[Declared]:
        """Return the optimizers and transforms that a configuration can name."""
        return self._of_kind(OptimizerDeclaration)

    def optimizer_label(self, entry: Declared) -> str:
        """Return its name, or `distribution:NAME` where another distribution declares the same name."""
        return label(self.optimizers(), entry)

    def optimizer(self, name: str) -> OptimizerDeclaration:
        """Return the optimizer called `name`, or raise `ConfigError` with the nearest."""
        declaration: OptimizerDeclaration = self._declared(OptimizerDeclaration, name).declaration
        return declaration

    def problem(self, name: str) -> ProblemDeclaration:
        """Return the problem called `name`, or raise `ConfigError` with the nearest."""
        declaration: ProblemDeclaration = self._declared(ProblemDeclaration, name).declaration
        return declaration

    def observer(self, name: str) -> Declared:
        """Return the observer called `name`, or raise `ConfigError` with the nearest."""
        return self._declared(ObserverDeclaration, name)

    def executor(self, name: str) -> Declared:
        """Return the executor called `name`, or raise `ConfigError` with the nearest."""
        return self._declared(ExecutorDeclaration, name)

    def place(self, name: str) -> Declared:
        """Return the place of sweeps called `name`, or raise `ConfigError` with the nearest."""
        return self._declared(SweepPlaceDeclaration, name)

    def commands(self) -> list[Declared]:
        """Return the verbs that packs add to the command `boat`."""
        return self._of_kind(CommandDeclaration)

    def _declared(self, kind: Any, name: str) -> Declared:
        entries: list[Declared] = _matching(self._of_kind(kind), name)
        if len(entries) == 1:
            return entries[0]
        if entries:
            both = " or ".join(sorted(f"{entry.distribution}:{entry.name}" for entry in entries))
            raise ConfigError(f"{kind.kind} {name!r} is declared twice: write {both}")
        message, hint = self.explain_absent(kind, name)
        raise ConfigError(message, hint=hint)

    def explain_absent(self, kind: Any, name: str) -> tuple[str, str | None]:
        """Return why there is no declaration of this kind and name, and what may help."""
        described, distribution = f"{kind.kind} {name!r}", publisher(kind.kind, name)
        for pack in self.broken:
            if pack.distribution == distribution:
                return f"{described} is in a pack that was set aside: {pack}", None
        if distribution and distribution not in self.packs:
            return f"{described} is in {distribution}, which is not installed", f"pip install {distribution}"
        return f"no {described}", suggestion(name, [*self._labels(kind), *published_names(kind.kind)])

    def _of_kind(self, kind: type) -> list[Declared]:
        return [entry for entry in self.declared if isinstance(entry.declaration, kind)]

    def _labels(self, kind: type) -> list[str]:
        entries = self._of_kind(kind)
        return [label(entries, entry) for entry in entries]
