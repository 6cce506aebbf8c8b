"""Estimates gradients from function values alone: the gradient of f smoothed by a Gaussian.

    f_σ(x) = E f(x + σu),   u ~ N(0, I)        ∇f_σ(x) = E f(x + σu) u / σ

    naive        Σ f(x + σu_i) u_i / nσ
    forward      Σ (f(x + σu_i) - f(x)) u_i / nσ
    antithetic   Σ (f(x + σu_i) - f(x - σu_i)) u_i / 2nσ
    baseline     Σ (f(x + σu_i) - b_i) u_i / nσ,   b_i the mean of the other n - 1 values

All are unbiased for ∇f_σ. It differs from ∇f by O(σ²) if f is smooth, and exists even if ∇f does not. The noise of the
naive estimate grows as f(x)/σ; the others remove f(x). If f is linear in d variables, the relative standard error of
the antithetic estimate is √((d + 1)/n).

Sources: Nesterov and Spokoiny, Found. Comput. Math. 17, 2017 (the first three); Salimans et al. 2017, arXiv 1703.03864;
the mean of the other samples: Kool, van Hoof and Welling, ICLR 2019 workshop on structured prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import optree

from .._util.integers import as_integer
from ..autodiff import arrays
from ..autodiff.captured import Captured
from ..autodiff.custom_vjp import attach_vjp
from ..autodiff.evaluation import evaluating
from ..autodiff.pytrees import path_text
from ..autodiff.vectors import Vector
from ..declare.options import option, read_options
from ..errors import NonFiniteError, ObjectiveError, OptionError, StructureError

if TYPE_CHECKING:
    import numpy as np

METHODS = ("antithetic", "forward", "naive", "baseline")


@dataclass(frozen=True)
class Smoothing:
    """Options of an estimate."""

    method: str = option("antithetic", choices=METHODS, doc="which estimate, see the module")
    samples: int = option(20, ge=1, doc="n, directions")
    sigma: float = option(0.01, gt=0, doc="σ, how far they reach")

    def __post_init__(self) -> None:
        if self.method == "baseline" and self.samples < 2:
            raise OptionError(f"samples: expected at least 2 with method 'baseline' (got {self.samples})")


@dataclass(frozen=True)
class Decoration(Smoothing):
    """Options of `es_grad`."""

    seed: int = option(0, ge=0, doc="seed of the directions")
    argnums: int | tuple = option(0, ge=0, doc="places of the arguments that are differentiated")
    numpy: bool = option(False, doc="hand the function numpy arrays")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.places or not all(place >= 0 for place in self.places):
            raise OptionError(f"argnums: expected places of arguments, integers >= 0 (got {self.argnums!r})")

    @property
    def places(self) -> tuple[int, ...]:
        places = map(as_integer, self.argnums if isinstance(self.argnums, tuple) else (self.argnums,))
        return tuple(-1 if place is None else place for place in places)


def smoothed_gradient(
    value: Callable[[Vector], float],
    x: Vector,
    *,
    method: str,
    samples: int,
    sigma: float,
    rng: np.random.Generator,
    centre: float | None = None,
    values: Callable[[Iterable[Vector]], Iterable[float]] | None = None,
) -> tuple[Vector, dict[str, Any]]:
    """Estimate ∇f_σ(x) from values of f.

    Args:
        value: the function f.
        x: the point.
        method: "antithetic", "forward", "naive" or "baseline", see the module.
        samples: the number n of directions, at least 1, and at least 2 for "baseline".
        sigma: σ > 0.
        rng: draws each direction as `rng.standard_normal(x.size)`, in the order of the leaves.
        centre: f(x) if it is known; "forward" uses it.
        values: gives f at each point of an iterable, in order, for callers that compute several values together. It
            takes the points one by one, no further ahead than its values are taken. By default `value` is called.

    Returns:
        The estimate, in the space of x, and a report: method, samples, evaluations (of f), sigma and standard_error.
        The standard error comes from the spread of the samples and is relative to ‖∇f_σ‖. That norm is estimated
        without bias, since the norm of the estimate includes noise. The standard error is None if one sample cannot
        show it, or if noise hides the gradient.

    Raises:
        OptionError: a number is out of range, or σ is too small to change x in its dtype.
        NonFiniteError: f is not finite at a sample. The message names the sample.
    """
    import numpy as np

    options = {"method": method, "samples": samples, "sigma": sigma}
    o = read_options(Smoothing, options, "smoothed_gradient")
    _check_resolution(x, o.sigma)
    n, d = o.samples, x.size
    evaluations, at_x = (2 * n if o.method == "antithetic" else n), 0.0
    if o.method == "forward":
        evaluations += centre is None
        at_x = _finite(value(x) if centre is None else centre, "x")
    weights, squares = np.empty(n), np.empty(n)  # a_i and ‖u_i‖² of the estimate Σ a_i u_i / nσ
    total, plain = np.zeros(d), np.zeros(d)  # Σ a_i u_i and Σ u_i, so that no direction is kept
    u = total

    def points() -> Iterator[Vector]:
        nonlocal u
        for _ in range(n):
            u = rng.standard_normal(d)
            step = o.sigma * x.like_flat(u)
            yield x + step
            if o.method == "antithetic":
                yield x - step

    at_points = iter(map(value, points()) if values is None else values(points()))
    for i in range(n):
        place = f"sample {i} of {n}"
        a = _finite(next(at_points), f"{place}, x + σu") - at_x
        if o.method == "antithetic":
            a = 0.5 * (a - _finite(next(at_points), f"{place}, x - σu"))
        weights[i], squares[i] = a, u @ u
        total, plain = total + a * u, plain + u
    if o.method == "baseline":  # a_i - b_i = (a_i - mean a) n / (n - 1)
        mean, factor = weights.mean(), n / (n - 1)
        total, weights = factor * (total - mean * plain), factor * (weights - mean)
    estimate = total / (n * o.sigma)
    error = _standard_error(weights / o.sigma, squares, float(estimate @ estimate))
    report = {**options, "evaluations": evaluations, "standard_error": error}
    return x.like_flat(estimate), report


def _finite(number: float, place: str) -> float:
    if not math.isfinite(number):
        raise NonFiniteError(f"{place}: the function is {number}")
    return number


def _standard_error(weights: np.ndarray, squares: np.ndarray, length: float) -> float | None:
    """Return √(s²/(‖g‖² - s²)), where g is the mean of the samples a_i u_i, ‖g‖² = `length`, and s² is its variance.

    Since E ‖g‖² = ‖∇f_σ‖² + s², the denominator estimates ‖∇f_σ‖² without bias. (Baselines correlate the samples by
    O(1/n²), which is neglected.)
    """
    if len(weights) == 1:
        return None
    variance = max(0.0, float((weights * weights * squares).mean() - length) / (len(weights) - 1))
    if variance == 0:
        return 0.0
    signal = length - variance
    return math.sqrt(variance / signal) if 0 < signal < math.inf else None


def _check_resolution(x: Vector, sigma: float) -> None:
    import numpy as np

    for leaf in x.leaves:
        entries = np.abs(arrays.to_numpy(leaf))
        largest = float(entries.max(initial=0.0))
        # Not np.finfo: it warns of the flush-to-zero that Jittor's kernels switch on.
        if sigma < np.spacing(np.ones(1, entries.dtype))[0] * largest < math.inf:
            raise OptionError(
                f"sigma: a step of {sigma:g} is lost to rounding beside an entry of {largest:.3g} in {leaf.dtype}"
            )


def es_grad(
    *,
    method: str = Smoothing.method,
    samples: int = Smoothing.samples,
    sigma: float = Smoothing.sigma,
    seed: int = 0,
    argnums: int | tuple[int, ...] = 0,
    numpy: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function that cannot be differentiated: its gradient becomes that of its smoothing.

        @boat.es_grad(samples=100, sigma=0.1)
        def score(weights, data):
            return count_errors(weights, data)     # a number, made in any way

    Args:
        method, samples, sigma: as in `smoothed_gradient`.
        seed: the seed of the directions. Call k = 0, 1, … of the decorated function draws from
            `default_rng([seed, k])`: new directions in every call, and the same ones in every run. An additional call
            shifts the directions of all later ones.
        argnums: the place of the argument that is differentiated, or a tuple of places.
        numpy: whether the function receives numpy arrays instead of Jittor's (scalars as arrays of shape (1,)).

    Returns:
        A decorator. In the chosen arguments the decorated function takes pytrees of arrays, whose floating-point arrays
        are differentiated; in the others it takes anything. It returns an array of shape (1,) in the widest dtype of
        the differentiated arrays. Its value is that of the function. Its derivative is the estimate, which is made
        when a derivative is taken (by default the function is then called 2n times). Everything else that the function
        uses is constant. There, an array with respect to which a derivative is taken is an error. `report` is the
        report of the last estimate, None before the first one.

    The estimate has no derivative: that of a noisy number says nothing. So the second-order guard refuses the function
    where a second derivative is taken. It can be used in F, and in f for
    first-order methods. It is evaluated like an objective, see `docs/operators.md`; kernels are allowed in it.

    Raises:
        OptionError: an option is out of range; while a derivative is taken: σ is lost to rounding.
        StructureError: in a call: a chosen argument is missing, or no chosen argument holds a floating-point array.
        ObjectiveError: in a call: the function does not return one number, or changes one of its arguments.
        NonFiniteError: while a derivative is taken: f is not finite at a sample.
    """
    values = {"method": method, "samples": samples, "sigma": sigma, "seed": seed, "argnums": argnums, "numpy": numpy}
    o = read_options(Decoration, values, "es_grad")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
        calls = 0

        @wraps(function)
        def decorated(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            import numpy as np

            call = _Call(function, f"es_grad of {name}", o, arguments, keywords)
            captured = Captured(call.name, "Pass the array as an argument, and list its place in argnums.")
            captured.search(function)
            value = captured.call(lambda: call.value(call.x, checked=True), lambda _: call.results())
            if captured.arrays:
                raise ObjectiveError(
                    f"{call.name}: it uses {captured.place} without receiving it, and a derivative is taken with"
                    " respect to that array; it would be 0. Pass the array as an argument and list its place in"
                    " argnums; if the array is a constant here, use array.detach()"
                )
            seed, calls = [o.seed, calls], calls + 1

            def pullback(cotangents: list[Any]) -> Any:
                rng = np.random.default_rng(seed)
                estimate, report = smoothed_gradient(
                    call.value, call.x, method=o.method, samples=o.samples, sigma=o.sigma, rng=rng, centre=value
                )
                decorated.report = report  # type: ignore[attr-defined]
                return (arrays.scalar(cotangents[0]) * estimate).leaves

            dtype = np.result_type(*(str(leaf.dtype) for leaf in call.x.leaves))
            (result,) = attach_vjp(name, [arrays.as_array(np.array([value], dtype))], call.inputs, pullback)
            captured.tie([result])
            return result

        decorated.report = None  # type: ignore[attr-defined]
        return decorated

    return decorate


class _Call:
    """A function and the arguments of one call, with the values that they had then.

    Attributes:
        inputs: the leaves that are differentiated, with their history.
        x: the values of these leaves.
    """

    _last: Any = None

    def __init__(
        self, function: Any, name: str, o: Decoration, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> None:
        self.function, self.name, self.numpy = function, name, o.numpy
        for place in o.places:
            if place >= len(arguments):
                raise StructureError(f"{name}: expected an argument {place} (got {len(arguments)} by place)")
        everything: Any = (arguments, dict(keywords))
        self.paths, leaves, self.structure = optree.tree_flatten_with_path(everything)
        self.chosen = [
            path[0] == 0 and path[1] in o.places and arrays.is_array(leaf) and arrays.float_kind(leaf)
            for path, leaf in zip(self.paths, leaves)
        ]
        if not any(self.chosen):
            places = ", ".join(map(str, o.places))
            raise StructureError(f"{name}: expected a floating-point array in argument {places} (got none)")
        # The other leaves become None, which is no leaf, so that the paths in x begin with the place of an argument.
        alone, _ = self.structure.unflatten(leaf if mine else None for leaf, mine in zip(leaves, self.chosen))
        self.x = Vector.of(alone, name)
        mine = (leaf for leaf, chosen in zip(leaves, self.chosen) if chosen)
        self.inputs = [leaf if arrays.is_jittor(leaf) else fixed for leaf, fixed in zip(mine, self.x.leaves)]
        for path, leaf in zip(self.paths, leaves):
            arrays.refuse_mask(leaf, f"{name}: argument {path[1]}{path_text(path[2:])}")
        self.leaves = [_copy(leaf) for leaf in leaves]

    def results(self) -> list[Any]:
        """Return what the function returned last, if it is an array with its graph, and forget it."""
        last, self._last = self._last, None
        return [last] if arrays.is_jittor(last) else []

    def value(self, x: Vector, checked: bool = False) -> float:
        """Return the function at x, computed now. `checked` also tests that it changes none of its arguments."""
        import numpy as np

        moved = iter(x.leaves)
        leaves = [_copy(next(moved) if mine else leaf) for leaf, mine in zip(self.leaves, self.chosen)]
        if self.numpy:
            leaves = [arrays.to_numpy(leaf) if arrays.is_array(leaf) else leaf for leaf in leaves]
        before = [arrays.to_numpy(leaf) if checked and arrays.is_array(leaf) else None for leaf in leaves]
        arguments, keywords = self.structure.unflatten(leaves)
        # No derivative passes through what is computed here.
        with evaluating(native=True, guard="off", differentiated=False, point=x.leaves):
            result = self.function(*arguments, **keywords)
            value = self._number(result)
        if checked:
            self._last = result
        for path, leaf, old in zip(self.paths, leaves, before):
            if old is not None and not np.array_equal(arrays.to_numpy(leaf), old, equal_nan=old.dtype.kind == "f"):
                place = f"{path[1]}{path_text(path[2:])}"
                raise ObjectiveError(f"{self.name}: it changed its argument {place}; it must not change its arguments")
        return value

    def _number(self, value: Any) -> float:
        if arrays.is_array(value) or isinstance(value, (int, float)):
            values = arrays.to_numpy(value)
            if values.size == 1 and values.dtype.kind in "biuf":
                return float(values.reshape(-1)[0])
        what = f"an array of shape {list(value.shape)}" if arrays.is_array(value) else type(value).__name__
        raise ObjectiveError(f"{self.name}: expected one number (got {what})")


def _copy(leaf: Any) -> Any:
    """Return a copy of an array, and any other leaf as it is."""
    import numpy as np

    if arrays.is_jittor(leaf):
        return arrays.detach(leaf)
    return np.array(leaf) if isinstance(leaf, np.ndarray) else leaf
