"""Outer steps and outcomes that travel to another process, and sums that do not depend on where they are made."""

from __future__ import annotations

import pickle

import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, network_problem


class Elsewhere:
    """Solves each task in a replica of the outer iteration, to which everything travels as bytes."""

    def bind(self, outer):
        self.outer = outer

    def solve(self, steps):
        answers, replica = {}, boat.Replica(self.replica.outer)
        for task, step in steps.items():
            sent = pickle.dumps((step.x.to_numpy(), boat.StepData.of(step, self.outer)))
            x, data = pickle.loads(sent)
            there = data.step(replica, replica.outer.x0.like_numpy(x))
            answer = pickle.dumps(boat.OutcomeData.of(there.solve()))
            answers[task] = pickle.loads(answer).outcome(self.outer)
        return answers


TASKS = {name: (scale, -scale) for name, scale in zip("abcde", (0.3, -0.7, 1.1, 0.9, -0.2))}


def solver(registry, executor, **settings):
    problem = network_problem()
    pair = problem.batches(0, None)
    tasks = {n: tuple(optree.tree_map(lambda a, s=s: s * a, b) for b, s in zip(pair, ss)) for n, ss in TASKS.items()}
    chain = dict(lower_optimizer=boat.adam(0.1), upper_optimizer=boat.adam(0.1), lower_steps=3) | settings
    return boat.Solver(problem, registry=registry, executor=executor, **chain), tasks


@pytest.mark.parametrize(
    "settings",
    [dict(lower_state="carry"), dict(start="cold"), dict(first_order="BOTH")],
    ids=["carried state", "cold start", "first-order"],
)
def test_a_step_that_travels_has_the_same_bits(toys, settings):
    here, tasks = solver(toys, None, **settings)
    executor = Elsewhere()
    away, _ = solver(toys, executor, **settings)
    executor.replica, _ = solver(toys, None, **settings)
    for _ in range(2):
        assert here.step(tasks=tasks) == away.step(tasks=tasks)
    for one, other in zip(optree.tree_leaves(here.state), optree.tree_leaves(away.state)):
        assert np.array_equal(one, other)


def test_what_every_process_knows_does_not_travel(toys):
    one, tasks = solver(toys, None, start="cold")
    step = next(iter(one.outer.steps(one.outer.initial_state(), boat.Batches(tasks=tasks)).values()))
    data = boat.StepData.of(step, one.outer, with_batches=False, drawn=True)
    assert data.start == "initial" and data.batches is None
    with pytest.raises(boat.OperationError, match=r"only the caller of Solver\.step knows them"):
        data.step(boat.Replica(one.outer), step.x)
    with pytest.raises(boat.OperationError, match=r"outer step 0 have no task 'a'"):
        data.step(boat.Replica(one.outer, lambda k: {"tasks": {"other": (1, 2)}}), step.x)
    both = boat.StepData.of(step, one.outer, drawn=True)
    both.step(boat.Replica(one.outer, lambda k: {"tasks": tasks}), step.x)
    others = {"a": tasks["b"]}
    with pytest.raises(boat.OperationError, match="task a of outer step 0 are others in a worker"):
        both.step(boat.Replica(one.outer, lambda k: {"tasks": others}), step.x)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_pairwise_sum_has_the_same_bits_for_every_size_of_group(size):
    rng = np.random.default_rng(0)
    vectors = [boat.Vector.of(10.0 ** rng.integers(-8, 9) * rng.normal(size=50), "v") for _ in range(13)]
    grouped = [None] * 13
    for first in range(0, 13, size):
        grouped[first] = boat.pairwise_sum(vectors[first : first + size])
    total, other = (boat.pairwise_sum(some).to_numpy()[0] for some in (vectors, grouped))
    assert np.array_equal(total, other)
    assert not np.array_equal(total, sum(v.to_numpy()[0] for v in vectors))  # the order shows
    assert boat.pairwise_sum([]) is None is boat.pairwise_sum([None, None])


def test_shares_of_function_values_make_the_same_step(toys, changed):
    def smoothed(trajectory, options):
        rng = np.random.default_rng(trajectory.k)
        gradient, report = boat.smoothed_gradient(
            trajectory.value_from,
            trajectory.x,
            method="antithetic",
            samples=3,
            sigma=0.1,
            rng=rng,
            values=trajectory.values_from,
        )
        return boat.Hypergradient(gradient, report=report)

    one = boat.Solver(
        QuadraticCase().problem,
        registry=changed(toys, "ALL", apply=smoothed, tags=("values",)),
        lower_steps=2,
        lower_optimizer=boat.sgd(0.1),
        upper_optimizer=boat.sgd(0.1),
    )
    (step,) = one.outer.steps(one.outer.initial_state(), boat.Batches()).values()
    assert step.can_share_values
    shares = [step.share_of_values(place, 4) for place in range(4)]
    assert [len(share) for share in shares] == [2, 2, 1, 1]
    first, second = step.solve(), step.with_values(shares).solve()
    assert np.array_equal(first.direction.to_numpy()[0], second.direction.to_numpy()[0])
    with pytest.raises(boat.OperationError, match="more points than values"):
        step.with_values(shares[:3]).solve()


def test_batches_on_demand_are_drawn_where_they_are_needed(toys):
    drawn = []

    def draw(name):
        drawn.append(name)
        return plain[name]

    class Draws(boat.Sequential):
        draws_batches = True

        def solve(self, steps):
            replica = boat.Replica(self.outer, lambda k: {"tasks": boat.Tasks.on_demand("abc", draw)})
            datas = [boat.StepData.of(step, self.outer, with_batches=False, drawn=True) for step in steps.values()]
            return super().solve({d.task: d.step(replica, s.x) for d, s in zip(datas, steps.values())})

        def bind(self, outer):
            self.outer = outer

    here, tasks = solver(toys, None)
    plain = {name: tasks[name] for name in "abc"}
    away, _ = solver(toys, Draws())
    assert here.step(tasks=plain) == away.step(tasks=boat.Tasks.on_demand("abc", draw))
    assert drawn == ["a", *"abc"]  # the first one here, for the checks of a solver's first step
    again, _ = solver(toys, None)
    again.step(tasks=boat.Tasks.on_demand("abc", draw))
    for one, other, third in zip(*(optree.tree_leaves(one.state) for one in (here, away, again))):
        assert np.array_equal(one, other) and np.array_equal(one, third)
    for names, message in (("aa", "a unique name"), ("", "at least one")):
        with pytest.raises(boat.StructureError, match=message):
            boat.Tasks.on_demand(names, draw)
