"""A chain of gradient-mapping operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .._layer.sequence import OperationSequence, make_chain
from ..utils.op_utils import DynamicalSystemRules
from ..utils.op_utils import adjust_order as validate_and_adjust_order

__all__ = ["SequentialDS", "makes_functional_dynamical_system", "validate_and_adjust_order"]


class SequentialDS(OperationSequence):
    """A chain whose operations have a method `optimize`. Its attributes are those of `OperationSequence`.

    Attributes:
        strategy: the strategy of DM, where DM is in the chain.
    """

    _results: ClassVar[str] = "dynamic_results"

    def optimize(self, **kwargs: Any) -> Any:
        """Call `optimize` of each."""
        return self._call_each("optimize", kwargs)

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
    return make_chain(SequentialDS, DynamicalSystemRules.get_gradient_order(), custom_order, kwargs)
