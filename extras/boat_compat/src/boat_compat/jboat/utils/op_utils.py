"""Helpers that operations and scripts call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import boat_core as boat
from boat_core import OptionError

from .._layer import upper_optimizer

Arrays = Sequence[Any]


class ResultStore:
    """Collects results under names."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    def add(self, name: str, result: Any) -> None:
        """Add a result."""
        self.results.append({name: result})

    def clear(self) -> None:
        """Forget all results."""
        self.results = []

    def get_results(self) -> list[dict[str, Any]]:
        """Return a list with one dictionary for each result."""
        return self.results


class _Rules:
    """The groups in which operations of a stage act, one group after another."""

    gradient_order: ClassVar[list[list[str]]] = []

    @classmethod
    def get_gradient_order(cls) -> list[list[str]]:
        """Return the groups."""
        return cls.gradient_order

    @classmethod
    def set_gradient_order(cls, new_order: list[list[str]]) -> None:
        """Replace the groups.

        Raises:
            OptionError: it is not a list of lists. This is a ValueError.
        """
        if not isinstance(new_order, list) or not all(isinstance(group, list) for group in new_order):
            raise OptionError(where="gradient_order", expected="a list of lists of names", got=repr(new_order))
        cls.gradient_order = new_order


class DynamicalSystemRules(_Rules):
    """The groups of gm_op."""

    gradient_order: ClassVar[list[list[str]]] = [["GDA", "DI"], ["NGD", "DM"]]


class HyperGradientRules(_Rules):
    """The groups of na_op."""

    gradient_order: ClassVar[list[list[str]]] = [["PTT", "FOA", "RGT"], ["IAD", "RAD", "FD", "IGA"], ["CG", "NS"]]


def adjust_order(custom_order: Sequence[str], gradient_order: Sequence[Sequence[str]]) -> list[str]:
    """Return the operations in the order of the groups, each once. Those that no group lists keep their place."""
    names = list(dict.fromkeys(custom_order))
    listed = iter([name for group in gradient_order for name in group if name in names])
    grouped = {name for group in gradient_order for name in group}
    return [next(listed) if name in grouped else name for name in names]


def l2_reg(parameters: Iterable[Any]) -> Any:
    """Return Σ ‖p‖²."""
    return sum((p * p).sum() for p in parameters)


def grad_unused_zero(output: Any, inputs: Arrays, retain_graph: bool = False) -> list[Any]:
    """Return the gradients of one number, with zeros for inputs that it does not depend on. A NaN stays a NaN."""
    import jittor

    return list(jittor.grad(output, list(inputs), retain_graph=retain_graph))


def custom_grad(
    outputs: Arrays, inputs: Arrays, grad_outputs: Arrays | None = None, retain_graph: bool = False
) -> list[Any]:
    """Return the product of `grad_outputs` with the derivative of `outputs`; the factors are held fixed.

    Args:
        outputs, inputs: lists of arrays.
        grad_outputs: an array for each output; ones by default.
        retain_graph: whether the graph is used again.
    """
    import jittor

    factors = [jittor.ones_like(o) for o in outputs] if grad_outputs is None else grad_outputs
    total = sum((output * factor).sum() for output, factor in zip(outputs, _detached(factors)))
    return list(jittor.grad(total, list(inputs), retain_graph=retain_graph))


def _detached(arrays: Arrays) -> list[Any]:
    return [array.detach() for array in arrays]


def list_tensor_matmul(list1: Arrays, list2: Arrays) -> Any:
    """Return Σ ⟨a, b⟩ over two lists."""
    return sum((a * b).sum() for a, b in zip(list1, list2))


def list_tensor_norm(list_tensor: Arrays, p: float = 2) -> Any:
    """Return the p-norm of all arrays together."""
    return sum((a.abs() ** p).sum() for a in list_tensor) ** (1 / p)


def require_model_grad(model: Any) -> None:
    """Let derivatives reach all parameters of a model."""
    for parameter in model.parameters():
        parameter.start_grad()


def stop_model_grad(model: Any) -> None:
    """Stop derivatives at all parameters of a model."""
    for parameter in model.parameters():
        parameter.stop_grad()


def update_grads(grads: Arrays, model: Any) -> None:
    """Add gradients to `_custom_grad` of the parameters of a model."""
    update_tensor_grads(list(model.parameters()), grads)


def update_tensor_grads(hparams: Arrays, grads: Arrays) -> None:
    """Add gradients to `_custom_grad` of arrays.

    Raises:
        OptionError: the lists differ in length, or a gradient in shape.
    """
    if len(hparams) != len(grads):
        raise OptionError(where="grads", expected=f"{len(hparams)} gradients", got=str(len(grads)))
    for place, (array, gradient) in enumerate(zip(hparams, grads)):
        if gradient is None:
            continue
        if list(gradient.shape) != list(array.shape):
            got = str(list(gradient.shape))
            raise OptionError(where=("grads", place), expected=f"shape {list(array.shape)}", got=got)
        before = getattr(array, "_custom_grad", None)
        array._custom_grad = gradient if before is None else before + gradient


