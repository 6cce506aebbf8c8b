"""Copies and pickles: each goes on as the original does, to the same bits, and neither changes the other."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace

import jittor as jt
import numpy as np
import optree
import pytest

import boat_core as boat
from boat_core.autodiff.arrays import as_array
from boat_core.plugins.discovery import installed


def upper(x, y, batch):
    return ((y - 2) * (y - 2)).sum()


def lower(x, y, batch):
    return ((y - x["a"]) * (y - x["a"]) * x["b"]).sum()


def learned(x):
    return boat.sgd(0.1 * x["b"], momentum=0.5)


def solver(**changes):
    start = {"a": np.array([0.1, 0.2, 0.3]), "b": as_array(np.array([1.0 / 3]))}
    settings = {
        "lower_steps": 3,
        "lower_optimizer": boat.adam(0.1, amsgrad=True),
        "upper_optimizer": boat.chain(boat.clip_by_norm(1.0), boat.adam(boat.cosine_schedule(0.1, 10))),
        "lower_state": "carry",
    }
    return boat.Solver(boat.Problem(upper, lower, start, np.zeros(3)), **settings | changes)


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_pickle])
SOLVERS = {
    "RAD": {},
    "CG": {"approximate": "CG", "options": {"CG": {"max_iterations": 5}}},
    "DI": {"map": ["DI", "NGD"]},
    "DM": {"map": ["GDA", "DM"], "lower_steps": 1},
    "learned": {"lower_optimizer": learned},
    "first-order": {"first_order": "VFO", "lower_optimizer": boat.sgd(0.1)},
}


def bits(value):
    return [leaf.tobytes() if isinstance(leaf, np.ndarray) else leaf for leaf in optree.tree_leaves(value)]


@COPIES
@pytest.mark.parametrize("kind", SOLVERS)
def test_solvers(kind, copied):
    original = solver(**SOLVERS[kind])
    original.step()
    before = bits(original.state)
    twin = copied(original)
    assert bits(twin.state) == before
    twin.step(), twin.step()
    assert bits(original.state) == before
    original.step(), original.step()
    assert bits(original.state) == bits(twin.state)
    assert twin.composition == original.composition


@COPIES
def test_solvers_keep_their_tasks(copied):
    original = solver()
    original.step(tasks={"one": (None, None), "two": (None, None)})
    twin = copied(original)
    assert set(twin.state.lower) == {"one", "two"}
    assert bits(twin.state) == bits(original.state)


OPTIMIZERS = {
    "rule": boat.adamw(0.1, amsgrad=True),
    "array": boat.sgd(as_array(np.array([1.0 / 3]))),
    "chain": boat.chain(boat.clip_by_norm(0.5), boat.clip_by_value(0.4), boat.scale(0.7), boat.lion(0.1)),
    "masked": boat.masked(boat.sgd(0.1), True, others="zero"),
    "accumulate": boat.accumulate(boat.rmsprop(0.1, centred=True), 2),
    "warmup": boat.sgd(boat.warmup_schedule(2, boat.exponential_schedule(0.1, 0.5))),
}


@COPIES
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, copied):
    def iterate(optimizer):
        y = as_array(np.array([1.0, -2.0, 3.0]))
        state = optimizer.init(y)
        for _ in range(4):
            updates, state = optimizer.update(2 * y, state, y)
            y = boat.apply_updates(y, updates)
        return y.numpy().tobytes()

    twin = copied(OPTIMIZERS[name])
    assert iterate(twin) == iterate(OPTIMIZERS[name])
    assert (twin.name, twin.rule, twin.by_sign) == (
        OPTIMIZERS[name].name,
        OPTIMIZERS[name].rule,
        OPTIMIZERS[name].by_sign,
    )


@COPIES
def test_values(copied):
    """Settings, states, compositions, results, errors, and jobs."""
    ours = solver(approximate="CG")
    for value in (
        ours.settings,
        ours.composition,
        ours.step(),
        boat.Tasks([(1, 2)]),
        boat.adam,
        installed().find("CG"),
    ):
        assert copied(value) == value
    assert copied(installed()) is installed()
    for value in (ours.state, ours.hypergradient().upper, ours.lower):
        twin = copied(value)
        assert bits(optree.tree_map(np.asarray, twin)) == bits(optree.tree_map(np.asarray, value))
    error = boat.BoatError("m", where=("a", "b"), expected="e", got="g", hint="h")
    assert (str(copied(error)), vars(copied(error))) == (str(error), vars(error))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"])
def test_arrays_of_jittor_keep_their_numbers(dtype):
    """Jittor itself pickles float64 as float32, and int64 as int32."""
    values = (np.array([[1, 0, 3]]) / 3 if dtype.startswith("f") else np.array([[1, 0, 3]])).astype(dtype)
    array = as_array(values)
    twin = through_pickle(array)
    assert (twin.dtype, twin.numpy().tobytes()) == (array.dtype, values.tobytes())
    assert through_pickle(jt.zeros((0, 2))).shape == [0, 2]
    assert through_pickle(array.stop_grad()).is_stop_grad()


def test_jobs(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "problem: boat_core.testing:network_problem\n"
        "solver: {lower_steps: 2, lower_optimizer: {name: sgd, rate: 0.1}, upper_optimizer: adam}\n"
        f"run: {{steps: 2, out: {tmp_path / 'run'}}}\n"
    )
    job = boat.Job(boat.read_config(tmp_path / "config.yaml"))
    results = []
    for one in (job, copy.deepcopy(job), through_pickle(job)):
        results.append([one.solver.step(**one.batches(k)) for k in range(2)])
        assert one.composition == job.composition
    assert results[0] == results[1] == results[2]


def test_what_is_not_installed_cannot_be_pickled():
    registry = installed().adding(
        replace(installed().find("CG").operation, name="MINE", aliases=()), distribution="mine", version="1"
    )
    composition = boat.compose(registry, approximate="MINE")
    assert copy.deepcopy(composition) == composition
    with pytest.raises(pickle.PicklingError, match=r"MINE \(mine 1\) is not installed"):
        pickle.dumps(composition)
    with pytest.raises(pickle.PicklingError, match="what is installed"):
        pickle.dumps(registry)


def test_a_pickle_is_read_by_another_process(tmp_path):
    ours = solver(approximate="CG")
    ours.step()
    state = {"state": ours.state, "settings": ours.settings, "composition": ours.composition}
    state |= {"optimizer": ours.upper_optimizer, "y": as_array(np.array([1.0 / 3]))}
    (tmp_path / "pickle").write_bytes(pickle.dumps(state))
    read = "s = pickle.load(open(sys.argv[1], 'rb')); print(s['composition'], s['y'].numpy().tolist()[0])"
    command = [sys.executable, "-c", f"import pickle, sys; {read}", tmp_path / "pickle"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"NGD | CG {1.0 / 3!r}"
