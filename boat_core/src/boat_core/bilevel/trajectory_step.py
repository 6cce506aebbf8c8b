"""The outer step of a map and an approximate chain: y_0 → … → y_T, then the hypergradient made from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..autodiff.evaluation import evaluating
from ..autodiff.memory import Memory
from ..autodiff.programs import Refused
from ..autodiff.replayed import Replayed
from ..autodiff.unrolled import Unrolled
from ..autodiff.vectors import Vector, first_nonfinite
from ..errors import NonFiniteError
from ..plugins.entries import Registered
from ..plugins.observers import tallied
from .aggregate import aggregated
from .invoke import (
    apply_operation,
    count_operation,
    expect,
    expect_hypergradient,
    expect_like,
    expect_report,
    raise_operation_error,
)
from .lower_step import LowerStep, fused_step
from .objectives import Bilevel
from .outer_step import MemoryUse, Outcome, OuterStep
from .problem import PerStep
from .recorder import Recorder
from .tangent import LowerSet
from .trajectory import Hypergradient, Trajectory

Direction = Callable[[int, Vector, Vector], Vector]


@dataclass(frozen=True)
class TrajectoryStep(OuterStep):
    """Roll the lower trajectory forward, and turn it into a hypergradient."""

    def _run(self, recorder: Recorder | None) -> Outcome:
        return self._estimate(self._roll(recorder), recorder)

    def _locate(self, place: str) -> str:
        trajectory = self._roll(plain=True)
        for t in range(1, trajectory.steps + 1):
            if path := first_nonfinite(trajectory.iterate(t)):
                chain = " + ".join(entry.named for entry in self.composition.map)
                return f"stage map ({chain}), lower step {t - 1}: y_{t}, {path}"
        chain = " + ".join(entry.named for entry in self.composition.approximate)
        try:
            self._estimate(trajectory.watched())
        except NonFiniteError as error:
            return f"stage approximate ({chain}): {error}"
        return f"stage approximate ({chain}): {place}"

    def memory(self) -> MemoryUse:
        memory, steps = self._memory, self.settings.lower_steps
        step, start = self._lower_step(), self._lower_start()
        with evaluating(kernels=self.settings.kernels == "auto", differentiated=False):
            one = Unrolled(step, start, self.x.tree, 1, memory)
            graph_bytes, engine = one.graph_bytes, "plain"
            if self.programs is not None:
                try:
                    graph_bytes = self.programs.program(step, start, self.x.tree, steps).residual_bytes
                    engine = Replayed.engine
                except Refused as refused:
                    engine = f"plain: {refused}"
        return MemoryUse(memory.plan(steps, one.iterate_bytes, graph_bytes), one.iterate_bytes, graph_bytes, engine)

    # Map

    def _roll(self, recorder: Recorder | None = None, plain: bool = False) -> Trajectory:
        """y_0 → … → y_T: step t is the base map's direction, the lower optimizer and the projection."""
        steps = self.settings.lower_steps
        unrolled = self._unrolled(recorder, plain)
        objective = aggregated(self.composition, self.estimate)
        start = self.x, self.start
        return Trajectory(self.bilevel, objective, unrolled, *start, steps, steps, k=self.k, evaluate=self.evaluate)

    def _unrolled(self, recorder: Recorder | None, plain: bool) -> Unrolled:
        """Run the lower steps, by a program where that is wanted and valid."""
        steps, step, start = self.settings.lower_steps, self._lower_step(), self._lower_start()
        reason = ""
        if self.programs is not None and not plain:
            try:
                program = self.programs.program(step, start, self.x.tree, steps)
            except Refused as refused:
                reason = f": {refused}"
            else:
                check = self.settings.check == "replay"
                return Replayed(step, program, start, self.x.tree, steps, self._memory, recorder, check)
        unrolled = Unrolled(step, start, self.x.tree, steps, self._memory, recorder)
        unrolled.engine = f"plain{reason}"
        return unrolled

    @property
    def _memory(self) -> Memory:
        return Memory(self.settings.segment, self.settings.memory)

    def _lower_start(self) -> tuple[Any, Any]:
        state = self.optimizer.init(self.start.tree) if self.state.optimizer is None else self.state.optimizer
        return self.start.tree, state

    def _lower_step(self) -> LowerStep:
        base = self.composition.map[-1]
        lower, upper = self.bilevel.lower_batch, self.bilevel.upper_batch

        def data_of(t: int) -> Any:
            return (lower.batches[t] if isinstance(lower, PerStep) else lower), upper

        def along_data(data: Any) -> Direction:
            with tallied({}):
                traced = self._along(replace(self.bilevel, lower_batch=data[0], upper_batch=data[1]))

            def untallied(t: int, y: Vector, x: Vector) -> Vector:
                with tallied({}):
                    return traced(t, y, x)

            return untallied

        project = self.bilevel.project_lower if self.bilevel.problem.project_lower is not None else None
        # A fused step knows neither projections nor hyperparameters that are upper variables.
        plain = project is None and self.learned is None
        fused = fused_step(base.operation.optimizer_steps, self.optimizer) if plain else None
        return LowerStep(
            self._along(self.bilevel),
            self.optimizer,
            project,
            fused,
            self.x,
            self.start,
            self.learned,
            data_of,
            along_data,
            lambda: count_operation(base),
            isinstance(lower, PerStep),
        )

    def _along(self, bilevel: Bilevel) -> Direction:
        """Return the direction of the map chain on the batches of `bilevel`. Its first result is checked."""
        objective = aggregated(self.composition, bilevel)
        base = self.composition.map[-1]
        options = self.composition.options[base.name]
        checked = False

        def along(t: int, y: Vector, x: Vector) -> Vector:
            nonlocal checked
            direction = apply_operation(base, objective, x, y, t, options)
            if not checked:
                direction, checked = expect_like(base, direction, y, "direction"), True
            return direction

        return along

    # Approximate

    def _estimate(self, trajectory: Trajectory, recorder: Recorder | None = None) -> Outcome:
        """Selectors shorten the trajectory, the estimator makes the hypergradient of what is left."""
        y, optimizer_state = trajectory.unrolled.iterate(trajectory.unrolled.steps)
        reports: dict[str, Mapping[str, Any]] = {}
        *selectors, estimator = self.composition.approximate
        for selector in selectors:
            view = expect(selector, self._approximate(selector, trajectory, recorder), tuple)
            if not (len(view) == 2 and isinstance(view[0], Trajectory)):
                raise_operation_error(selector, f"returned {view!r}, expected (Trajectory, report)")
            trajectory = view[0]
            reports |= expect_report(selector, view[1] or {}, ())[0]
        lower_set = self._lower_set(estimator)
        seen = trajectory if lower_set is None else replace(trajectory, lower_set=lower_set)
        h = self._approximate(estimator, seen, recorder)
        y0 = h.y0 if isinstance(h, Hypergradient) else None
        if y0 is None and any(entry.operation.start == "learned" for entry in self.composition.map):
            y0 = trajectory.pullback(trajectory.end.upper_gradient)[0]
        report, concerns = expect_hypergradient(estimator, h, self.x, self.start)
        if lower_set is not None:
            concerns += tuple(f"{estimator.name}: {concern}" for concern in lower_set.concerns)
        if self.optimizer.by_sign and {"pullback", "single-steps"} & set(estimator.operation.tags):
            concerns += (
                f"{self.optimizer.name} steps by signs of gradients, through which no derivative passes: what the"
                " lower objective knows of x is lost to the hypergradient",
            )
        return Outcome(
            h.x.detach().sync(),
            self.start.like_tree(y),
            optimizer_state if self.state.optimizer is not None else None,
            start_cotangent=y0,
            reports={**reports, **report},
            concerns=concerns,
            engine=trajectory.unrolled.engine,
        )

    def _lower_set(self, estimator: Registered) -> LowerSet | None:
        """Return the lower set, if the estimator is to see the problem that is left on its boundary."""
        projection, tags = self.bilevel.problem.project_lower, estimator.operation.tags
        if projection is None or "end-point" not in tags:
            return None
        return LowerSet(projection, self.optimizer.plain_rate, curved="curved-set" in tags)

    def _approximate(self, entry: Registered, trajectory: Trajectory, recorder: Recorder | None) -> Any:
        options = self.composition.options[entry.name]
        if recorder is None:
            return apply_operation(entry, trajectory, options)
        with recorder.watching(entry.name, trajectory):
            return apply_operation(entry, trajectory, options)
