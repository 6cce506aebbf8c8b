"""Where the names of a boat_config are looked up: the classes that a script registers, then BOAT's operations."""

from __future__ import annotations

from boat_core import CompositionError, Operation, Registry, installed

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

    def operation(self, name: str) -> Operation:
        """Return BOAT's operation of that name.

        Raises:
            CompositionError: there is none; with the nearest name, or the distribution that has it.
        """
        return installed().find(name).operation

    def labels(self, name: str, stage: str | None = None) -> frozenset[str]:
        """Return what an operation is known by.

        Raises:
            CompositionError: the name is unknown, or an operation of another stage.
        """
        foreign = self.foreign(name)
        if foreign is None:
            operation = self.operation(name)
            if stage not in (None, operation.stage):
                raise CompositionError(f"{name} is an operation of stage {operation.stage}, not {stage}")
            return operation.labels
        method = "compute_gradients" if stage == "approximate" else "optimize"
        if stage is not None and not callable(getattr(foreign, method, None)):
            raise CompositionError(f"{name} has no method {method}", hint=f"it was registered as {foreign!r}")
        return frozenset({name})

    def registry(self, operations: list[Operation], distribution: str) -> Registry:
        """Return what is installed, with more operations under a distribution."""
        registry = installed()
        version = registry.packs.get(distribution, "0")
        return registry.adding(*operations, distribution=distribution, version=version)
