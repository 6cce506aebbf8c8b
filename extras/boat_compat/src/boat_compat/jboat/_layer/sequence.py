"""What the two chains of operations share: the order of the operations, and calling them one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from ..operation_registry import get_registered_operation
from ..utils.op_utils import ResultStore, adjust_order


class OperationSequence:
    """Calls the operations of a chain one after another, each with what the one before returned.

    Attributes:
        gradient_instances: the objects, in the order in which they act.
        custom_order: the names, as they were given.
        result_store: what each of them returned.
    """

    #: How the results of the operations are called in `result_store`.
    _results: ClassVar[str]

    def __init__(self, ordered_instances: Sequence[Any], custom_order: Sequence[str]) -> None:
        self.gradient_instances, self.custom_order = list(ordered_instances), list(custom_order)
        self.result_store = ResultStore()

    def _call_each(self, method: str, arguments: dict[str, Any]) -> Any:
        self.result_store.clear()
        result: Any = arguments
        for place, instance in enumerate(self.gradient_instances):
            after = self.gradient_instances[place + 1 :]
            following = type(after[0]).__name__ if after else None
            result = getattr(instance, method)(**{**result, "next_operation": following})
            self.result_store.add(f"{self._results}_{place}", result)
        return result


Chain = TypeVar("Chain", bound=OperationSequence)


def make_chain(kind: type[Chain], order: Sequence[Sequence[str]], names: Sequence[str], arguments: Any) -> Chain:
    """Return the chain of the operations called `names`, in the order of the groups.

    Raises:
        CompositionError: a name is not registered. This is a ValueError.
    """
    classes = {name: get_registered_operation(name) for name in names}
    return kind([classes[name](**arguments) for name in adjust_order(names, order)], names)
