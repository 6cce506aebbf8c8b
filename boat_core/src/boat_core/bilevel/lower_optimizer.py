"""The lower optimizer. Where its hyperparameters are upper variables, a function of x returns it:

lambda x: boat.sgd(jt.exp(x["log_rate"]), momentum=x["momentum"])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autodiff.evaluation import evaluating
from ..autodiff.pytrees import float_leaves
from ..declare.options import unchecked
from ..errors import BoatError, CompositionError, OptionError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition


class LowerOptimizer:
    """An optimizer, or a function of x that returns one.

    Attributes:
        learned: where it is a function, that function, for derivatives with respect to x. It does not check the
            values of hyperparameters again. None otherwise.

    Raises:
        OptionError: it is neither.
    """

    def __init__(self, optimizer: Optimizer | Callable[[Any], Optimizer]) -> None:
        if not isinstance(optimizer, Optimizer) and not callable(optimizer):
            expected = "an Optimizer such as boat.sgd(0.1), or a function of x"
            raise OptionError(where="lower_optimizer", expected=expected, got=repr(optimizer))
        self._optimizer = optimizer
        self.learned = None if isinstance(optimizer, Optimizer) else self._unchecked

    def at(self, x: Any) -> Optimizer:
        """Return the optimizer at x, a pytree as the user gave it.

        Raises:
            OptionError: the function raised, a hyperparameter is out of its range, or what it returned is no optimizer.
        """
        if isinstance(self._optimizer, Optimizer):
            return self._optimizer
        try:
            optimizer = self._anew(x)
        except BoatError as error:
            raise OptionError(f"at the current x: {error}", where="lower_optimizer") from None
        except Exception as error:
            message = f"its function raised {type(error).__name__}: {error}"
            raise OptionError(message, where="lower_optimizer") from error
        if not isinstance(optimizer, Optimizer):
            expected = "a function of x that returns an Optimizer"
            raise OptionError(where="lower_optimizer", expected=expected, got=repr(optimizer))
        return optimizer

    def _anew(self, x: Any) -> Any:
        assert callable(self._optimizer)
        with evaluating(native=True, point=float_leaves(x)):  # numbers beside float64 arrays are exact
            return self._optimizer(x)

    def _unchecked(self, x: Any) -> Optimizer:
        with unchecked():
            found: Optimizer = self._anew(x)
            return found

    def fit(self, composition: Composition) -> Composition:
        """Return the composition with the step sizes filled in that are left to this optimizer.

        Raises:
            CompositionError: the hypergradient would not see hyperparameters that are upper variables.
            OptionError: a step size is left to it that it does not have.
        """
        if isinstance(self._optimizer, Optimizer):
            return composition.with_rates(self._optimizer.rate, self._optimizer.plain_rate)
        blind = [entry.name for entry in composition.approximate if "end-point" in entry.operation.tags]
        if composition.stateful_operation or blind:
            what = f"{blind[0]} reads the end point" if blind else f"{composition} takes no derivative of the steps"
            raise CompositionError(
                f"as a function of x its hyperparameters are upper variables, but {what}, so they would never move",
                where="lower_optimizer",
                hint="an estimator that pulls back through the lower steps sees them",
            )
        return composition.with_rates(None, None)
