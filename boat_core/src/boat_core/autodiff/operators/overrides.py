"""What Jittor's functions become inside an objective: `@`, `nn.Linear`, `nn.Pool`, `nn.cross_entropy_loss` …

Each function here takes the library of operators, followed by the arguments of Jittor's function. It returns
NotImplemented for cases that the operators do not cover (another dtype, mixed precision, shapes that do not fit). Then
Jittor's own function is called, so that errors are Jittor's own too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ..backend import jt

_INTEGERS = ("int32", "int64", "int16", "int8", "uint8")


def _served(ops: Any, *arrays: Any) -> bool:
    """Whether all are float32 or all float64, and Jittor is not set to choose another precision."""
    for array in arrays:
        if not isinstance(array, jt.Var):
            return False
    served: bool = ops.served(arrays)
    return served


def matmul(ops: Any, a: Any, b: Any) -> Any:
    if not _served(ops, a, b):
        return NotImplemented
    left, right = tuple(a.shape), tuple(b.shape)
    if len(right) == 1 and len(left) >= 2 and left[-1] == right[0]:
        return ops.matmul(_rows(a), b.reshape((-1, 1)), False, False).reshape(left[:-1])
    if len(left) == 1 and len(right) == 2 and left[0] == right[0]:
        return ops.matmul(a.reshape((1, -1)), b, False, False).reshape((right[1],))
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        return NotImplemented
    if len(right) == 2:
        product = ops.matmul(_rows(a), b, False, False)
        return product if len(left) == 2 else product.reshape((*left[:-1], right[-1]))
    batch = _broadcast(left[:-2], right[:-2])
    if batch is None:
        return NotImplemented
    return ops.matmul(_expand(a, batch), _expand(b, batch), False, False)


def matmul_transpose(ops: Any, a: Any, b: Any) -> Any:
    if not _served(ops, a, b) or len(b.shape) != 2 or a.shape[-1] != b.shape[-1]:
        return NotImplemented
    product = ops.matmul(_rows(a), b, False, True)
    return product if len(a.shape) == 2 else product.reshape((*tuple(a.shape)[:-1], b.shape[0]))


def _rows(a: Any) -> Any:
    return a if len(a.shape) == 2 else a.reshape((prod(tuple(a.shape)[:-1]), a.shape[-1]))


def _broadcast(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...] | None:
    width = max(len(left), len(right))
    pairs = list(zip((*(1,) * (width - len(left)), *left), (*(1,) * (width - len(right)), *right)))
    return tuple(map(max, pairs)) if all(a == b or 1 in (a, b) for a, b in pairs) else None


def _expand(a: Any, batch: tuple[int, ...]) -> Any:
    shape = tuple(a.shape)
    if shape[:-2] == batch:
        return a
    padded = (*(1,) * (len(batch) + 2 - len(shape)), *shape)
    return a.reshape(padded).broadcast((*batch, *shape[-2:]))


def add(ops: Any, a: Any, b: Any) -> Any:
    """Only a bias: a row added to all rows."""
    if not isinstance(b, jt.Var) or len(a.shape) == len(b.shape):
        return NotImplemented
    if len(a.shape) < len(b.shape):
        a, b = b, a
    if len(b.shape) != 1 or b.shape[0] != a.shape[-1] or b.shape[0] < 2 or not _served(ops, a, b):
        return NotImplemented
    return ops.bias_add(a, b, len(a.shape) - 1)


def tanh(ops: Any, x: Any) -> Any:
    return ops.tanh(x) if _served(ops, x) else NotImplemented


def sigmoid(ops: Any, x: Any) -> Any:
    return ops.logistic(x) if _served(ops, x) else NotImplemented


def relu(ops: Any, x: Any) -> Any:
    return ops.relu(x, 0.0) if _served(ops, x) else NotImplemented


def leaky_relu(ops: Any, x: Any, scale: Any = 0.01) -> Any:
    return ops.relu(x, float(scale)) if isinstance(scale, (int, float)) and _served(ops, x) else NotImplemented


def gelu(ops: Any, x: Any) -> Any:
    return ops.gelu(x) if _served(ops, x) else NotImplemented


def softplus(ops: Any, x: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Any:
    plain = isinstance(beta, (int, float)) and isinstance(threshold, (int, float)) and beta > 0
    return ops.softplus(x, float(beta), float(threshold)) if plain and _served(ops, x) else NotImplemented


def softmax(ops: Any, x: Any, dim: Any = None, log: bool = False) -> Any:
    if log or not isinstance(dim, int) or not _served(ops, x) or dim not in (-1, len(x.shape) - 1) or not x.shape[-1]:
        return NotImplemented
    p = ops.softmax(_rows(x))
    return p if len(x.shape) == 2 else p.reshape(x.shape)


def cross_entropy_loss(
    ops: Any, output: Any, target: Any, weight: Any = None, ignore_index: Any = None, reduction: str = "mean"
) -> Any:
    if not _served(ops, output) or not isinstance(target, jt.Var) or str(target.dtype) not in _INTEGERS:
        return NotImplemented
    if len(output.shape) not in (2, 4) or prod(tuple(output.shape)) != target.numel() * output.shape[1]:
        return NotImplemented
    shape, classes = target.shape, output.shape[1]
    if not classes:
        return NotImplemented
    if len(output.shape) == 4:
        output = output.transpose((0, 2, 3, 1)).reshape((-1, classes))
    target = target.reshape((-1,)).int32()
    if ignore_index is not None:  # a class that is none has no loss
        target = jt.ternary(target == ignore_index, jt.full_like(target, -1), target)
    loss = ops.cross_entropy(output, target)
    if weight is not None:
        loss = loss * weight[target]
    if reduction == "sum":
        return loss.sum()
    if reduction != "mean":
        return loss.reshape(shape)
    counted = (target >= 0).logical_and(target < classes).cast(output.dtype)
    return loss.sum() / (counted if weight is None else counted * weight[target]).sum()


def conv2d(
    ops: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    if not _served(ops, *([x, weight] if bias is None else [x, weight, bias])):
        return NotImplemented
    if len(x.shape) != 4 or len(weight.shape) != 4 or groups < 1 or weight.shape[0] % groups:
        return NotImplemented
    if x.shape[1] != weight.shape[1] * groups:
        return NotImplemented
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, tuple(weight.shape)[2:])]
    if any(size + 2 * pad < wide for size, pad, wide in zip(tuple(x.shape)[2:], padding, reach)):
        return NotImplemented
    y = ops.conv2d(x, weight, stride, padding, dilation, groups)
    return y if bias is None else ops.bias_add(y, bias, 1)


def conv_layer(ops: Any, layer: Any, x: Any) -> Any:
    if hasattr(layer, "depthwise_conv") or not isinstance(x, jt.Var) or len(x.shape) != 4:
        return NotImplemented
    if x.shape[1] != layer.in_channels:
        return NotImplemented
    geometry = layer.stride, layer.padding, layer.dilation, layer.groups
    return conv2d(ops, x, layer.weight, layer.bias, *geometry)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def pool_layer(ops: Any, layer: Any, x: Any) -> Any:
    """`Pool` and `Pool3d`, as Jittor has them: without ceil_mode an average divides by the window's whole size."""
    sizes = [tuple(given) for given in (layer.kernel_size, layer.stride, layer.padding)]
    window, stride, padding = sizes
    if not _served(ops, x) or len(x.shape) != len(window) + 2 or layer.op not in ("maximum", "minimum", "mean"):
        return NotImplemented
    plane = tuple(x.shape)[2:]
    if any(size <= wide for size, wide in zip(plane, window)):
        return NotImplemented
    extra = [step - 1 if layer.ceil_mode else 0 for step in stride]
    axes = list(zip(plane, window, stride, padding, extra))
    out = [(size + 2 * pad - wide + more) // step + 1 for size, wide, step, pad, more in axes]
    if any((n - 1) * step - pad >= size or pad >= wide for n, (size, wide, step, pad, _) in zip(out, axes)):
        return NotImplemented  # a window with nothing in it
    if layer.op == "mean":
        return ops.average_pool(x, out, window, stride, padding, bool(layer.count_include_pad) or not layer.ceil_mode)
    index = ops.max_index(x, out, window, stride, padding, layer.op == "minimum")
    pooled = ops.gather(x, index)
    return (pooled, index) if layer.return_indices else pooled


#: (where Jittor has it, as a path from `jittor`) → what takes its place.
OVERRIDES: dict[str, Callable[..., Any]] = {
    "nn.matmul": matmul,
    "nn.matmul_transpose": matmul_transpose,
    "Var.__add__": add,
    "Var.tanh": tanh,
    "tanh": tanh,
    "Var.sigmoid": sigmoid,
    "sigmoid": sigmoid,
    "nn.relu": relu,
    "nn.leaky_relu": leaky_relu,
    "nn.gelu": gelu,
    "nn.softplus": softplus,
    "nn.softmax": softmax,
    "nn.cross_entropy_loss": cross_entropy_loss,
    "nn.conv2d": conv2d,
    "nn.Conv.execute": conv_layer,
    "pool.Pool.execute": pool_layer,
    "pool.Pool3d.execute": pool_layer,
}
