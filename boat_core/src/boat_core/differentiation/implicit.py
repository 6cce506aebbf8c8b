"""Differentiates a solution through the condition that it satisfies: r(y(θ), θ) = 0, however y was found.

    ∂_y r · dy + ∂_θ r · dθ = 0        (∂_y r)ᵀ u = v        cotangent of θ = -uᵀ ∂_θ r        v the cotangent of y

This takes one linear solve and one product, both by reverse mode. With r = ∇_y f it differentiates a minimiser, with
the conditions of Karush, Kuhn and Tucker a constrained minimiser, and with r = y - T(y) a fixed point. u is itself the
root of (∂_y r)ᵀ u - v, so the same rule differentiates the derivative, to every order.
Source: Griewank and Walther, Evaluating Derivatives, SIAM 2008, chapter 15; as decorators: Blondel et al.,
NeurIPS 2022, arXiv 2105.15183.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import update_wrapper
from pathlib import Path
from typing import Any

import optree

from ..autodiff import arrays, derivatives
from ..autodiff.captured import Captured, Group
from ..autodiff.custom_vjp import attach_vjp
from ..autodiff.evaluation import evaluating
from ..autodiff.guard import MODES
from ..autodiff.pytrees import as_arrays, differentiable, path_text
from ..autodiff.vectors import Vector, first_nonfinite, norm
from ..declare.options import option, read_options
from ..errors import DoubtfulError, DoubtfulWarning, NonFiniteError, OperationError, OptionError, StructureError
from .linear.base import LinearSolve, LinearSolver
from .linear.gmres import gmres


@dataclass(frozen=True)
class Options:
    aux: bool = option(False, doc="the solver returns (y, anything else)")
    numpy: bool = option(False, doc="the solver takes numpy arrays")
    strict: bool = option(False, doc="doubts are errors")
    tolerance: float = option(1e-3, gt=0, doc="‖r‖ <= tolerance · (1 + ‖y‖) counts as zero")
    second_order_guard: str = option("error", choices=MODES, doc="operators that Jittor does not differentiate twice")


@dataclass
class ImplicitReport:
    """The report of one call.

    Attributes:
        optimality: ‖r(y, θ)‖ at the solution.
        bound: the largest `optimality` that raises no doubt.
        linear: the linear solve of the last derivative; None before the first one.
    """

    optimality: float
    bound: float
    linear: LinearSolve | None = None


def custom_root(
    optimality: Callable[..., Any],
    solve: LinearSolver | None = None,
    *,
    aux: bool = False,
    numpy: bool = False,
    strict: bool = False,
    tolerance: float = 1e-3,
    second_order_guard: str = "error",
) -> Callable[[Callable[..., Any]], Implicit]:
    """Make a solver differentiable, however it works: decorate `solver(start, *args, **keywords) -> y`.

        @boat.custom_root(boat.grad(lambda y, x, data: loss(y, x, data)))
        def fit(start, x, data): ...

        y = fit(start, x, data)
        jt.grad(validation(y), x)

    The derivative is the implicit one. It exists with respect to every floating-point Jittor array in the arguments,
    all of which may be pytrees. None, strings, numbers and numpy arrays are constants, and `start` has no derivative.
    An array that the condition uses without receiving it, from a closure say, has the right derivative too if BOAT
    takes it (`boat.value_and_grad`, an objective, a module's optimizer). With Jittor's own `grad` it is an error.
    `fit.report` is the report of the last call, see `ImplicitReport`.

    Args:
        optimality: r, a function `(y, *args, **keywords) -> pytree like y` that is zero at the solution. It may take
            gradients (`boat.grad`), and is evaluated like an objective.
        solve: the linear solver for (∂_y r)ᵀ u = v, by default `gmres()`. Use `conjugate_gradient()` if r is the
            gradient of something strictly convex. A preconditioner must be one for the transpose.
        aux: whether the solver returns `(y, aux)`. The decorated solver then does too. aux has no derivative.
        numpy: whether the solver receives numpy arrays instead of Jittor arrays. Both are copies without a history. The
            solver may change the arrays of `start`, but no others. In both cases it returns a pytree of floating-point
            numpy or Jittor arrays. Their dtypes are kept, and the shape () becomes (1,).
        strict: whether doubts raise `DoubtfulError` instead of a `DoubtfulWarning`.
        tolerance: the solution is doubtful if ‖r‖ > tolerance · (1 + ‖y‖).
        second_order_guard: the reaction to an operator that Jittor does not differentiate twice: "error", "warn" or
            "off". "off" is right if r takes no gradients.

    Raises:
        OptionError: a value is out of range.

    Calls raise:
        NonFiniteError: y or r holds a NaN or an infinity. The message names the leaf.
        StructureError: y is not such a pytree, or r is not like y. The message names the leaf.
        OperationError: the solver changed one of its arguments.
        DoubtfulError: the solution is doubtful, under `strict`.

    Taking a derivative raises NonFiniteError and DoubtfulError about the linear solve. The derivative can be
    differentiated again, to every order that r has. Each order takes another linear solve, with the same solver: a
    preconditioner should then fit ∂_y r as well as its transpose.
    """
    values = {
        "aux": aux,
        "numpy": numpy,
        "strict": strict,
        "tolerance": tolerance,
        "second_order_guard": second_order_guard,
    }
    options = read_options(Options, values, "custom_root")
    return _decorator("custom_root", optimality, False, solve, options)


def custom_fixed_point(
    mapping: Callable[..., Any],
    solve: LinearSolver | None = None,
    *,
    aux: bool = False,
    numpy: bool = False,
    strict: bool = False,
    tolerance: float = 1e-3,
    second_order_guard: str = "error",
) -> Callable[[Callable[..., Any]], Implicit]:
    """Make a solver of the fixed point y = T(y, *args, **keywords) differentiable: r = y - T(y).

    The matrix of the linear solve is (I - ∂_y T)ᵀ. If T is a contraction, `neumann()` iterates u ← v + ∂_yTᵀ u. All
    else is as for `custom_root`.

    Args:
        mapping: T, a function `(y, *args, **keywords) -> pytree like y`.
        solve, aux, numpy, strict, tolerance, second_order_guard: as for `custom_root`.
    """
    values = {
        "aux": aux,
        "numpy": numpy,
        "strict": strict,
        "tolerance": tolerance,
        "second_order_guard": second_order_guard,
    }
    options = read_options(Options, values, "custom_fixed_point")
    return _decorator("custom_fixed_point", mapping, True, solve, options)


def _decorator(
    where: str, condition: Callable[..., Any], fixed_point: bool, solve: LinearSolver | None, options: Options
) -> Callable[[Callable[..., Any]], Implicit]:
    if not callable(condition):
        raise OptionError(f"{where}: expected a function (y, *args) (got {condition!r})")
    if solve is not None and not isinstance(solve, LinearSolver):
        raise OptionError(f"{where}.solve: expected a linear solver such as gmres() (got {solve!r})")

    def decorate(solver: Callable[..., Any]) -> Implicit:
        if not callable(solver):
            raise OptionError(f"{where}: expected a function (start, *args) to decorate (got {solver!r})")
        return Implicit(solver, condition, fixed_point, solve or gmres(), options)

    return decorate


class Implicit:
    """A solver whose solution is differentiable, see `custom_root`.

    Attributes:
        report: the report of the last call; None before the first one.
    """

    def __init__(
        self,
        solver: Callable[..., Any],
        condition: Callable[..., Any],
        fixed_point: bool,
        linear: LinearSolver,
        options: Options,
    ) -> None:
        self.report: ImplicitReport | None = None
        self._solver, self._condition, self._fixed_point = solver, condition, fixed_point
        self._linear, self._options = linear, options
        self._name = getattr(solver, "__qualname__", type(solver).__qualname__)
        update_wrapper(self, solver, updated=())

    def __call__(self, start: Any, /, *args: Any, **keywords: Any) -> Any:
        theta = _Arguments(self._solver, (args, keywords))
        # The solver and the check take derivatives of their own, even if the caller is within `jt.no_grad()`.
        with evaluating():
            y, aux = self._solved(start, theta)
            captured = self._check(y, theta)
        assert self.report is not None
        solution = self._attached(y, theta, captured.arrays, theta.inputs, self.report)
        captured.tie(solution.leaves)
        return (solution.tree, aux) if self._options.aux else solution.tree

    def _attached(
        self, y: Vector, theta: _Arguments, captured: Sequence[Any], inputs: Sequence[Any], report: ImplicitReport
    ) -> Vector:
        """Return the solution y, with its derivative with respect to `inputs`, the arrays of θ that have one."""

        def pullback(cotangents: list[Any]) -> list[Any]:
            found, report.linear = self._cotangents(y, theta, captured, y.like(cotangents))
            return found

        def cotangents(inputs: list[Any], v: list[Any]) -> list[Any]:
            return self._cotangents_with_graph(y, theta, inputs, y.like(v), report)

        module = getattr(self._solver, "__module__", None) or __name__
        values: Sequence[Any] = [arrays.detach(leaf) for leaf in y.leaves]
        if all_inputs := [*inputs, *captured]:
            # Nothing can stand in for an array in a closure, so with one of them there is a first derivative only.
            every_order = None if captured else cotangents
            values = attach_vjp(f"{module}.{self._name}", values, all_inputs, pullback, every_order)
        return y.like(values)

    def _solved(self, start: Any, theta: _Arguments) -> tuple[Vector, Any]:
        numpy = self._options.numpy
        handed, own = theta.copied(numpy), _copied(as_arrays(start, f"{self._name}: start"), numpy)
        with evaluating(guard="off", differentiated=False):
            solution = self._solver(own, *handed[0], **handed[1])
        if changed := theta.changed(handed):
            raise OperationError(
                f"{self._name} changed its argument {changed}: expected it to change none of its arguments but"
                " start; the derivative is taken at the arguments of the caller"
            )
        aux: Any = None
        if self._options.aux:
            if not isinstance(solution, (tuple, list)) or len(solution) != 2:
                raise StructureError(f"{self._name}: expected (y, aux), since aux=True (got {type(solution).__name__})")
            solution, aux = solution
        y = Vector.of(solution, f"{self._name}: the solution").sync()
        if leaf := first_nonfinite(y):
            raise NonFiniteError(f"{self._name}: NaN or infinity in the solution, {leaf}")
        return y, optree.tree_map(lambda leaf: arrays.detach(leaf) if arrays.is_jittor(leaf) else leaf, aux)

    def _residual(self, y: Vector, arguments: Any, wrt: tuple[Group, ...] = (), twice: bool = False) -> Vector:
        """Return r(y, θ) with its graph. `twice`: its derivative will be differentiated, so the guard must be on."""
        what = f"{self._name}: the {'mapping' if self._fixed_point else 'optimality'}"
        guard = self._options.second_order_guard
        guard = "error" if twice and guard == "off" else guard
        with evaluating(native=True, guard=guard, differentiated=True, point=y.leaves, wrt=wrt):
            value = _like(y, self._condition(y.tree, *arguments[0], **arguments[1]), what)
            return y - value if self._fixed_point else value

    def _check(self, y: Vector, theta: _Arguments) -> Captured:
        """Check the solution. Return what the condition uses besides y and θ."""
        point, arguments = y.detach(), theta.detached()[0]
        captured = Captured(self._name, "Pass the array to the solver and to the condition as an argument.")
        r = captured.call(lambda: self._residual(point, arguments), lambda r: r.leaves).detach()
        if leaf := first_nonfinite(r):
            raise NonFiniteError(f"{self._name}: the optimality condition contains NaN or infinity, {leaf}")
        tolerance = self._options.tolerance
        self.report = ImplicitReport(norm(r), tolerance * (1 + norm(y)))
        if self.report.optimality > self.report.bound:
            what = "‖mapping(y) - y‖" if self._fixed_point else "‖optimality(y)‖"
            self._doubt(
                f"the solution may be wrong, and its derivative too: {what} = {self.report.optimality:.3g} >"
                f" {self.report.bound:.3g} = {tolerance:g} · (1 + ‖y‖); let the solver go on for longer, or raise the"
                " tolerance"
            )
        return captured

    def _cotangents(
        self, y: Vector, theta: _Arguments, captured: Sequence[Any], v: Vector
    ) -> tuple[list[Any], LinearSolve]:
        arguments, inputs = theta.detached()
        inputs = [*inputs, *captured]
        r, u, solve = self._adjoint(y.detach(), arguments, v, inputs)
        # cotangent of θ = -uᵀ ∂_θ r
        return [-leaf for leaf in derivatives.vjp(r.leaves, u.leaves, inputs)], solve

    def _adjoint(
        self, y: Vector, arguments: Any, v: Vector, inputs: Sequence[Any] = ()
    ) -> tuple[Vector, Vector, LinearSolve]:
        """Solve (∂_y r)ᵀ u = v. Return r with its graph, u, and how the solve ended."""
        r = self._residual(y, arguments, (("the solution", y), ("the arguments", list(inputs))))

        def transposed(u: Vector) -> Vector:  # (∂_y r)ᵀ u
            return y.like(derivatives.vjp(r.leaves, u.leaves, y.leaves))

        u, solve = self._linear(transposed, v, _Forward(r, y) if self._linear.transpose else None)
        if solve.stopped == "not finite":
            raise NonFiniteError(
                f"{self._name}: its derivative contains NaN or infinity, from the cotangent of the solution or from"
                f" products with the derivative of the optimality condition ({solve.method}, iteration"
                f" {solve.iterations})"
            )
        if solve.concern:
            remedy = f"; {solve.remedy}" if solve.remedy else ""
            self._doubt(f"its derivative may be wrong: {solve.method}: {solve.concern}{remedy}")
        return r, u, solve

    def _cotangents_with_graph(
        self, y: Vector, theta: _Arguments, inputs: list[Any], v: Vector, report: ImplicitReport
    ) -> list[Any]:
        """Return -uᵀ ∂_θ r as a function of θ and v that can be differentiated.

        y = y(θ) has the implicit derivative, and so has u = u(y, θ, v), as the root of (∂_y r)ᵀ u - v.
        """

        def pulled(u: Any, y: Vector, inputs: list[Any], by: str) -> list[Any]:
            """uᵀ ∂_y r or uᵀ ∂_θ r: derivatives with respect to copies in the graph, so that they are partial ones."""
            y, own = y.map(lambda leaf: leaf.clone()), [array.clone() for array in inputs]
            r = self._residual(y, theta.with_inputs(own), (("the solution", y), ("the arguments", own)), twice=True)
            return derivatives.gradient(
                derivatives.inner(r.leaves, y.like_tree(u).leaves), y.leaves if by == "y" else own
            )

        def condition(u: Any, leaves: list[Any], inputs: list[Any], v: list[Any]) -> Any:
            return (y.like(pulled(u, y.like(leaves), inputs, "y")) - y.like(v)).tree

        def solver(start: Any, leaves: list[Any], inputs: list[Any], v: list[Any]) -> Any:
            return self._adjoint(y.like(leaves), theta.with_inputs(inputs), y.like(v))[1].tree

        solver.__qualname__ = f"{self._name}: its derivative"
        options = replace(self._options, aux=False, numpy=False)
        adjoint = Implicit(solver, condition, False, self._linear, options)
        with evaluating(differentiated=True):
            solution = self._attached(y, theta, (), inputs, report)
            u = adjoint(v.detach().tree, list(solution.leaves), inputs, list(v.leaves))
            return [-leaf for leaf in pulled(u, solution, inputs, "θ")]

    def _doubt(self, text: str) -> None:
        message = f"{self._name}: {text}"
        if self._options.strict:
            raise DoubtfulError(message)
        warnings.warn(message, DoubtfulWarning, stacklevel=_users_level())


class _Forward:
    """w ↦ ∂_y r · w by reverse mode alone: (∂_y r)ᵀu is linear in u, and the pullback of that map is w ↦ ∂_y r · w."""

    def __init__(self, r: Vector, y: Vector) -> None:
        self._u = r.detach()  # the map is linear, so any point will do
        self._pulled = y.like(derivatives.gradient(derivatives.inner(r.leaves, self._u.leaves), y.leaves))

    def __call__(self, w: Vector) -> Vector:
        return self._u.like(derivatives.vjp(self._pulled.leaves, w.leaves, self._u.leaves))


class _Arguments:
    """The arguments of the solver besides its start: `(args, keywords)`."""

    def __init__(self, solver: Callable[..., Any], tree: Any) -> None:
        self._names = _names(solver)
        paths, leaves, self._structure = optree.tree_flatten_with_path(tree)
        self._places = [self._place(path) for path in paths]
        read = [arrays.as_array(a, p) if arrays.is_array(a) else a for a, p in zip(leaves, self._places)]
        # A numpy array becomes a Jittor array that nobody else holds, so nobody can ask for a derivative by it.
        self._varying = [i for i, leaf in enumerate(leaves) if arrays.is_jittor(leaf) and differentiable(leaf)]
        #: The arrays that have a derivative, with their history.
        self.inputs = [read[i] for i in self._varying]
        # Their values now: the caller may update them in place before a derivative is taken.
        self._leaves = [arrays.detach(leaf) if arrays.is_jittor(leaf) else leaf for leaf in read]

    def detached(self) -> tuple[Any, list[Any]]:
        """Return the arguments without their history, and the list of those that have a derivative."""
        leaves = [arrays.detach(leaf) if arrays.is_jittor(leaf) else leaf for leaf in self._leaves]
        return self._structure.unflatten(leaves), [leaves[i] for i in self._varying]

    def with_inputs(self, inputs: Sequence[Any]) -> Any:
        """Return the arguments with other arrays in place of those that have a derivative."""
        leaves = [arrays.detach(leaf) if arrays.is_jittor(leaf) else leaf for leaf in self._leaves]
        for place, array in zip(self._varying, inputs):
            leaves[place] = array
        return self._structure.unflatten(leaves)

    def copied(self, numpy: bool) -> Any:
        """Return copies of the arguments, with memory of their own."""
        return _copied(self._structure.unflatten(self._leaves), numpy)

    def changed(self, handed: Any) -> str | None:
        """Return the place of the first argument that was changed, or None."""
        leaves, structure = optree.tree_flatten(handed)
        if structure != self._structure:
            return "containers"
        for place, mine, theirs in zip(self._places, self._leaves, leaves):
            if arrays.is_array(mine) and not _equal(arrays.to_numpy(mine), theirs):
                return place
        return None

    def _place(self, path: tuple[Any, ...]) -> str:
        """A name such as `'x'['weights'][0]`."""
        part, key, *rest = path
        name = self._names[key] if part == 0 and key < len(self._names) else key
        return f"{name!r}{path_text(rest)}"


def _names(solver: Callable[..., Any]) -> list[str]:
    """Return the names of the positional parameters after the start."""
    try:
        parameters = list(inspect.signature(solver).parameters.values())
    except (TypeError, ValueError):  # written in C
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][1:]


def _equal(mine: Any, theirs: Any) -> bool:
    if not arrays.is_array(theirs):
        return False
    import numpy as np

    theirs = arrays.to_numpy(theirs)
    return mine.dtype == theirs.dtype and np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


def _copied(tree: Any, numpy: bool) -> Any:
    """Return copies as numpy or Jittor arrays. (A detached Jittor array shares its memory with the original.)"""

    def copy(leaf: Any) -> Any:
        if not arrays.is_array(leaf):
            return leaf
        values = arrays.to_numpy(leaf)
        return values if numpy else arrays.as_array(values)

    return optree.tree_map(copy, tree)


def _like(y: Vector, tree: Any, what: str) -> Vector:
    """Return a pytree, which must be like y, as a vector with its graph.

    Raises:
        StructureError: a leaf is missing, unexpected or different. The message names it.
    """
    paths, leaves, structure = optree.tree_flatten_with_path(tree)
    names = [path_text(path) for path in paths]
    if structure != y.structure:
        for text, ours, theirs in (("a leaf", y.paths, names), ("no leaf", names, y.paths)):
            for name in ours:
                if name and name not in theirs:
                    raise StructureError(f"{what}: expected a pytree like the solution, {text} {name} in it")
        raise StructureError(f"{what}: expected the structure {y.structure} (got {structure})")
    for name, leaf in zip(names, leaves):
        if not arrays.is_jittor(leaf):
            raise StructureError(f"{what}{name}: expected a Jittor array (got {type(leaf).__name__})")
    found = y.like([arrays.narrowed(leaf, own) for leaf, own in zip(leaves, y.leaves)])
    found.check_like(y, what)
    return found


def _users_level() -> int:
    """Return the stack level, counted from the caller, of the first line that belongs neither to BOAT nor to Jittor."""
    folders = tuple(str(Path(str(sys.modules[name].__file__)).parent) for name in ("boat_core", "jittor"))
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(folders):
        level, frame = level + 1, frame.f_back
    return level
