"""Optimizers as objects that hold a Jittor Module, with `zero_grad` and `step`.

    optimizer = boat.ModuleOptimizer(net, boat.adam(1e-3))
    optimizer.step(loss(net(x), target))                       # in place

    with boat.MetaOptimizer(net, boat.sgd(rate)) as inner:     # keeps the graph
        for x, target in batches:
            inner.step(loss(net(x), target))
        jt.grad(loss(net(x_val), t_val), [rate, *start])       # through all steps

Both are thin: `Optimizer.update` computes each step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optree

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.modules import Places
from ..autodiff.pytrees import detach_and_sync, detach_tree, one_number
from ..autodiff.vectors import tree_from_numpy, tree_to_numpy
from ..errors import NonFiniteError, OptionError, StructureError
from .base import Optimizer, apply_updates


class ModuleOptimizer:
    """Moves the trainable parameters of a module in place.

    Args:
        module: a Jittor Module.
        optimizer: such as `boat.adam(1e-3)`.
    """

    def __init__(self, module: Any, optimizer: Optimizer) -> None:
        self._places, self._optimizer = Places(module), _expect(optimizer)
        self._state = optimizer.init(self._places.parameters)
        self._gradient: dict[str, Any] | None = None

    def zero_grad(self) -> None:
        """Drop the gradients collected since the last step."""
        self._gradient = None

    def backward(self, loss: Any) -> None:
        """Add the gradient of `loss` to those collected.

        Args:
            loss: an array that holds one number, or a function that returns one. A kernel inside the function is an
                error, since a kernel has no derivative. In an array nobody can see how it was computed.
        """
        parameters = self._places.parameters
        with evaluating():
            value = _value(loss, parameters)
            gradient = dict(zip(parameters, map(arrays.detach, derivatives.gradient(value, list(parameters.values())))))
        if self._gradient is not None:
            gradient = {name: self._gradient[name] + one for name, one in gradient.items()}
        arrays.sync(gradient.values())
        self._gradient = gradient

    def step(self, loss: Any = None) -> None:
        """Move the parameters along the collected gradients, and drop those.

        Args:
            loss: as for `backward`, which is called first; None for the gradients collected so far.

        Raises:
            OptionError: there is no gradient.
            NonFiniteError: a gradient or a moved parameter is not finite. The message names the parameter, and nothing
                has moved.
        """
        if loss is not None:
            self.backward(loss)
        if self._gradient is None:
            raise OptionError("step: expected a loss, or backward(loss) before it")
        for name, one in self._gradient.items():
            if not arrays.all_finite(one):
                raise NonFiniteError(f"step: NaN or infinity in the gradient of {name!r}")
        parameters = self._places.parameters
        # In the caller's `jt.no_grad()` writing would mark the parameters as not trainable.
        with evaluating():
            updates, state = self._optimizer.update(self._gradient, self._state, parameters)
            moved = detach_and_sync(apply_updates(parameters, updates))
            for name, one in moved.items():
                if not arrays.all_finite(one):
                    raise NonFiniteError(f"step: NaN or infinity in {name!r} after the step of {self._optimizer.name}")
            self._places.write(moved)
        self._state, self._gradient = detach_and_sync(state), None

    @property
    def state(self) -> Any:
        """The optimizer's state, as a pytree of numpy arrays and numbers."""
        return tree_to_numpy(self._state)

    def restore(self, state: Any) -> None:
        """Go back to a `state`. Raises `StructureError` if it belongs to another optimizer or module."""
        self._state = tree_from_numpy(state, self._state, "state")


@dataclass(frozen=True)
class Snapshot:
    """What `MetaOptimizer.extract` returns: the arrays of the module and the optimizer's state, with their graph."""

    parameters: Mapping[str, Any]
    state: Any


class MetaOptimizer:
    """Moves the parameters of a module and keeps the graph, so that derivatives go back through the steps.

    Inside its `with` block everything is evaluated like an objective: operators are routed and guarded, and a kernel is
    an error, since the gradients that `step` takes are differentiated again. Leaving the block drops the graph
    (`stop_gradient`), so that nothing of it stays in memory.

    Args:
        module: a Jittor Module.
        optimizer: the optimizer. Its hyperparameters may be arrays.
        second_order_guard: the reaction to an operator that Jittor does not differentiate twice: "error", "warn" or
            "off".
    """

    def __init__(self, module: Any, optimizer: Optimizer, *, second_order_guard: str = "error") -> None:
        self._places, self._optimizer, self._guard = Places(module), _expect(optimizer), second_order_guard
        self._state = optimizer.init(self._places.parameters)
        self._block: evaluating | None = None

    def __enter__(self) -> MetaOptimizer:
        if self._block is not None:
            raise OptionError("MetaOptimizer: its with block is open already")
        point = self._places.parameters.values()
        wrt = (("parameters", lambda: self._places.parameters),)  # every step puts others there
        self._block = evaluating(native=True, guard=self._guard, differentiated=True, point=point, wrt=wrt)
        self._block.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.__exit__()
        # In the caller's `jt.no_grad()` the new arrays would be marked as not trainable.
        with evaluating():
            self.stop_gradient()

    def step(self, loss: Any) -> None:
        """Take one step.

        Args:
            loss: an array that holds one number, or a function that returns one.

        Raises:
            OptionError: there is no `with` block, so the loss was computed without the guard.
        """
        if self._block is None:
            raise OptionError("MetaOptimizer.step: expected a with block around the loss and its steps")
        parameters = self._places.parameters
        gradient = dict(zip(parameters, derivatives.gradient(_value(loss, parameters), list(parameters.values()))))
        updates, self._state = self._optimizer.update(gradient, self._state, parameters)
        self._places.put(apply_updates(parameters, updates))

    def extract(self) -> Snapshot:
        """Return the parameters of the module and the optimizer's state: the very arrays, for `restore`."""
        return Snapshot(self._places.parameters, self._state)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a result of `extract`. Derivatives still lead to its arrays.

        Raises:
            StructureError: `snapshot` belongs to another module or optimizer.
        """
        here = self._places.parameters
        if not isinstance(snapshot, Snapshot) or snapshot.parameters.keys() != here.keys():
            raise StructureError("MetaOptimizer.restore: expected a snapshot that extract() of this module returned")
        if optree.tree_structure(snapshot.state) != optree.tree_structure(self._state):
            raise StructureError("MetaOptimizer.restore: expected a snapshot of the same optimizer")
        self._places.put(snapshot.parameters)
        self._state = snapshot.state

    def stop_gradient(self) -> None:
        """Keep the values and drop the graph. Later derivatives end here."""
        self._places.put(detach_tree(self._places.parameters))
        self._state = detach_tree(self._state)


def _expect(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"optimizer: expected an Optimizer such as boat.sgd(0.1) (got {optimizer!r})")
    return optimizer


def _value(loss: Any, parameters: Mapping[str, Any]) -> Any:
    if callable(loss) and not arrays.is_jittor(loss):
        point, wrt = parameters.values(), (("parameters", parameters),)
        with evaluating(native=True, differentiated=True, point=point, wrt=wrt):
            loss = loss()
    return one_number(loss, "loss")