def manual_update(optimizer: Any, variables: Arrays) -> None:
    """Let an optimizer take one step along `_custom_grad` of these arrays, and forget the gradients."""
    import jittor

    gradients = [getattr(array, "_custom_grad", None) for array in variables]
    filled = [jittor.zeros(a.shape, a.dtype) if g is None else g.detach() for a, g in zip(variables, gradients)]
    upper_optimizer.step(optimizer, variables, filled)
    for array in variables:
        array._custom_grad = None


def stop_grads(grads: Arrays) -> list[Any]:
    """Return gradients without their history; None stays None."""
    return [gradient if gradient is None else gradient.detach() for gradient in grads]


def average_grad(model: Any, batch_size: int) -> None:
    """Divide `_custom_grad` of all parameters of a model by the number of tasks."""
    for parameter in model.parameters():
        if getattr(parameter, "_custom_grad", None) is not None:
            parameter._custom_grad = parameter._custom_grad / batch_size


def cat_list_to_tensor(list_tx: Arrays) -> Any:
    """Return all entries of a list of arrays as one flat array."""
    import jittor

    return jittor.concat([array.flatten() for array in list_tx])


def copy_parameter_from_list(model: Any, params: Arrays) -> Any:
    """Write arrays into the parameters of a model, in the order of `parameters()`. Return the model.

    Raises:
        OptionError: their number differs.
    """
    own = list(model.parameters())
    if len(own) != len(params):
        raise OptionError(where="params", expected=f"{len(own)} arrays", got=str(len(params)))
    for parameter, value in zip(own, params):
        parameter.update(value)
    return model


def get_outer_gradients(
    loss: Any, params: Arrays, hparams: Arrays, retain_graph: bool = True
) -> tuple[list[Any], list[Any]]:
    """Return the gradients of a loss with respect to the lower and to the upper variables."""
    gradients = grad_unused_zero(loss, [*params, *hparams], retain_graph)
    return gradients[: len(params)], gradients[len(params) :]


def cg_step(Ax: Callable[[list[Any]], Arrays], b: Arrays, max_iter: int = 100, epsilon: float = 1.0e-5) -> list[Any]:
    """Solve A x = b by conjugate gradient.

    Args:
        Ax: the product of A, symmetric and positive definite, with a list of arrays.
        b: a list of arrays.
        max_iter: the largest number of products.
        epsilon: the residual ‖b - Ax‖ relative to ‖b‖ at which it ends.
    """

    def product(v: Any) -> Any:
        return v.like(_detached(Ax(list(v.leaves))))

    return list(_solve(boat.conjugate_gradient(max_iter, epsilon, check=False), product, b))


def _solve(solver: Any, product: Callable[[Any], Any], b: Arrays) -> Arrays:
    solution, _ = solver(product, boat.Vector.of(list(b), "b"))
    leaves: Arrays = solution.leaves
    return leaves


def conjugate_gradient(
    params: Arrays,
    hparams: Arrays,
    upper_loss: Any,
    lower_loss: Any,
    K: int,
    fp_map: Callable[..., Any],
    tol: float = 1e-10,
    stochastic: bool = False,
) -> list[Any]:
    """Return ∇_x F + (∂Φ/∂x)ᵀ q, where (I - ∂Φ/∂y)ᵀ q = ∇_y F is solved by K iterations of conjugate gradient.

    Args:
        params, hparams: y and x.
        upper_loss: the value of F.
        lower_loss: the value of f.
        K: the number of iterations.
        fp_map: Φ, a function of (params, lower loss) that returns the next params.
        tol: the relative residual at which the solve ends.
        stochastic: not supported; a Φ with noise is no linear system.
    """
    if stochastic:
        raise OptionError(where="stochastic", expected="False", got="True")
    return _implicit(boat.conjugate_gradient(K, tol, check=False), params, hparams, upper_loss, lower_loss, fp_map)


def neumann(
    params: Arrays,
    hparams: Arrays,
    upper_loss: Any,
    lower_loss: Any,
    k: int,
    fp_map: Callable[..., Any],
    tol: float = 1e-10,
) -> list[Any]:
    """Return ∇_x F + (∂Φ/∂x)ᵀ q with q = Σ_{i=0..k} (∂Φ/∂y)ᵀⁱ ∇_y F. Arguments as of `conjugate_gradient`."""
    series = boat.neumann(k + 1, 1.0, tolerance=tol, check=False)
    return _implicit(series, params, hparams, upper_loss, lower_loss, fp_map)


def _implicit(
    solver: Any, params: Arrays, hparams: Arrays, upper_loss: Any, lower_loss: Any, fp_map: Callable[..., Any]
) -> list[Any]:
    of_y, of_x = get_outer_gradients(upper_loss, params, hparams)
    mapped = list(fp_map(params, lower_loss))

    def product(v: Any) -> Any:
        pulled = custom_grad(mapped, params, list(v.leaves), retain_graph=True)
        return v.like([(a - b).detach() for a, b in zip(v.leaves, pulled)])

    q = _solve(solver, product, _detached(of_y))
    mixed = custom_grad(mapped, hparams, q, retain_graph=True)
    return [(direct + part).detach() for direct, part in zip(of_x, mixed)]
