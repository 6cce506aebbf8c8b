"""Unrolls an iteration by a program: the same iterates and pullbacks as `Unrolled`, bit for bit, and the same memory.

What `Unrolled` keeps of a step, its graph, is here what the program's phase 1 reads of phase 0. The plan of memory is
the same, with these bytes in place of the graph's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import optree

from ..errors import EngineError
from . import arrays, derivatives
from .arrays import Array
from .memory import Memory
from .operators import library
from .programs import Program, Traceable
from .pytrees import Tree, detach_and_sync, float_leaves
from .unrolled import Recorder, Unrolled


class Rollout:
    """Memory in which a program runs: slots for iterates and for residuals, and two halves for cotangents.

    Args:
        program: the program.
        iterates, residuals: the numbers of slots.
    """

    def __init__(self, program: Program, iterates: int, residuals: int) -> None:
        self._ops = ops = library.operators()
        self._program = program  # must outlive the rollout
        self.handle = ops.rollout_open(program.handle, iterates, residuals)
        weakref.finalize(self, _free, ops, self.handle, program)

    def fix(self, parameters: Sequence[Array], data: Tree) -> None:
        """Set the parameters and the data that the next steps read."""
        fixed = [*parameters, *filter(arrays.is_jittor, optree.tree_leaves(data))]
        arrays.sync(fixed)
        self._ops.rollout_fix(self.handle, fixed)

    def write(self, slot: int, leaves: Sequence[Array]) -> None:
        """Copy an iterate into a slot."""
        self._ops.rollout_write(self.handle, slot, leaves)

    def read(self, slot: int) -> list[Array]:
        """Return a copy of the iterate in a slot."""
        leaves: list[Array] = self._ops.rollout_read(self.handle, slot)
        return leaves

    def step(self, t: int, before: int, after: int, residual: int) -> None:
        """Run phase 0 of step t from one slot to another."""
        self._program.at(t)
        self._ops.rollout_step(self.handle, before, after, residual)
        derivatives.count(self._program.forward)

    def begin(self, cotangents: Sequence[Array]) -> None:
        """Begin a pullback with p and dx."""
        arrays.sync(cotangents)
        self._ops.rollout_begin(self.handle, cotangents)

    def pull(self, t: int, before: int, after: int, residual: int) -> None:
        """Run phase 1 of step t, which led from one slot to another."""
        self._program.at(t)
        self._ops.rollout_pull(self.handle, before, after, residual)
        derivatives.count(self._program.backward)

    def pulled(self) -> list[Array]:
        """Return p and dx."""
        cotangents: list[Array] = self._ops.rollout_pulled(self.handle)
        return cotangents


def _free(ops: Any, handle: int, program: Program) -> None:
    """Free a rollout. The reference to its program sees to it that it goes first."""
    ops.rollout_free(handle)


class Replayed(Unrolled):
    """`Unrolled` by a program. Arguments and attributes are the same, but for these.

    Args:
        program: the program of the step.
        check: whether to take the first and the last step in the ordinary way too, and to compare the bits.

    Raises:
        EngineError: under `check`, a bit differs. The message names the step and the leaf.
    """

    engine = "programs"

    def __init__(
        self,
        step: Traceable,
        program: Program,
        start: Tree,
        parameters: Tree,
        steps: int,
        memory: Memory,
        recorder: Recorder | None = None,
        check: bool = False,
    ) -> None:
        self.step: Traceable = step
        self.steps, self._recorder, self._program, self._check = steps, recorder, program, check
        self.parameters = detach_and_sync(parameters)
        self._parameters = self._arrays(self.parameters)
        self._start = detach_and_sync(start)
        self._graphs = {}  # for the ordinary pullback, which finds none
        self.iterate_bytes = arrays.bytes_of(float_leaves(self._start))
        self.graph_bytes = program.residual_bytes
        # A step that leaves nothing is kept for nothing: one byte tells `plan` that its size is known.
        self.held = memory.plan(steps, self.iterate_bytes, max(1, self.graph_bytes))
        self._checkpoints = steps // self.held.every + 1 + (steps % self.held.every > 0)
        self._stretch: int | None = None  # which stretch between two checkpoints is there
        self._rollout = Rollout(program, self._checkpoints + self.held.every - 1, max(1, self.held.graphs))
        self._rollout.write(0, self._arrays(self._start))
        self._residual_of: dict[int, int] = {}
        self._fixed = False
        for t in range(steps):
            self._run(t)
        self._end = self._read(steps)
        for t in self._checked(0, steps):
            self._check_step(t)

    def iterate(self, t: int) -> Tree:
        if t in (0, self.steps):
            return self._end if t else self._start
        return self._read(t)

    def end_from(self, start: Tree, parameters: Tree, steps: int) -> Tree:
        if self._recorder is not None:
            self._recorder.rerun()
        z, x = detach_and_sync(start), detach_and_sync(parameters)
        rollout = Rollout(self._program, 2, 1)
        rollout.write(0, self._arrays(z))
        for t in range(steps):
            if t == 0 or self.step.varies:
                rollout.fix(self._arrays(x), self.step.data(t))
            rollout.step(t, t % 2, (t + 1) % 2, 0)
            self.step.replayed()
        return self._tree(rollout.read(steps % 2), steps)

    def pullback(
        self,
        cotangent: Sequence[Array],
        *,
        first: int = 0,
        last: int | None = None,
        frozen: bool = False,
        watch: Callable[[int, Sequence[Array], Sequence[Array]], None] | None = None,
        also: Sequence[Array] = (),
    ) -> tuple[list[Array], list[Array]]:
        last = self.steps if last is None else last
        size = self._program.size
        ends = self._arrays(self._start)
        given = [arrays.detach(leaf) for leaf in cotangent]
        alike = all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(given, ends))
        if watch is not None or also or not self._program.pulled or frozen != self._program.frozen or not alike:
            return super().pullback(cotangent, first=first, last=last, frozen=frozen, watch=watch, also=also)
        p = [*given, *map(arrays.zeros_like, ends[len(given) :])]
        dx = [arrays.zeros_like(leaf) for leaf in float_leaves(self.parameters)]
        self._rollout.begin([*p, *dx])
        checked = {}
        for t in reversed(range(first, last)):
            if t in self._checked(first, last):
                checked[t] = self._rollout.pulled()[:size]
            self._pull(t)
        pulled = self._rollout.pulled()
        for t, cotangents in checked.items():
            self._check_pull(t, cotangents, dx)
        return pulled[:size], pulled[size:]

    # Checks

    def _checked(self, first: int, last: int) -> set[int]:
        """Return the steps from `first` to `last` that are taken in both ways."""
        return {first, last - 1} if self._check and first < last else set()

    def _check_step(self, t: int) -> None:
        with derivatives.counting_apart():
            ordinary = self._next(t, self.iterate(t), self.parameters)
        self._compare(f"lower step {t}, iterate", float_leaves(ordinary), float_leaves(self.iterate(t + 1)))

    def _check_pull(self, t: int, cotangents: list[Array], zeros: list[Array]) -> None:
        z, recorder, self._recorder = self.iterate(t), self._recorder, None
        try:
            with derivatives.counting_apart():
                x, d = self._rebuilt(t, z)
                p, dx = self._pull_step(t, z, x, d, cotangents, list(zeros), self._program.frozen)
                arrays.sync([*p, *dx])
                self._rollout.begin([*cotangents, *zeros])
                self._pull(t)
        finally:
            self._recorder = recorder
        self._compare(f"the pullback of lower step {t}, cotangent", [*p, *dx], self._rollout.pulled())

    def _compare(self, what: str, ordinary: Sequence[Array], replayed: Sequence[Array]) -> None:
        for place, (a, b) in enumerate(zip(map(arrays.to_numpy, ordinary), map(arrays.to_numpy, replayed))):
            if a.tobytes() != b.tobytes():
                raise EngineError(
                    f"{what} {place}: a program gave other numbers than the ordinary step, by at most "
                    f"{float(abs(a - b).max()):.3g}",
                    hint="set engine: plain, and report this with the objective",
                )

    # Slots

    def _is_kept(self, t: int) -> bool:
        return t % self.held.every == 0 or t == self.steps

    def _slot(self, t: int) -> int:
        """Return where z_t lies: the checkpoints first, then the stretch between two of them."""
        every = self.held.every
        if t == self.steps:
            return self._checkpoints - 1
        return t // every if t % every == 0 else self._checkpoints + t % every - 1

    def _residual(self, t: int) -> int:
        """Return where the residuals of step t lie. Steps that keep none share the first place."""
        return max(0, t - (self.steps - max(1, self.held.graphs)))

    def _run(self, t: int) -> None:
        if self.step.varies or not self._fixed:
            self._rollout.fix(self._parameters, self.step.data(t))
            self._fixed = True
        place = self._residual(t)
        self._rollout.step(t, self._slot(t), self._slot(t + 1), place)
        self._residual_of[place] = t
        self.step.replayed()

    def _pull(self, t: int) -> None:
        self._restore(t)
        rebuilt = t < self.steps - self.held.graphs
        # The first place is shared, so another pullback may have used it since.
        if rebuilt or self._residual_of[self._residual(t)] != t:
            self._run(t)
        elif self.step.varies:
            self._rollout.fix(self._parameters, self.step.data(t))
        if self._recorder is not None:
            self._recorder.pull_back(t, rebuilt)
        self._rollout.pull(t, self._slot(t), self._slot(t + 1), self._residual(t))

    def _restore(self, t: int) -> None:
        """See to it that z_t lies in its slot."""
        every = self.held.every
        if self._is_kept(t) or self._stretch == t // every:
            return
        first = t - t % every
        for s in range(first, min(first + every, self.steps) - 1):
            self._run(s)
            if self._recorder is not None:
                self._recorder.recompute(s + 1)
        self._stretch = t // every

    def _read(self, t: int) -> Tree:
        self._restore(t)
        return self._tree(self._rollout.read(self._slot(t)), t)

    def _arrays(self, z: Tree) -> list[Array]:
        return [leaf for leaf in optree.tree_leaves(z) if arrays.is_jittor(leaf)]

    def _tree(self, leaves: Sequence[Array], t: int) -> Tree:
        """Return z_t from its arrays. An integer in the state counts steps."""
        remaining = iter(leaves)

        def at(leaf: Any) -> Any:
            if arrays.is_jittor(leaf):
                return next(remaining)
            return leaf + t if type(leaf) is int else leaf

        return optree.tree_map(at, self._start)
