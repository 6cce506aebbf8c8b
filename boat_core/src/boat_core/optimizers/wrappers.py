"""Optimizers as objects that hold a Jittor Module, for those who think in `zero_grad` and `step`.

    optimizer = boat.ModuleOptimizer(net, boat.adam(1e-3))
    optimizer.step(loss(net(x), target))                       # in place

    with boat.MetaOptimizer(net, boat.sgd(rate)) as inner:     # keeps the graph
        for x, target in batches:
            inner.step(loss(net(x), target))
        jt.grad(loss(net(x_val), t_val), [rate, *start])       # through all steps

Both are thin: what moves is `Optimizer.update`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optree

from ..autodiff import arrays, derivatives
from ..autodiff.evaluation import evaluating
from ..autodiff.modules import Places
from ..autodiff.unrolled import cut, detached
from ..autodiff.vectors import tree_from_numpy, tree_to_numpy
from ..errors import NonFiniteError, ObjectiveError, OptionError, StructureError
from .base import Optimizer, apply_updates


class ModuleOptimizer:
    """Moves a module's trainable parameters in place.

    Args:
        module: a Jittor Module.
        optimizer: such as `boat.adam(1e-3)`.
    """

    def __init__(self, module: Any, optimizer: Optimizer) -> None:
        self._places, self._optimizer = Places(module), _expect(optimizer)
        self._state = optimizer.init(self._places.parameters)
        self._gradient: dict[str, Any] | None = None

    def zero_grad(self) -> None:
        """Forget the gradients collected since the last step."""
        self._gradient = None

    def backward(self, loss: Any) -> None:
        """Add the gradient of `loss`, an array that holds one number or a function that returns one."""
        held = self._places.parameters
        with evaluating():
            value = _value(loss)
            gradient = dict(zip(held, map(arrays.detach, derivatives.gradient(value, list(held.values())))))
        if self._gradient is not None:
            gradient = {name: self._gradient[name] + one for name, one in gradient.items()}
        arrays.sync(gradient.values())
        self._gradient = gradient

    def step(self, loss: Any = None) -> None:
        """Move the parameters along the gradients collected, that of `loss` with them, and forget those.

        Raises:
            OptionError: there is no gradient.
            NonFiniteError: one is not finite; names the parameter, and nothing has moved.
        """
        if loss is not None:
            self.backward(loss)
        if self._gradient is None:
            raise OptionError("step: expected a loss, or backward(loss) before it")
        for name, one in self._gradient.items():
            if not arrays.all_finite(one):
                raise NonFiniteError(f"step: NaN or infinity in the gradient of {name!r}")
        held = self._places.parameters
        # In the caller's `jt.no_grad()` writing would mark the parameters as not trainable.
        with evaluating():
            updates, state = self._optimizer.update(self._gradient, self._state, held)
            self._places.write(detached(apply_updates(held, updates)))
        self._state, self._gradient = detached(state), None

    @property
    def state(self) -> Any:
        """The optimizer's state, as a pytree of numpy arrays and numbers."""
        return tree_to_numpy(self._state)

    def restore(self, state: Any) -> None:
        """Go back to a `state`. Raises `StructureError` where it is not that of such an optimizer and module."""
        self._state = tree_from_numpy(state, self._state, "state")


@dataclass(frozen=True)
class Snapshot:
    """What `MetaOptimizer.extract` returns: the module's arrays and the optimizer's state, graph and all."""

    parameters: Mapping[str, Any]
    state: Any


class MetaOptimizer:
    """Moves a module's parameters and keeps the graph: what is computed after a step can be differentiated through it.

    Inside its `with` block operators are routed and guarded as in objectives, since the gradients that `step` takes are
    differentiated again. Leaving it cuts the graph (`stop_gradient`), so that nothing of it stays in memory.

    Args:
        module: a Jittor Module.
        optimizer: its hyperparameters may be arrays.
        second_order_guard: what an operator leads to that Jittor does not differentiate twice: "error", "warn", "off".
    """

    def __init__(self, module: Any, optimizer: Optimizer, *, second_order_guard: str = "error") -> None:
        self._places, self._optimizer, self._guard = Places(module), _expect(optimizer), second_order_guard
        self._state = optimizer.init(self._places.parameters)
        self._block: evaluating | None = None

    def __enter__(self) -> MetaOptimizer:
        if self._block is not None:
            raise OptionError("MetaOptimizer: its with block is open already")
        self._block = evaluating(native=True, guard=self._guard, differentiated=True)
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
        """Take one step on `loss`, an array that holds one number or a function that returns one.

        Raises:
            OptionError: outside the `with` block nobody has seen what the loss was computed with.
        """
        if self._block is None:
            raise OptionError("MetaOptimizer.step: expected a with block around the loss and its steps")
        held = self._places.parameters
        gradient = dict(zip(held, derivatives.gradient(_value(loss), list(held.values()))))
        updates, self._state = self._optimizer.update(gradient, self._state, held)
        self._places.put(apply_updates(held, updates))

    def extract(self) -> Snapshot:
        """The module's parameters and the optimizer's state as they are: the very arrays, to come back to."""
        return Snapshot(self._places.parameters, self._state)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to what `extract` returned; derivatives still lead to its arrays.

        Raises:
            StructureError: it is not of this module.
        """
        here = self._places.parameters
        if not isinstance(snapshot, Snapshot) or snapshot.parameters.keys() != here.keys():
            raise StructureError("MetaOptimizer.restore: expected a snapshot that extract() of this module returned")
        if optree.tree_structure(snapshot.state) != optree.tree_structure(self._state):
            raise StructureError("MetaOptimizer.restore: expected a snapshot of the same optimizer")
        self._places.put(snapshot.parameters)
        self._state = snapshot.state

    def stop_gradient(self) -> None:
        """Keep the values, cut the graph: later derivatives end here."""
        self._places.put(cut(self._places.parameters))
        self._state = cut(self._state)


def _expect(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"optimizer: expected an Optimizer such as boat.sgd(0.1) (got {optimizer!r})")
    return optimizer


def _value(loss: Any) -> Any:
    if callable(loss) and not arrays.is_jittor(loss):
        with evaluating(native=True, differentiated=True):
            loss = loss()
    if not arrays.is_jittor(loss) or loss.numel() != 1 or not arrays.float_kind(loss):
        found = f"shape {list(loss.shape)}, {loss.dtype}" if arrays.is_jittor(loss) else type(loss).__name__
        raise ObjectiveError(f"loss: expected a floating-point array that holds one number (got {found})")
    return loss
