"""One instance of Ray for all tests, and jobs whose problem its workers can import."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import optree
import pytest

from boat_core import Job, read_config
from boat_ray.cluster import Cluster
from boat_ray.options import ClusterOptions

FOLDER = Path(__file__).parent
CHAIN = (
    "{map: [NGD], approximate: [RAD], lower_steps: 3, lower_state: carry, lower_optimizer: {name: adam, rate: 0.1}, "
)
UPPER = "upper_optimizer: {name: adam, rate: 0.1}}"


@pytest.fixture(scope="session")
def ray_here():
    """Ray on this machine with room for two workers, without a report, a dashboard or a trace."""
    cluster = Cluster(ClusterOptions(address="local", object_store=100), 2)
    yield cluster
    cluster.close()


@pytest.fixture
def make_job(tmp_path):
    """`make_job(executor, options, chain)`: the job of a configuration."""

    def make_job(executor: str = "sequential", chain: str = CHAIN, name: str = "run", **options) -> Job:
        options = {"driver": os.getpid(), "folder": str(tmp_path), **options}
        problem = ", ".join(f"{key}: {value}" for key, value in options.items())
        text = f"problem: ray_problem:problem\nproblem_path: {FOLDER}\nproblem_options: {{{problem}}}\n"
        text += f"solver: {chain}{UPPER}\nrun: {{steps: 3, out: {tmp_path / name}, executor: {executor}}}\n"
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return Job(read_config(path))

    return make_job


def take_steps(job, count=2):
    """Take steps; return the result and the state after each, and close the executor."""
    try:
        return [(job.solver.step(**job.batches(k)), job.solver.state) for k in range(count)]
    finally:
        job.close()


@pytest.fixture
def steps_of():
    """`steps_of(job, count)`: the results and states of the first steps."""
    return take_steps


@pytest.fixture
def assert_same_bits():
    """`assert_same_bits(first, second)`: the steps of both have the same results, to the last bit."""

    def assert_same_bits(first, second):
        for (result, state), (other_result, other_state) in zip(first, second, strict=True):
            assert result == other_result
            leaves, others = optree.tree_leaves(state), optree.tree_leaves(other_state)
            assert len(leaves) == len(others) and all(map(np.array_equal, leaves, others))

    return assert_same_bits
