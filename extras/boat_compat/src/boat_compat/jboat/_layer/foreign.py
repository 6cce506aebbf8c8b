"""Classes that a script registers with `register_class`, as operations of BOAT's.

A class of the gradient-mapping library takes steps, `auxiliary_opt.step(loss)`, in its `optimize`. The loss of its step
t is the objective ψ_t of BOAT's chain: the layer runs `optimize` up to that step, takes the loss, and leaves it. So all
other operations act on its steps as on any others.

A class of the numerical-approximation library gets a model whose `parameters(time=t)` are the iterates y_t. Derivatives
of what it computes with them lead back through the steps to the upper variables. It delivers its gradient by adding it
to `_custom_grad` of the upper variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from boat_core import FirstOrderStep, Hypergradient, Operation, OperationError, Trajectory, Vector

from .levels import Levels
from .objectives import Feeds, Objectives
from .twins import twin_of

_TEXTS: dict[str, Any] = {"summary": "registered by the script", "formula": "its class says", "source": "the script"}


@dataclass
class Current:
    """What the iteration that is being done is about. The operations of a solver do not get it from BOAT.

    Args:
        levels: the models and variables.
        objectives: the losses on them.
        feeds, k: the feeds and the number of the iteration.
    """

    levels: Levels
    objectives: Objectives
    feeds: Feeds = field(default_factory=lambda: Feeds(None, None))
    k: int = 0


class _Taken(BaseException):
    """Ends an `optimize` at the step whose loss is wanted. No handler of the script's catches it."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss


class StepRecorder:
    """The `auxiliary_opt` of an `optimize`: it passes over `skip` steps and then takes the loss."""

    def __init__(self, skip: int) -> None:
        self.steps, self._skip = 0, skip

    def step(self, loss: Any, *arguments: Any, **keywords: Any) -> None:
        """Take the loss of a step, or pass over it."""
        if arguments or keywords:
            raise OperationError("auxiliary_opt.step: expected the loss alone; BOAT's lower optimizer takes the step")
        if self.steps == self._skip:
            raise _Taken(loss)
        self.steps += 1


def map_operation(name: str, instance: Any, current: Current, successor: str | None) -> Operation:
    """Return a class with `optimize` as a modifier: it says which objective the lower steps descend."""

    def apply(upper: Any, lower: Any, options: Any) -> Callable[[Vector, Vector, int], Any]:
        def psi(x: Vector, y: Vector, t: int) -> Any:
            with current.objectives.holding(x.tree, y.tree):
                return _objective(name, instance, current, successor, t, lambda: lower(x, y, t))

        return psi

    return Operation(name=name, stage="map", role="modifier", apply=apply, **_TEXTS)


def _objective(
    name: str, instance: Any, current: Current, successor: str | None, t: int, lower: Callable[[], Any]
) -> Any:
    recorder, feeds, objectives = StepRecorder(t), current.feeds, current.objectives
    try:
        result = instance.optimize(
            ll_feed_dict=feeds.lower,
            ul_feed_dict=feeds.upper,
            auxiliary_model=objectives.lower_model,
            auxiliary_opt=recorder,
            current_iter=current.k,
            next_operation=successor,
        )
    except _Taken as taken:
        return taken.loss
    if recorder.steps:
        raise OperationError(f"{name}.optimize took {recorder.steps} lower steps, fewer than lower_iters")
    # It leaves the steps to its successor, and may hand on an aggregate for them.
    values = result if isinstance(result, dict) else {}
    if values.get("gda_loss") is None:
        return lower()
    alpha = values.get("alpha", 0.0) * values.get("alpha_decay", 1.0) ** t
    feed = {**feeds.lower, "alpha": alpha}
    return values["gda_loss"](feed, feeds.upper, objectives.upper_model, objectives.lower_model)


