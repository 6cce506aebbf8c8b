"""NGD: plain descent on the lower objective, or on GDA's aggregate."""

from __future__ import annotations

from typing import Any, ClassVar

from ..operation_registry import register_class
from .dynamical_system import DynamicalSystem, handed_on


@register_class
class NGD(DynamicalSystem):
    """Steps of the lower optimizer on f, or on gda_loss with α_t = alpha · alpha_decay^t."""

    operation: ClassVar[str] = "NGD"

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
        """Take `lower_loop` steps."""
        gda_loss, alpha = kwargs.get("gda_loss"), kwargs.get("alpha", 0.0)
        for t in range(self.lower_loop):
            if gda_loss is None:
                loss = self.ll_objective(ll_feed_dict, self.ul_model, auxiliary_model)
            else:
                feed = {**ll_feed_dict, "alpha": alpha * kwargs.get("alpha_decay", 1.0) ** t}
                loss = gda_loss(feed, ul_feed_dict, self.ul_model, auxiliary_model)
            auxiliary_opt.step(loss)
        return handed_on(ll_feed_dict, ul_feed_dict, auxiliary_model, auxiliary_opt, current_iter, kwargs)
