"""The base class of the first-order methods that BOAT carries out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from boat_core import OperationError

from ..gm_ol.dynamical_system import DynamicalSystem


class FirstOrder(DynamicalSystem):
    """A method that steps both levels. Arguments as of `DynamicalSystem`, and the lists of variables."""

    def __init__(
        self,
        ll_objective: Callable[..., Any],
        ul_objective: Callable[..., Any],
        lower_loop: int,
        ul_model: Any,
        ll_model: Any,
        solver_config: dict[str, Any],
        ll_var: Sequence[Any] = (),
        ul_var: Sequence[Any] = (),
    ) -> None:
        super().__init__(ll_objective, ul_objective, lower_loop, ul_model, ll_model, solver_config)
        self.ll_var, self.ul_var = ll_var, ul_var

    def optimize(self, ll_feed_dict: Any, ul_feed_dict: Any, current_iter: int) -> Any:  # type: ignore[override]
        """Methods of BOAT's run in `Problem.run_iter`, which holds their state."""
        raise OperationError(f"{self.operation}.optimize: call Problem.run_iter")
