"""A chain of numerical-approximation operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..operation_registry import get_registered_operation
from ..utils.op_utils import HyperGradientRules, ResultStore, adjust_order


def validate_and_adjust_order(custom_order: Sequence[str], gradient_order: Sequence[Sequence[str]]) -> list[str]:
    """Return the operations of `custom_order` in the order of the groups, each once.

    An operation that no group lists keeps its place. JBOAT would leave it out.
    """
    return adjust_order(custom_order, gradient_order)


class SequentialHG:
    """Calls the operations of a chain one after another, each with what the one before returned.

    Attributes:
        gradient_instances: the objects, in the order in which they act.
        custom_order: the names, as they were given.
        result_store: what each of them returned.
    """

    def __init__(self, ordered_instances: Sequence[Any], custom_order: Sequence[str]) -> None:
        self.gradient_instances, self.custom_order = list(ordered_instances), list(custom_order)
        self.result_store = ResultStore()

    def compute_gradients(self, **kwargs: Any) -> Any:
        """Call `compute_gradients` of each."""
        self.result_store.clear()
        result: Any = kwargs
        for place, instance in enumerate(self.gradient_instances):
            after = self.gradient_instances[place + 1 :]
            arguments = {**result, "next_operation": type(after[0]).__name__ if after else None}
            result = instance.compute_gradients(**arguments)
            self.result_store.add(f"gradient_operator_results_{place}", result)
        return result


def makes_functional_na_operation(custom_order: Sequence[str], **kwargs: Any) -> SequentialHG:
    """Return the chain of these operations.

    Args:
        custom_order: their names, in any order.
        kwargs: the arguments of their constructors.

    Raises:
        CompositionError: a name is not registered. This is a ValueError.
    """
    classes = {name: get_registered_operation(name) for name in custom_order}
    order = validate_and_adjust_order(custom_order, HyperGradientRules.get_gradient_order())
    return SequentialHG([classes[name](**kwargs) for name in order], custom_order)