def approximate_operation(name: str, instance: Any, current: Current, successor: str | None) -> Operation:
    """Return a class with `compute_gradients` as the estimator, or as a selector where one follows it."""

    def compute(trajectory: Trajectory) -> dict[str, Any]:
        model = trajectory_model(trajectory, current)
        cut = trajectory.steps < trajectory.bilevel.lower_steps
        result = instance.compute_gradients(
            ll_feed_dict=current.feeds.lower,
            ul_feed_dict=current.feeds.upper,
            auxiliary_model=model,
            max_loss_iter=trajectory.steps if cut else -1,
            hyper_gradient_finished=False,
            next_operation=successor,
            lower_model_params=model.parameters(),
        )
        return result if isinstance(result, dict) else {}

    def estimate(trajectory: Trajectory, options: Any) -> Hypergradient:
        handles = current.levels.x.handles
        clear_gradients(handles)
        compute(trajectory)
        return Hypergradient(trajectory.x.like(delivered(name, handles)).detach())

    def select(trajectory: Trajectory, options: Any) -> tuple[Trajectory, dict[str, Any]]:
        result = compute(trajectory)
        clear_gradients(current.levels.x.handles)
        steps = result.get("max_loss_iter", -1)
        return (trajectory.until(steps) if 0 < steps < trajectory.steps else trajectory), {}

    role, apply = ("selector", select) if successor else ("estimator", estimate)
    return Operation(name=name, stage="approximate", role=role, apply=apply, **_TEXTS)


def first_order_operation(name: str, instance: Any, current: Current) -> Operation:
    """Return a class with `optimize(ll_feed_dict, ul_feed_dict, current_iter)` as a method."""

    def apply(bilevel: Any, x: Vector, y: Vector, state: Any, descend: Any, k: int, options: Any) -> FirstOrderStep:
        levels = current.levels
        clear_gradients(levels.x.handles)
        with current.objectives.holding([leaf.clone() for leaf in x.leaves], [leaf.clone() for leaf in y.leaves]):
            instance.optimize(current.feeds.lower, current.feeds.upper, k)
            moved = y.like(levels.y.values()).sync()
        return FirstOrderStep(y=moved, direction=x.like(delivered(name, levels.x.handles)).detach())

    return Operation(name=name, stage="first-order", role="method", apply=apply, **_TEXTS)


def trajectory_model(trajectory: Trajectory, current: Current) -> Any:
    """Return the lower model at the end of a trajectory, as `compute_gradients` gets it."""
    variables, upper = current.levels.y.handles, current.levels.x.handles
    end = attached(trajectory, trajectory.steps, upper)

    def iterate(t: int) -> Sequence[Any]:
        return end if t == trajectory.steps else attached(trajectory, t, upper)

    return twin_of(
        current.levels.lower_model, variables, lambda: end, iterate, _trajectory=trajectory, _current=current
    )


def attached(trajectory: Trajectory, t: int, upper: Sequence[Any]) -> list[Any]:
    """Return y_t with a way back: its derivative with respect to the upper variables is the trajectory's pullback."""
    import jittor

    iterate = trajectory.iterate(t).detach().sync()
    if t == 0 and not trajectory.from_upper:
        return list(iterate.leaves)
    view = trajectory.until(t) if t else trajectory

    class Iterate(jittor.Function):  # type: ignore[misc]
        def execute(self, *x: Any) -> tuple[Any, ...]:
            return tuple(leaf.clone() for leaf in iterate.leaves)

        def grad(self, *cotangents: Any) -> tuple[Any, ...]:
            pairs = zip(cotangents, iterate.leaves)
            pulled = iterate.like([jittor.zeros_like(leaf) if p is None else p for p, leaf in pairs])
            return tuple((view.pullback(pulled)[1] if t else pulled).leaves)

    end = Iterate.apply(*upper)
    return list(end) if isinstance(end, (list, tuple)) else [end]


def clear_gradients(handles: Sequence[Any]) -> None:
    """Forget the gradients that operations have delivered."""
    for handle in handles:
        handle._custom_grad = None


def delivered(name: str, handles: Sequence[Any]) -> list[Any]:
    """Return the gradients that an operation has added to `_custom_grad`, and forget them there.

    Raises:
        OperationError: there is none, or one has another shape.
    """
    import jittor

    gradients = [getattr(handle, "_custom_grad", None) for handle in handles]
    clear_gradients(handles)
    if all(gradient is None for gradient in gradients):
        expected = "a gradient in `_custom_grad` of the upper variables, as update_tensor_grads adds it"
        raise OperationError(where=name, expected=expected, got="none")
    for handle, gradient in zip(handles, gradients):
        if gradient is not None and list(gradient.shape) != list(handle.shape):
            raise OperationError(where=name, expected=f"a gradient of shape {handle.shape}", got=str(gradient.shape))
    return [jittor.zeros_like(h) if g is None else g.cast(str(h.dtype)) for h, g in zip(handles, gradients)]
