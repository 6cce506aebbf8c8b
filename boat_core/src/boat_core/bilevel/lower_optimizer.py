"""The lower optimizer, whose hyperparameters may be upper variables: then it is a function of x that returns it.

lambda x: boat.sgd(jt.exp(x["log_rate"]), momentum=x["momentum"])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autodiff.routing import inside_objective
from ..declare.options import unchecked
from ..errors import BoatError, CompositionError, OptionError
from ..optimizers.base import Optimizer
from ..plugins.composition import Composition


class LowerOptimizer:
    """An optimizer, or a function of x that returns one.

    Attributes:
        learned: the function, where it is one: for derivatives with respect to x. It does not look at values again.

    Raises:
        OptionError: it is neither.
    """

    def __init__(self, given: Optimizer | Callable[[Any], Optimizer]) -> None:
        if not isinstance(given, Optimizer) and not callable(given):
            expected = "an Optimizer such as boat.sgd(0.1), or a function of x"
            raise OptionError(where="lower_optimizer", expected=expected, got=repr(given))
        self._given = given
        self.learned = None if isinstance(given, Optimizer) else self._unchecked

    def at(self, x: Any) -> Optimizer:
        """The optimizer at x, a pytree as the user gave it.

        Raises:
            OptionError: the function raised, a hyperparameter is out of its range, or what it returned is no optimizer.
        """
        if isinstance(self._given, Optimizer):
            return self._given
        try:
            found = self._anew(x)
        except BoatError as error:
            raise OptionError(f"at the current x: {error}", where="lower_optimizer") from None
        except Exception as error:
            message = f"its function raised {type(error).__name__}: {error}"
            raise OptionError(message, where="lower_optimizer") from error
        if not isinstance(found, Optimizer):
            expected = "a function of x that returns an Optimizer"
            raise OptionError(where="lower_optimizer", expected=expected, got=repr(found))
        return found

    def _anew(self, x: Any) -> Any:
        assert callable(self._given)
        with inside_objective():  # numbers beside float64 arrays are exact
            return self._given(x)

    def _unchecked(self, x: Any) -> Optimizer:
        with unchecked():
            found: Optimizer = self._anew(x)
            return found

    def fit(self, composition: Composition) -> Composition:
        """The composition with the step sizes that are left to this optimizer.

        Raises:
            CompositionError: the hypergradient would not see hyperparameters that are upper variables.
            OptionError: a step size is left to it that it does not have.
        """
        if isinstance(self._given, Optimizer):
            return composition.with_rates(self._given.rate, self._given.plain_rate)
        blind = [entry.name for entry in composition.approximate if "end-point" in entry.operation.tags]
        if composition.lasting or blind:
            what = f"{blind[0]} reads the end point" if blind else f"{composition} takes no derivative of the steps"
            raise CompositionError(
                f"as a function of x its hyperparameters are upper variables, but {what}, so they would never move",
                where="lower_optimizer",
                hint="an estimator that pulls back through the lower steps, such as RAD, sees them",
            )
        return composition.with_rates(None, None)
