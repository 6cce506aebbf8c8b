"""DM: the averaged method of multipliers."""

from __future__ import annotations

from typing import Any, ClassVar

from boat_core import OperationError

from ..operation_registry import register_class
from .dynamical_system import DynamicalSystem


@register_class
class DM(DynamicalSystem):
    """One step of y, of a multiplier and of x in an iteration.

    Attributes:
        strategy: "s1", "s2" or "s3". A script may change it between iterations.
    """

    operation: ClassVar[str] = "DM"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.strategy = (self.solver_config.get("DM") or {}).get("strategy")

    def optimize(self, **kwargs: Any) -> Any:
        """DM steps both levels at once, which `Problem.run_iter` does. Alone it cannot run."""
        raise OperationError("DM.optimize: DM steps x as well; call Problem.run_iter")
