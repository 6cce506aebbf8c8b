"""GDA: the lower steps descend an aggregate of both objectives."""

from __future__ import annotations

from typing import Any, ClassVar

from ..operation_registry import register_class
from .dynamical_system import DynamicalSystem, handed_on, require_successor


@register_class
class GDA(DynamicalSystem):
    """Hands the user's gda_loss, with α and its decay, on to the operation that takes the steps."""

    operation: ClassVar[str] = "GDA"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        section = self.solver_config.get("GDA") or {}
        self.alpha, self.alpha_decay = section.get("alpha_init"), section.get("alpha_decay")
        self.gda_loss = self.solver_config.get("gda_loss")

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
        """Return the arguments with `gda_loss`, `alpha` and `alpha_decay`."""
        require_successor("GDA", next_operation)
        more = {**kwargs, "gda_loss": self.gda_loss, "alpha": self.alpha, "alpha_decay": self.alpha_decay}
        return handed_on(ll_feed_dict, ul_feed_dict, auxiliary_model, auxiliary_opt, current_iter, more)
