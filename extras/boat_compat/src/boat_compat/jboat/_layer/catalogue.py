"""Where the names of a boat_config are looked up: the classes that a script registers, then BOAT's operations."""

from __future__ import annotations

from boat_core import Operation, Registry, installed

Classes = dict[str, type]

#: The attribute by which the layer's own classes say which operation of BOAT's they stand for.
STANDS_FOR = "operation"


class Catalogue:
    """What can be named.

    Args:
        classes: the registered classes by name, `Operation_REGISTRY`.
    """

    def __init__(self, classes: Classes) -> None:
        self._classes = classes

    def foreign(self, name: str) -> type | None:
        """Return the class of that name if a script has registered it."""
        cls = self._classes.get(name)
        return cls if cls is not None and STANDS_FOR not in vars(cls) else None

    def own(self, name: str) -> type | None:
        """Return the layer's class of that name, or None."""
        cls = self._classes.get(name)
        return cls if cls is not None and STANDS_FOR in vars(cls) else None

    def operation(self, name: str) -> Operation:
        """Return BOAT's operation of that name.

        Raises:
            CompositionError: there is none; with the nearest name, or the distribution that has it.
        """
        return installed().find(name).operation

    def labels(self, name: str) -> frozenset[str]:
        """Return what an operation is known by. Raises `CompositionError` for an unknown name."""
        return frozenset({name}) if self.foreign(name) else self.operation(name).labels

    def registry(self, operations: list[Operation], distribution: str) -> Registry:
        """Return what is installed, with more operations under a distribution."""
        registry = installed()
        version = registry.packs.get(distribution, "0")
        return registry.adding(*operations, distribution=distribution, version=version)
