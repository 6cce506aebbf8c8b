"""The base class of the gradient-mapping operations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from boat_core import OperationError

from ..operation_registry import register_class


@register_class
class DynamicalSystem:
    """Builds the lower trajectory.

    Args:
        ll_objective: the lower loss, `f(ll_feed_dict, ul_model, ll_model, **keywords)`.
        ul_objective: the upper loss, with the same signature.
        lower_loop: the number of lower steps.
        ul_model, ll_model: the models.
        solver_config: the boat_config.
    """

    #: BOAT's operation that the class stands for.
    operation: ClassVar[str] = ""

    def __init__(
        self,
        ll_objective: Callable[..., Any],
        ul_objective: Callable[..., Any],
        lower_loop: int,
        ul_model: Any,
        ll_model: Any,
        solver_config: dict[str, Any],
    ) -> None:
        self.ll_objective, self.ul_objective = ll_objective, ul_objective
        self.lower_loop, self.ul_model, self.ll_model = lower_loop, ul_model, ll_model
        self.solver_config = solver_config

    @abstractmethod
    def optimize(self, **kwargs: Any) -> Any:
        """Take the lower steps by `auxiliary_opt.step(loss)`. Return a dictionary for the next operation."""


def handed_on(lower: Any, upper: Any, model: Any, optimizer: Any, k: int, rest: dict[str, Any]) -> dict[str, Any]:
    """Return what an `optimize` returns: the arguments of the next one."""
    names = "ll_feed_dict", "ul_feed_dict", "auxiliary_model", "auxiliary_opt", "current_iter"
    return {**dict(zip(names, (lower, upper, model, optimizer, k))), **rest}


def require_successor(name: str, next_operation: str | None) -> None:
    """Raise `OperationError` if no operation follows one that takes no steps itself."""
    if next_operation is None:
        raise OperationError(f"{name} takes no lower step; an operation such as NGD must follow it in gm_op")
