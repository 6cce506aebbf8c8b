"""Puts a layer behind each layer of any network: warp layers (WarpGrad), or the T of a T-net (MT-net).

    with_warps(net)         φ after every convolution and linear layer; tasks adapt the layers, all tasks share φ
    with_transforms(net)    T·(W u + b): a 1×1 convolution after a convolution, a matrix after a linear layer

Both begin as the identity, so that at first the network computes what it did before. The parameters of a layer
`conv.weight` are called `conv.layer.weight` then, those behind it `conv.warp.weight` or `conv.transform.weight`.

Sources: Flennerhag et al. (WarpGrad), ICLR 2020, arXiv 1909.00025; Lee and Choi (MT-net), ICML 2018, arXiv 1801.05558.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

import boat_core as boat


def with_warps(
    network: Any, make: Callable[[Any], Any] | None = None, after: Callable[[str, Any], bool] | None = None
) -> Any:
    """Put a warp layer behind layers of a network. Changes the network, and returns it.

    Args:
        network: A Jittor Module. Its layers must be called as attributes (`self.conv(u)`), as in `nn.Sequential`.
        make: A function `(layer) -> Module` that makes the warp layer. By default it is a 3×3 convolution with a bias
            after a convolution, and a linear layer after a linear layer, both the identity at first.
        after: A function `(name, layer) -> bool` that chooses the layers. By default all convolutions and linear layers
            but the last layer get one: behind the last, a warp would mix the classes.

    Raises:
        StructureError: no layer is chosen, or a layer is one for which `make` is needed.
    """
    return _followed(network, "warp", make or _warp, after, skip_last=True)


def with_transforms(network: Any, after: Callable[[str, Any], bool] | None = None) -> Any:
    """Put the T of a T-net behind layers of a network: y = T (W u + b). Changes the network, and returns it.

    Args:
        network: As for `with_warps`.
        after: As for `with_warps`; by default all convolutions and linear layers.

    Raises:
        StructureError: no layer is chosen, or a layer is neither a convolution nor linear.
    """
    return _followed(network, "transform", _transform, after, skip_last=False)


def split(parameters: Mapping[str, Any], shared: Callable[[str], bool]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split parameters by their names into (shared by all tasks, adapted by each task)."""
    return (
        {name: value for name, value in parameters.items() if shared(name)},
        {name: value for name, value in parameters.items() if not shared(name)},
    )


def is_behind(name: str) -> bool:
    """Whether a parameter belongs to a layer that `with_warps` or `with_transforms` made."""
    return any(part in ("warp", "transform") for part in name.split("."))


def _followed(
    network: Any,
    name: str,
    make: Callable[[Any], Any],
    after: Callable[[str, Any], bool] | None,
    skip_last: bool,
) -> Any:
    from jittor import nn

    places = [place for place in _places(network) if not is_behind(place[0])]
    if after is not None:
        chosen = [place for place in places if after(place[0], place[1])]
    else:
        chosen = [place for place in places if isinstance(place[1], (nn.Conv2d, nn.Linear))]
        chosen = chosen[:-1] if skip_last else chosen
    if not chosen:
        kinds = sorted({type(layer).__name__ for _, layer, _ in places})
        expected = "a network with convolutions or linear layers as attributes"
        raise boat.StructureError(
            where=type(network).__name__, expected=expected, got=", ".join(kinds) or "no layer", hint="see `after`"
        )
    made: dict[int, Any] = {}  # a layer that is used in two places keeps one warp
    for _, layer, put in chosen:
        if id(layer) not in made:
            made[id(layer)] = nn.Sequential(OrderedDict([("layer", layer), (name, make(layer))]))
        put(made[id(layer)])
    return network


def _places(module: Any, prefix: str = "") -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield (dotted name, layer, function that puts another layer in its place) for all layers below a module."""
    from jittor import nn

    holder = module.layers if isinstance(module, nn.Sequential) else vars(module)
    for key, child in list(holder.items()):
        if isinstance(child, nn.Module):
            yield f"{prefix}{key}", child, partial(holder.__setitem__, key)
            yield from _places(child, f"{prefix}{key}.")


def _width(layer: Any, what: str) -> int:
    from jittor import nn

    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        expected = "a convolution or a linear layer"
        raise boat.StructureError(where=what, expected=expected, got=type(layer).__name__, hint="see `make`")
    return int(layer.weight.shape[0])


def _warp(layer: Any) -> Any:
    from jittor import nn

    width, dtype = _width(layer, "with_warps"), str(layer.weight.dtype)
    if isinstance(layer, nn.Linear):
        return _linear(np.eye(width), dtype, bias=True)
    kernel = np.zeros((width, width, 3, 3))
    kernel[:, :, 1, 1] = np.eye(width)
    return _convolution(kernel, dtype, bias=True)


def _transform(layer: Any) -> Any:
    from jittor import nn

    width, dtype = _width(layer, "with_transforms"), str(layer.weight.dtype)
    if isinstance(layer, nn.Linear):
        return _linear(np.eye(width), dtype, bias=False)
    return _convolution(np.eye(width)[:, :, None, None], dtype, bias=False)


def _linear(weight: np.ndarray, dtype: str, bias: bool) -> Any:
    from jittor import nn

    layer = nn.Linear(*weight.shape[::-1], bias=bias)
    return _with_values(layer, weight, dtype, bias)


def _convolution(kernel: np.ndarray, dtype: str, bias: bool) -> Any:
    from jittor import nn

    size = kernel.shape[2]
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], size, padding=size // 2, bias=bias)
    return _with_values(layer, kernel, dtype, bias)


def _with_values(layer: Any, weight: np.ndarray, dtype: str, bias: bool) -> Any:
    import jittor as jt

    layer.weight = jt.array(weight.astype(dtype), dtype=dtype)
    if bias:
        layer.bias = jt.array(np.zeros(len(weight), dtype), dtype=dtype)
    return layer
