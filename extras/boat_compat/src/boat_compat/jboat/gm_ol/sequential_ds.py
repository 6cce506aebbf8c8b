"""A chain of gradient-mapping operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..operation_registry import get_registered_operation
from ..utils.op_utils import DynamicalSystemRules, ResultStore, adjust_order


def validate_and_adjust_order(custom_order: Sequence[str], gradient_order: Sequence[Sequence[str]]) -> list[str]:
    """Return the operations of `custom_order` in the order of the groups, each once.

    An operation that no group lists keeps its place. JBOAT would leave it out.
    """
    return adjust_order(custom_order, gradient_order)


class SequentialDS:
    """Calls the operations of a chain one after another, each with what the one before returned.

    Attributes:
        gradient_instances: the objects, in the order in which they act.
        custom_order: the names, as they were given.
        result_store: what each of them returned.
        strategy: the strategy of DM, where DM is in the chain.
    """

    def __init__(self, ordered_instances: Sequence[Any], custom_order: Sequence[str]) -> None:
        self.gradient_instances, self.custom_order = list(ordered_instances), list(custom_order)
        self.result_store = ResultStore()

    def optimize(self, **kwargs: Any) -> Any:
        """Call `optimize` of each."""
        self.result_store.clear()
        result: Any = kwargs
        for place, instance in enumerate(self.gradient_instances):
            after = self.gradient_instances[place + 1 :]
            arguments = {**result, "next_operation": type(after[0]).__name__ if after else None}
            result = instance.optimize(**arguments)
            self.result_store.add(f"dynamic_results_{place}", result)
        return result

    @property
    def strategy(self) -> Any:
        """The strategy of DM."""
        return next((i.strategy for i in self.gradient_instances if hasattr(i, "strategy")), None)

    @strategy.setter
    def strategy(self, value: Any) -> None:
        for instance in self.gradient_instances:
            if hasattr(instance, "strategy"):
                instance.strategy = value


def makes_functional_dynamical_system(custom_order: Sequence[str], **kwargs: Any) -> SequentialDS:
    """Return the chain of these operations.

    Args:
        custom_order: their names, in any order.
        kwargs: the arguments of their constructors.

    Raises:
        CompositionError: a name is not registered. This is a ValueError.
    """
    classes = {name: get_registered_operation(name) for name in custom_order}
    order = validate_and_adjust_order(custom_order, DynamicalSystemRules.get_gradient_order())
    return SequentialDS([classes[name](**kwargs) for name in order], custom_order)
