"""The outer iteration as pure functions, and executors that solve its tasks."""

from __future__ import annotations

import dataclasses

import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.testing import QuadraticCase, assert_close, network_problem


def solver(toys, problem, **more):
    settings = dict(lower_steps=3, lower_optimizer=boat.adam(0.1), upper_optimizer=boat.adam(0.1), lower_state="carry")
    return boat.Solver(problem, registry=toys, **(settings | more))


def same(first, second):
    leaves, others = optree.tree_leaves(first), optree.tree_leaves(second)
    return len(leaves) == len(others) and all(np.array_equal(a, b) for a, b in zip(leaves, others))


class Reversed:
    """Solves the last task first, and gives the outcomes back in that order."""

    def solve(self, steps):
        self.tasks = list(steps)
        return {task: steps[task].solve() for task in reversed(steps)}


def test_propose_and_commit_are_the_step_and_change_nothing(toys):
    stepped, held = (solver(toys, QuadraticCase().problem) for _ in range(2))
    before, state = held.state, held.outer.initial_state()
    for _ in range(2):
        proposal = held.outer.propose(state, boat.Batches())
        assert proposal.result == stepped.step()
        state = held.outer.commit(state, proposal)
    assert same(held.state, before)
    held.restore(state)
    assert same(held.state, stepped.state)


def test_a_state_is_a_frozen_pytree_that_reads_as_a_mapping(toys):
    state = solver(toys, QuadraticCase().problem).state
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.iteration = 3
    doubled = optree.tree_map(lambda leaf: 2 * leaf, state)
    assert isinstance(doubled, boat.SolverState)
    assert_close(doubled.upper, 2 * state["upper"], 0)
    assert optree.tree_leaves(state) == optree.tree_leaves(state.as_dict()) or same(state, state.as_dict())
    assert set(state) == {field.name for field in dataclasses.fields(state)}


def test_the_numbers_do_not_depend_on_which_task_is_solved_first(toys):
    pair = network_problem().batches(0, None)
    third = tuple({key: 0.7 * array for key, array in batch.items()} for batch in pair)
    tasks = {"a": pair, "b": pair[::-1], "c": third}
    executor = Reversed()
    one, other = (solver(toys, network_problem(), executor=one) for one in (None, executor))
    for _ in range(2):
        assert one.step(tasks=tasks) == other.step(tasks=tasks)
    assert executor.tasks == list(one.state.lower) == list(other.state.lower) == ["a", "b", "c"]
    assert same(one.state, other.state)


def test_an_executor_that_loses_a_task_is_named(toys):
    class Loses:
        def solve(self, steps):
            return {}

    with pytest.raises(boat.OperationError, match=r"Loses: expected an outcome for the task 'a' \(got none\)"):
        solver(toys, network_problem(), executor=Loses()).step(tasks={"a": network_problem().batches(0, None)})
    with pytest.raises(boat.OptionError, match="executor: expected an object with a method `solve`"):
        solver(toys, network_problem(), executor="ray")


def test_settings_are_declared_once():
    import inspect

    from boat_core.config.schema import SolverConfig

    settings = {field.name for field in dataclasses.fields(boat.SolverSettings)}
    assert settings <= set(inspect.signature(boat.Solver).parameters)
    assert settings <= {field.name for field in dataclasses.fields(SolverConfig)}
