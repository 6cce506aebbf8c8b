"""A chain of numerical-approximation operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .._layer.sequence import OperationSequence, make_chain
from ..utils.op_utils import HyperGradientRules
from ..utils.op_utils import adjust_order as validate_and_adjust_order

__all__ = ["SequentialHG", "makes_functional_na_operation", "validate_and_adjust_order"]


class SequentialHG(OperationSequence):
    """A chain whose operations have a method `compute_gradients`. Its attributes are those of `OperationSequence`."""

    _results: ClassVar[str] = "gradient_operator_results"

    def compute_gradients(self, **kwargs: Any) -> Any:
        """Call `compute_gradients` of each."""
        return self._call_each("compute_gradients", kwargs)


def makes_functional_na_operation(custom_order: Sequence[str], **kwargs: Any) -> SequentialHG:
    """Return the chain of these operations.

    Args:
        custom_order: their names, in any order.
        kwargs: the arguments of their constructors.

    Raises:
        CompositionError: a name is not registered. This is a ValueError.
    """
    return make_chain(SequentialHG, HyperGradientRules.get_gradient_order(), custom_order, kwargs)
