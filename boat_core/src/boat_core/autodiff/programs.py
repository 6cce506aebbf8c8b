"""Programs: one lower step, traced once and run again without Python, Jittor's graph or its executor.

A trace calls the step with placeholders, through the same door and the same operators as an ordinary step, and notes
what Jittor would launch. `boat_core.autodiff.replayed` runs it. The C++ part is `operators/sources/program.h`.

    phase 0    z, x, data           → z'          the direction and the optimizer
    phase 1    z, x, data, p, dx    → p', dx'     the optimizer's adjoint and the product with second derivatives

A program is used only if nothing that its step does can depend on what a program does not see. Each test below refuses
otherwise, with a reason, and the ordinary steps are taken:

- the trace reads no value. The step sees every placeholder through a view that is not computed; to read it, Jittor has
  to compute, and it counts how often it does.
- what the step does with its number t is a formula, see `boat_core.autodiff.step_numbers`. The state may count steps.
- all operators are known to depend on their inputs and on nothing else: no random numbers, no shapes that depend on
  values, no operators that call Python.
- the step changes nothing that it is given, and nobody else holds an array of the trace.
- a second trace gives the same operators with the same numbers.

A program belongs to one outer step. The functions that it was traced from may read anything that does not change while
the lower steps run, so it is made anew in each.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import optree

from . import arrays, derivatives
from .arrays import Array
from .backend import jt
from .derivatives import Counter
from .operators import library
from .pytrees import Tree, Unchanged, float_leaves
from .step_numbers import Marks, StepNumber
from .unrolled import Step

#: The versions of Jittor whose way of scheduling `operators/sources/schedule.h` follows.
KNOWN_VERSIONS = ("1.3.11.0",)


class Refused(Exception):
    """A step cannot be a program. The text is the reason, as reports give it."""


class Traceable(Step, Protocol):
    """A step that can be a program.

    Attributes:
        varies: whether the steps read different data.
    """

    @property
    def varies(self) -> bool: ...

    def data(self, t: int) -> Tree:
        """Return what step t reads besides z and x, such as its batch: a pytree of arrays and other things."""

    def reading(self, data: Tree) -> Step:
        """Return the step that reads this data, at whatever t, and reports its calls to nobody."""

    def replayed(self) -> None:
        """A program computed one direction in place of this step."""


def obstacle() -> str:
    """Say why no program can be used in this process; the empty text if they can."""
    if jt.__version__ not in KNOWN_VERSIONS:
        return f"programs are known to work with Jittor {', '.join(KNOWN_VERSIONS)} (this is {jt.__version__})"
    flags = jt.flags
    if flags.use_cuda:
        return "programs run on the CPU only"
    if flags.amp_reg:
        return "Jittor chooses the precision (amp)"
    if flags.profiler_enable or flags.trace_py_var or not flags.lazy_execution:
        return "Jittor is to profile, to trace or to compute at once"
    if library.operators() is None:
        return "BOAT's library of operators is not available"
    return ""


@dataclass(frozen=True)
class Signature:
    """What two steps must have in common to be one program: structures, shapes, dtypes, and whatever is no array."""

    structure: Any
    shapes: tuple[Any, ...]
    others: tuple[Any, ...]

    @classmethod
    def of(cls, tree: Tree) -> Signature:
        leaves, structure = optree.tree_flatten(tree)
        shapes = tuple((*leaf.shape, str(leaf.dtype)) if arrays.is_jittor(leaf) else None for leaf in leaves)
        return cls(structure, shapes, tuple(leaf for leaf in leaves if not arrays.is_jittor(leaf)))

    def same(self, other: Signature) -> bool:
        """Whether both are alike. What cannot be compared is not."""
        return (
            self.structure == other.structure
            and self.shapes == other.shapes
            and all(map(_same, self.others, other.others))
        )


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:
        return False


class Program:
    """One lower step as a program.

    Args:
        step: the step.
        z, x: its first iterate and the parameters, for their structure.
        steps: the number of steps; t is below it.
        pulled: whether there is a phase 1.
        frozen: whether phase 1 takes d as a constant.

    Attributes:
        size: the number of arrays in z.
        residual_bytes: what one step leaves for its pullback.
        temporary_bytes: what the program needs while it runs.
        launches: the number of kernels and operators in it.
        forward, backward: the derivatives that each phase takes.
        numbers: for each t, the numbers to be set before step t; None if there are none.

    Raises:
        Refused: the step cannot be a program.
    """

    def __init__(self, step: Traceable, z: Tree, x: Tree, steps: int, *, pulled: bool, frozen: bool) -> None:
        self._ops = library.operators()
        self.pulled, self.frozen, self.steps = pulled, frozen, steps
        trace, again = _Trace(step, z, x, 0, steps), _Trace(step, z, x, steps - 1, steps)
        marks = trace.marks
        self.size = trace.size
        self.handle = self._ops.program_open(trace.own)
        # Freed with this object, and at the latest before Jittor's own objects go.
        weakref.finalize(self, self._ops.program_free, self.handle)
        # The second trace comes first: once a phase is added, its arrays count as computed.
        with _watching(marks):
            self.forward = trace.forward()
        with _watching(again.marks):
            again.forward()
        trace.compare(again)
        del again
        with _watching(marks):
            trace.add_forward(self.handle)
            self.backward = trace.backward(self.handle, frozen) if pulled else Counter()
        del trace  # it would be the one who holds the arrays
        _accept(self._ops.program_close(self.handle))
        self.residual_bytes, self.temporary_bytes, self.launches = self._ops.program_sizes(self.handle)
        self.numbers = self._find(marks)

    def at(self, t: int) -> None:
        """Set the numbers of step t."""
        if self.numbers is not None:
            self._ops.program_set(self.handle, self.numbers[t])

    def _find(self, marks: Marks) -> list[list[float]] | None:
        """Find the marks in the graph, and return the numbers that belong there at each t."""
        if not marks.formulas:
            return None
        values = self._ops.program_numbers(self.handle)
        places = [place for place, value in enumerate(values) if value in marks.formulas]
        self._ops.program_choose(self.handle, places)
        formulas = [marks.formulas[values[place]] for place in places]
        try:
            return [[_float(formula(t)) for formula in formulas] for t in range(self.steps)]
        except ArithmeticError:  # the ordinary step meets it where it belongs
            raise Refused("a number that depends on t cannot be computed") from None


def _float(value: Any) -> float:
    if type(value) is not float:
        raise Refused("a number that depends on t is not always a float")
    return value


@contextmanager
def _watching(marks: Marks) -> Iterator[None]:
    """Refuse a trace that computes something, looks at the number of the step or raises."""
    ops = library.operators()
    executions = ops.executions()
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        # If the step is at fault, the ordinary step meets the same error, and raises it where it belongs.
        if ops.executions() == executions and not marks.read:
            raise Refused(f"its trace raised {type(error).__name__}") from None
    if ops.executions() != executions:
        raise Refused("the step reads values of arrays (by item() or numpy(), say)")
    if marks.read:
        raise Refused("the step looks at its number t")


class _Trace:
    """Step t called with placeholders."""

    def __init__(self, step: Traceable, z: Tree, x: Tree, t: int, steps: int) -> None:
        self._ops = library.operators()
        self.marks, self._t, self._steps = Marks(series=int(t > 0)), t, steps
        self._z_leaves, z_structure = optree.tree_flatten(z)
        x_leaves, x_structure = optree.tree_flatten(x)
        data_leaves, data_structure = optree.tree_flatten(step.data(t))
        trees = self._z_leaves, x_leaves, data_leaves
        if len(float_leaves(z)) != sum(map(arrays.is_jittor, self._z_leaves)):
            raise Refused("the state of the lower optimizer holds an array that is not floating-point")
        given = [[leaf for leaf in leaves if arrays.is_jittor(leaf)] for leaves in trees]
        arrays.sync([leaf for part in given for leaf in part])
        self.size = len(given[0])
        own_z, own_x, own_data, own_p, own_dx = (
            self._ops.placeholders(part) for part in (*given, given[0], float_leaves(x))
        )
        self.own = [*own_z, *own_x, *own_data, *own_p, *own_dx]
        self._own = own_z, own_x, own_p, own_dx
        self._structures = z_structure, x_structure
        self._leaves = [self._at(leaf) for leaf in self._z_leaves], x_leaves
        self._number = self._at(0)
        # The views are not computed, so that Jittor has to compute, which it counts, if somebody reads them.
        self._z, self._x = self._view(0, own_z), self._view(1, own_x)
        data = optree.tree_unflatten(data_structure, _replaced(data_leaves, _views(own_data)))
        self._step = step.reading(data)
        # An ordinary step has a copy of x that is not computed, see `Unrolled`.
        self._computed = [*_arrays_of(self._z), *_arrays_of(data)]
        self._unchanged = Unchanged([*self._computed, *_arrays_of(self._x)])

    def _at(self, start: Any) -> Any:
        """Return an integer that is `start` at t = 0 and grows with t; leave everything else as it is."""
        return StepNumber(self.marks, lambda t: start + t, self._t) if type(start) is int else start

    def _view(self, which: int, own: Sequence[Array]) -> Tree:
        return optree.tree_unflatten(self._structures[which], _replaced(self._leaves[which], _views(own)))

    def forward(self) -> Counter:
        """Trace phase 0."""
        with derivatives.counting_apart() as counted:
            self._d = self._step.direction(self._number, self._z, self._x)
            moved = self._step.advance(self._number, self._z, self._x, self._d)
        self._unchanged.check("the lower step", "an array")  # its error refuses the trace, like any other
        leaves, structure = optree.tree_flatten(moved)
        if structure != self._structures[0]:
            raise Refused("the step changes the structure of its state")
        for before, after in zip(self._z_leaves, leaves):
            self._check_leaf(before, after)
        self._moved = [leaf for leaf in leaves if arrays.is_jittor(leaf)]
        return counted

    def _check_leaf(self, before: Any, after: Any) -> None:
        """Refuse a leaf of the state that the next step would not find as this one did."""
        if arrays.is_jittor(before):
            if not arrays.is_jittor(after) or before.shape != after.shape or before.dtype != after.dtype:
                raise Refused("the step changes a shape or a dtype of its state")
        elif type(before) is int:
            counts = type(after) is StepNumber and all(after.at(t) == before + t + 1 for t in range(self._steps))
            if not counts:
                raise Refused("the state holds an integer that does not count steps")
        elif not _same(before, after):
            raise Refused("the step changes something in its state that is no array")

    def compare(self, other: _Trace) -> None:
        """Refuse if phase 0 of another trace is another graph."""
        if self._ops.graph_lines(self.own, self._moved) != self._ops.graph_lines(other.own, other._moved):
            raise Refused("two traces of the step differ")
        numbers = self._ops.graph_numbers(self.own, self._moved), other._ops.graph_numbers(other.own, other._moved)
        places = [{mark: place for place, mark in enumerate(one.marks.formulas)} for one in (self, other)]
        for a, b in zip(*numbers):
            if (places[0].get(a), places[1].get(b)) != (places[0].get(a),) * 2 or (a not in places[0] and a != b):
                raise Refused("a number differs between two traces of the step")

    def add_forward(self, handle: int) -> None:
        """Add phase 0 to a program."""
        _accept(self._ops.program_add(handle, self._moved, self._computed))

    def backward(self, handle: int, frozen: bool) -> Counter:
        """Trace phase 1, and add it to the program."""
        own_z, own_x, own_p, own_dx = self._own
        d = _views(self._d)
        p, dx = _views(own_p), _views(own_dx)
        z, x = self._view(0, own_z), self._view(1, own_x)
        with derivatives.counting_apart() as counted:
            pulled = self._pulled(z, x, d, p, dx, frozen)
        _accept(self._ops.program_add(handle, pulled, [*_arrays_of(z), *_arrays_of(x), *d, *p, *dx]))
        return counted

    def _pulled(self, z: Tree, x: Tree, d: list[Array], p: list[Array], dx: list[Array], frozen: bool) -> list[Array]:
        """Return p and dx before the step, as `Unrolled` computes them."""
        of_z, of_x, of_d = self._step.adjoint(self._number, z, x, d, p)
        if of_x is not None:
            dx = [arrays.detach(total + part) for total, part in zip(dx, of_x)]
        if frozen:
            return [*map(arrays.detach, of_z), *dx]
        inputs = [*float_leaves(self._z), *float_leaves(self._x)]
        return derivatives.vjp([*self._d, *inputs], [*of_d, *of_z, *dx], inputs)


def _arrays_of(tree: Tree) -> list[Array]:
    return [leaf for leaf in optree.tree_leaves(tree) if arrays.is_jittor(leaf)]


def _views(own: Sequence[Array]) -> list[Array]:
    return [arrays.detach(array) for array in own]


def _replaced(leaves: Sequence[Any], views: Sequence[Array]) -> list[Any]:
    remaining = iter(views)
    return [next(remaining) if arrays.is_jittor(leaf) else leaf for leaf in leaves]


def _accept(reason: str) -> None:
    if reason:
        raise Refused(reason)


class Programs:
    """The programs of one outer step: all its tasks share them.

    Args:
        pulled, frozen: how the lower steps are probably pulled back, which decides what a program consists of. A
            pullback of another kind takes the ordinary steps.
        tasks: the number of lower problems.
    """

    #: A trace costs as much as a few ordinary steps.
    WORTH = 4

    def __init__(self, *, pulled: bool, frozen: bool, tasks: int = 1) -> None:
        self._kind, self._tasks = {"pulled": pulled, "frozen": frozen}, tasks
        self._made: list[tuple[Signature, Program | Refused]] = []

    def __reduce__(self) -> Any:
        # Programs are addresses in this process. Another one makes its own.
        return _programs, (self._kind, self._tasks)

    def program(self, step: Traceable, z: Tree, x: Tree, steps: int) -> Program:
        """Return the program of a step.

        Raises:
            Refused: the step cannot be a program, or a program is not worth it.
        """
        if steps * self._tasks < self.WORTH:
            raise Refused(f"fewer than {self.WORTH} lower steps")
        _accept(obstacle())
        data = [Signature.of(step.data(t)) for t in range(steps)] if step.varies else [Signature.of(step.data(0))]
        if not all(map(data[0].same, data[1:])):
            raise Refused("the batches of the lower steps differ in their structure or shapes")
        signature = Signature.of((z, x, step.data(0)))
        for known, made in self._made:
            if known.same(signature):
                if isinstance(made, Refused):
                    raise Refused(*made.args)
                return made
        try:
            program = Program(step, z, x, steps, **self._kind)
        except Refused as refused:
            self._made.append((signature, Refused(*refused.args)))
            raise Refused(*refused.args) from None
        self._made.append((signature, program))
        return program


def _programs(kind: dict[str, bool], tasks: int) -> Programs:
    return Programs(**kind, tasks=tasks)
