"""The base class of the numerical-approximation operations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..operation_registry import register_class


@register_class
class HyperGradient:
    """Turns the lower trajectory into a gradient of the upper variables.

    Args:
        ll_objective: the lower loss, `f(ll_feed_dict, ul_model, ll_model, **keywords)`.
        ul_objective: the upper loss, with the same signature.
        ul_model, ll_model: the models.
        ll_var, ul_var: the lists of lower and upper variables.
        solver_config: the boat_config.
    """

    #: BOAT's operation that the class stands for.
    operation: ClassVar[str] = ""

    def __init__(
        self,
        ll_objective: Callable[..., Any],
        ul_objective: Callable[..., Any],
        ul_model: Any,
        ll_model: Any,
        ll_var: Sequence[Any],
        ul_var: Sequence[Any],
        solver_config: dict[str, Any],
    ) -> None:
        self.ll_objective, self.ul_objective = ll_objective, ul_objective
        self.ul_model, self.ll_model = ul_model, ll_model
        self.ll_var, self.ul_var = ll_var, ul_var
        self.solver_configs = self.solver_config = solver_config

    @abstractmethod
    def compute_gradients(self, **kwargs: Any) -> Any:
        """Add the gradient to `_custom_grad` of the upper variables. Return a dictionary for the next operation."""
