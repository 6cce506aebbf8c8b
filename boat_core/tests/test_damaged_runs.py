"""Damaged, cut and exchanged checkpoints: a run goes on to the numbers of a whole one, or one error names the file."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from boat_core import BoatError
from boat_core.config.schema import read_config
from boat_core.runs import checkpoint
from boat_core.runs.run import run

PROBLEM = """\
import numpy as np
import boat_core as boat

def make(seed):
    def upper(x, y, batch):
        return ((y - 1) ** 2).sum() + (x * x).sum()

    def lower(x, y, batch):
        return ((y - x - batch) ** 2).sum()

    def batches(k, rng):
        return rng.standard_normal(2).astype("float32"), None

    return boat.Problem(upper, lower, np.full(2, float(seed), "float32"), np.zeros(2, "float32"), batches)
"""
CONFIG = """\
problem: damaged:make
solver:
  map: STEP
  lower_steps: 2
  lower_optimizer: {name: sgd, rate: 0.1, momentum: 0.5}
  upper_optimizer: {name: adam, rate: 0.1}
run: {steps: 5, seed: 3, out: first, checkpoint_every: 1, keep_checkpoints: 9, device: cpu}
"""


@pytest.fixture(autouse=True)
def place(monkeypatch, only_toys_installed, tmp_path):
    """A folder with a run of five steps, `first`, and one of another seed and of other options."""
    monkeypatch.chdir(tmp_path)
    Path("damaged.py").write_text(PROBLEM, "utf-8")
    Path("config.yaml").write_text(CONFIG, "utf-8")
    run(read_config("config.yaml"))
    run(read_config("config.yaml", ["run.out=seed", "run.seed=4"]))
    run(read_config("config.yaml", ["run.out=rate", "solver.upper_optimizer.rate=0.2"]))
    run(read_config("config.yaml", ["run.out=whole", "run.steps=7"]))


def results(folder):
    with np.load(f"{folder}/variables.npz", allow_pickle=False) as stored:
        arrays = {name: (value.dtype.str, value.tobytes()) for name, value in stored.items()}
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text("utf-8").splitlines()]
    return arrays, [{**line, "seconds": 0} for line in lines]


def path_of(step, folder="out"):
    return checkpoint.path_of(Path(folder), step)


def flipped(content, draw):
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def cut(content, draw):
    places = (0, 1, 4, 30, 100, len(content) // 2, len(content) - 22, len(content) - 1, draw.randrange(len(content)))
    return content[: draw.choice(places)]


def zeroed(content, draw):
    """A block of the disk that was never written."""
    at = draw.randrange(len(content))
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


def harm(draw):
    """Harm the newest checkpoint, or several; return what was done."""
    kind = draw.choice(("flipped", "cut", "zeroed", "longer", "folder", "older", "run", "renamed", "exchanged", "all"))
    newest = path_of(5)
    if kind in ("flipped", "cut", "zeroed"):
        newest.write_bytes(globals()[kind](newest.read_bytes(), draw))
    elif kind == "longer":
        newest.write_bytes(newest.read_bytes() + draw.randbytes(draw.choice((1, 22, 1000))))
    elif kind == "folder":
        newest.unlink()
        newest.mkdir()
    elif kind == "older":
        shutil.copy(path_of(draw.randint(1, 4)), newest)
    elif kind == "run":
        shutil.copy(path_of(draw.randint(1, 5), draw.choice(("seed", "rate"))), newest)
    elif kind == "renamed":
        shutil.copy(path_of(draw.randint(1, 5)), path_of(draw.choice((6, 7, 9, 10**9))))
    elif kind == "exchanged":
        one, other = draw.sample(range(1, 6), 2)
        contents = path_of(one).read_bytes(), path_of(other).read_bytes()
        path_of(one).write_bytes(contents[1]), path_of(other).write_bytes(contents[0])
    else:
        for step in range(1, 6):
            path_of(step).write_bytes(cut(path_of(step).read_bytes()[:-1], draw))
    return kind


def try_damages(number, seed):
    """Harm `number` copies of the run and go on with each. Return how many went on, and how many were refused."""
    draw, whole = random.Random(seed), results("whole")
    went_on = refused = 0
    for _ in range(number):
        shutil.rmtree("out", ignore_errors=True)
        shutil.copytree("first", "out")
        kind = harm(draw)
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            try:
                run(
                    read_config("out/config.yaml", ["run.steps=7", "run.out=out", "run.checkpoint_every=100"]),
                    resume="out",
                )
            except Exception as error:
                said = "out/checkpoints/step-000005.npz: expected" in str(error)
                if not (kind == "all" and isinstance(error, BoatError) and said):
                    pytest.fail(f"{kind}: {type(error).__name__}: {error}")
                refused += 1
                continue
        assert results("out") == whole, kind
        went_on += 1
    return went_on, refused


def test_damaged_checkpoints():
    went_on, refused = try_damages(40, seed=1)
    assert went_on > 25 and refused > 0


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 7))
def test_many_damaged_checkpoints(seed):
    went_on, refused = try_damages(400, seed)
    assert went_on > 250 and refused > 10


@pytest.mark.parametrize(
    ("other", "instead"),
    [
        (("first", 3), r"got that after step 3\)"),
        (("seed", 5), r"got one of a run whose run.seed is 4\)"),
        (("rate", 5), r"got one of a run whose solver.upper_optimizer is .*0\.2"),
    ],
)
def test_a_checkpoint_of_another_place_is_set_aside(other, instead):
    shutil.copy(path_of(other[1], other[0]), path_of(5, "first"))
    with pytest.warns(
        UserWarning, match=rf"step-000005.npz: expected the checkpoint after step 5 of this run.*{instead}"
    ):
        summary = run(read_config("first/config.yaml", ["run.steps=7"]), resume="first")
    assert summary["resumed_from"] == 4
    assert results("first") == results("whole")
