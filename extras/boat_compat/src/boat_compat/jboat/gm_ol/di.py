"""DI: the start of the lower trajectory is learned."""

from __future__ import annotations

from typing import Any, ClassVar

from ..operation_registry import register_class
from .dynamical_system import DynamicalSystem, handed_on, require_successor


@register_class
class DI(DynamicalSystem):
    """Leaves the steps to its successor. The solver moves the start along the derivative of F(x, y_T)."""

    operation: ClassVar[str] = "DI"

    def optimize(  # type: ignore[override]
        self,
        ll_feed_dict: Any,
        ul_feed_dict: Any,
        auxiliary_model: Any,
        auxiliary_opt: Any,
        current_iter: int,
        next_operation: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments."""
        require_successor("DI", next_operation)
        return handed_on(ll_feed_dict, ul_feed_dict, auxiliary_model, auxiliary_opt, current_iter, kwargs)
