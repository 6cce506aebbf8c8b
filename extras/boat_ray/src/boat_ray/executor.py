"""The executor: the tasks of an outer step go to workers of Ray, and their hypergradients come back.

    x            goes to Ray's object store, once for each outer step
    a task       its start, its state and its batches go with it, so that no worker owns anything
    outcomes     come back task by task, or summed in groups, or summed by the workers in pairs (reduce: tree)

The solver sums hypergradients as a binary tree over the places of the tasks (`boat_core.pairwise_sum`). Groups are
nodes of that tree, so neither groups nor the number of workers change a bit of the sum.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import cloudpickle

from boat_core import Outcome, OutcomeData, OuterIteration, OuterStep, RunError, StepData

from .cluster import Cluster
from .options import ExecutorOptions
from .pool import Member, Pool, Portion, reason_of

LOG = logging.getLogger("boat_ray")
_dumps: Any = cloudpickle.dumps

#: Shares of one task's function values for each worker: more than one, so that the faster worker takes more.
_SHARES = 2


class RayExecutor:
    """Solves the tasks of an outer step on Ray. Ray starts at the first step.

    Args:
        options: see `ExecutorOptions`.
        factory: a function without arguments that makes the same solver in a worker. A configuration needs none.

    It is a context manager, which closes it.
    """

    def __init__(self, options: ExecutorOptions | None = None, factory: Callable[[], Any] | None = None) -> None:
        self.options = options or ExecutorOptions()
        self.draws_batches = self.options.batches == "workers"
        self._factory = factory
        self._outer: OuterIteration | None = None
        self._cluster: Cluster | None = None
        self._pool: Pool | None = None
        self._round = 0

    def bind(self, outer: OuterIteration) -> None:
        """Take the outer iteration whose tasks are solved.

        Raises:
            RunError: the executor solves those of another one already.
        """
        if self._outer is not None and self._outer is not outer:
            raise RunError("an executor serves one solver", hint="make another RayExecutor")
        self._outer = outer

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and the connection to Ray. A later step begins anew."""
        pool, cluster, self._pool, self._cluster = self._pool, self._cluster, None, None
        if pool is not None and cluster is not None and not cluster.has_lost_head:
            pool.close()
        if cluster is not None:
            cluster.close()

    def solve(self, steps: Mapping[str, OuterStep]) -> dict[str, Outcome]:
        """Solve every task; arguments, results and errors as for `boat_core.Executor`."""
        tasks = list(steps.values())
        pool = self._started()
        self._round += 1
        x = ray.put(tasks[0].x.to_numpy())
        # The steps are made here of the values, and so need their batches here.
        has_batches = len(tasks) == 1 or not self.draws_batches
        if len(tasks) < pool.wanted and tasks[0].can_share_values and has_batches:
            outcomes = self._from_values(pool, x, tasks)
        elif self.options.reduce == "tree":
            outcomes = self._in_tree(pool, x, tasks)
        else:
            outcomes = [
                outcome for portion in self._solved(pool, x, tasks, apart=False) for outcome in portion.results or ()
            ]
        return dict(zip(steps, outcomes))

    @property
    def workers(self) -> list[Member]:
        """The workers as the executor knows them: names, and measured speeds in items a second."""
        return [] if self._pool is None else list(self._pool.members)

    def _started(self) -> Pool:
        if self._pool is None:
            recipe = self._factory or self._bound.recipe
            if recipe is None:
                hint = "RayExecutor(factory=make_solver), where make_solver() returns the same solver in a worker"
                raise RunError("the workers cannot know the problem of this solver", where="executor", hint=hint)
            if self.options.batches == "workers" and self._factory is not None:
                raise RunError("only a configuration says how workers draw batches", where="executor.batches")
            self._cluster = Cluster(self.options, self.options.workers)
            self._pool = Pool(self._cluster, ray.put(_dumps(recipe)), self.options)
        return self._pool

    @property
    def _bound(self) -> OuterIteration:
        if self._outer is None:
            raise RunError("the executor belongs to no solver", where="executor", hint="Solver(…, executor=executor)")
        return self._outer

    def _data(self, step: OuterStep, is_first: bool) -> StepData:
        drawn = self.draws_batches
        # The batches of the first task travel in any case, so that a worker that draws others is noticed.
        return StepData.of(step, self._bound, with_batches=is_first or not drawn, drawn=drawn)

    def _read(self, results: list[OutcomeData]) -> list[Outcome]:
        return [data.outcome(self._bound) for data in results]

    # Whole tasks

    def _solved(self, pool: Pool, x: Any, tasks: Sequence[OuterStep], apart: bool) -> list[Portion]:
        """Have all tasks solved. The items of the pool are groups, which one worker sums."""
        group = self.options.group
        count = -(-len(tasks) // group)

        def submit(worker: Any, first: int, last: int) -> list[Any]:
            works = [self._data(step, step is tasks[0]) for step in tasks[first * group : last * group]]
            if not apart:
                return [worker.solve.remote(self._round, x, works, group, False)]
            solve = worker.solve.options(num_returns=1 + last - first)
            return list(solve.remote(self._round, x, works, group, True))

        return pool.run(count, submit, self._read)

    def _in_tree(self, pool: Pool, x: Any, tasks: Sequence[OuterStep]) -> list[Outcome]:
        """Solve all tasks, and let the workers sum what they hold in pairs. The driver receives one hypergradient."""
        for attempt in range(self.options.retries + 1):
            portions = self._solved(pool, x, tasks, apart=True)
            sums = [ref for portion in portions for ref in portion.apart]
            try:
                direction, start = ray.get(self._summed(pool, sums))
                break
            except ray.exceptions.RayError as error:  # a worker took its sums along
                if attempt == self.options.retries:
                    raise RunError(f"the hypergradients could not be summed: {reason_of(error)}") from error
                LOG.warning("BOAT: sums were lost (%s); the outer step is done again", reason_of(error))
        outcomes = [outcome for portion in portions for outcome in portion.results or ()]
        bound = self._bound
        start = None if start is None else bound.y0.like_numpy(start)
        outcomes[0] = replace(outcomes[0], direction=bound.x0.like_numpy(direction), start_cotangent=start)
        return outcomes

    def _summed(self, pool: Pool, level: list[Any]) -> Any:
        """Return Ray's reference to the sum, made by the workers in the order of `boat_core.pairwise_sum`."""
        handles = itertools.cycle([member.handle for member in pool.members if member.name != "?"])
        while len(level) > 1:
            above = [next(handles).add.remote(*level[place : place + 2]) for place in range(0, len(level) - 1, 2)]
            level = above + level[len(level) - len(level) % 2 :]
        return level[0]

    # Function values

    def _from_values(self, pool: Pool, x: Any, tasks: Sequence[OuterStep]) -> list[Outcome]:
        """Share the function values of each task among the workers, and make the steps of them here."""
        count = _SHARES * pool.wanted
        datas: dict[int, StepData] = {}

        def submit(worker: Any, first: int, last: int) -> list[Any]:
            for task in {item // count for item in range(first, last)} - datas.keys():
                datas[task] = self._data(tasks[task], task == 0)
            shares = [(datas[item // count], item % count, count) for item in range(first, last)]
            return [worker.values.remote(self._round, x, shares)]

        shares = [share for portion in pool.run(count * len(tasks), submit) for share in portion.results or ()]
        return [step.with_values(shares[i * count : (i + 1) * count]).solve() for i, step in enumerate(tasks)]


def build(options: ExecutorOptions) -> RayExecutor:
    """Build the executor that configurations call "ray"."""
    return RayExecutor(options)
