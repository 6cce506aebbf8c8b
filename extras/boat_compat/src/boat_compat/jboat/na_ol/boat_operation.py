"""BOAT's operations behind JBOAT's classes: `compute_gradients` on the trajectory that the lower model carries."""

from __future__ import annotations

from typing import Any

from boat_core import OperationError, Trajectory, installed

from .._layer.foreign import trajectory_model
from .._layer.options import Facts, translate
from .._layer.source import read_source
from ..utils.op_utils import update_tensor_grads
from .hyper_gradient import HyperGradient


class BoatOperation(HyperGradient):
    """An operation that BOAT carries out. Its options stand in the boat_config."""

    def compute_gradients(  # type: ignore[override]
        self,
        ll_feed_dict: Any,
        ul_feed_dict: Any,
        auxiliary_model: Any,
        max_loss_iter: int = 0,
        hyper_gradient_finished: bool = False,
        next_operation: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Act on the trajectory of the lower model.

        Args:
            ll_feed_dict, ul_feed_dict: the feeds.
            auxiliary_model: the lower model at the end of its steps, as an operation of a chain gets it.
            max_loss_iter: the step that PTT has selected.
            hyper_gradient_finished: whether an operation has delivered its gradient already.
            next_operation: the name of the operation that follows.
            kwargs: what else the operation before has handed on.

        Returns:
            The arguments of the next operation; after an estimator `upper_loss` and `hyper_gradient_finished`.

        Raises:
            OperationError: the model carries no trajectory.
        """
        trajectory = getattr(auxiliary_model, "_trajectory", None)
        if not isinstance(trajectory, Trajectory):
            expected = "the lower model that compute_gradients of a registered class gets"
            got = type(auxiliary_model).__name__
            raise OperationError(where=f"{self.operation}.compute_gradients", expected=expected, got=got)
        operation = installed().find(self.operation).operation
        assert operation.apply is not None
        result = operation.apply(trajectory, self._options(operation, trajectory))
        if operation.role == "selector":
            view, report = result
            model = trajectory_model(view, auxiliary_model._current)
            handed = {"lower_model_params": model.parameters(), "max_loss_iter": report.get("steps", max_loss_iter)}
            feeds = {"ll_feed_dict": ll_feed_dict, "ul_feed_dict": ul_feed_dict}
            return {**kwargs, **feeds, "auxiliary_model": model, "hyper_gradient_finished": False, **handed}
        handles = auxiliary_model._current.levels.x.handles
        update_tensor_grads(handles, list(result.x.leaves))
        return {"upper_loss": trajectory.upper_value(trajectory.steps), "hyper_gradient_finished": True}

    def _options(self, operation: Any, trajectory: Trajectory) -> Any:
        steps = trajectory.bilevel.lower_steps
        source = read_source("boat_config", self.solver_config)
        rate = getattr(source.find("lower_level_opt"), "lr", None)
        facts = Facts(steps, rate, frozenset({self.operation}))
        return operation.options(**translate(self.operation, operation, source, facts))
