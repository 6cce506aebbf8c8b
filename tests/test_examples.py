"""The examples run at a smaller size, and equal seeds give equal bits in two processes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from boat_core.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {
    "hyper_cleaning": ["solver.lower_steps=3", "problem_options.train_steps=2"],
    "sinusoid": ["problem_options.tasks=2", "problem_options.steps=2", "problem_options.unseen_tasks=3"],
    "few_shot_digits": [
        *("solver.lower_steps=2", "problem_options.tasks=2", "problem_options.queries=5"),
        *("problem_options.steps=2", "problem_options.test_tasks=3"),
    ],
}


def small(config):
    """Return the arguments that make this example small: `--set` for its module, and two outer steps."""
    module = yaml.safe_load(config.read_text())["problem"].split(":")[0]
    return [word for key in ("run.steps=2", *SMALL[module]) for word in ("--set", key)]


#: What makes each script small, and what must be better at its end than at first: names of what it returns.
SCRIPTS = {
    "imaml_sinusoids": ({"steps": 4, "tasks": 2}, None),
    "learned_optimizer": ({"steps": 3, "lower_steps": 5}, ("last", "first")),
    "reweighting": ({"steps": 60}, ("plain", "reweighted")),
    "ridge_diabetes": ({"steps": 20}, ("each", "one")),
    "scipy_solver": ({"steps": 5}, ("last", "first")),
}


@pytest.fixture
def module(monkeypatch):
    """Import an example by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.mark.parametrize("config", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_runs(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", str(config), "--json", *small(config), "--set", f"run.out={out}"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["status"] == "finished"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert {"config.yaml", "versions.json", "variables.npz", "picture.png"} <= {p.name for p in out.iterdir()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_draws_its_picture(name, module, tmp_path):
    """The run is small, but the picture still shows its point."""
    arguments, (less, more) = SCRIPTS[name][0], SCRIPTS[name][1] or (None, None)
    found = module(name).main(str(tmp_path / "picture.png"), **arguments)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert all(np.isfinite(value) for value in found.values())
    assert less is None or found[less] < found[more]
    assert len((EXAMPLES / f"{name}.py").read_text("utf8").splitlines()) <= 80


def test_same_seed_same_bits_in_two_processes(tmp_path):
    arrays = []
    for name in ("a", "b"):
        out = tmp_path / name
        config = EXAMPLES / "hyper_cleaning.yaml"
        command = [sys.executable, "-m", "boat_core", "run", str(config), *small(config)]
        subprocess.run([*command, "--set", f"run.out={out}"], check=True, capture_output=True)
        with np.load(out / "variables.npz", allow_pickle=False) as stored:
            arrays.append({key: stored[key] for key in stored.files})
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0])
    assert any(key.startswith("upper") for key in arrays[0])
    assert any(key.startswith("lower") for key in arrays[0])


def test_corruption_changes_the_stated_rows(module):
    split_digits = module("hyper_cleaning").split_digits
    split = split_digits(seed=3, train_rows=900, validation_rows=300, corruption=0.4)
    assert split.corrupt.sum() == 360
    assert [len(rows[0]) for rows in (split.train, split.validation, split.test)] == [900, 300, 597]
    images = np.concatenate([split.train[0], split.validation[0], split.test[0]])
    again = split_digits(seed=3, train_rows=900, validation_rows=300, corruption=0.4)
    assert len(images) == 1797
    assert np.array_equal(split.train[1], again.train[1])


def test_few_shot_classes_do_not_overlap(module):
    example = module("few_shot_digits")
    training, testing = (example.classes_of(digits, True) for digits in (range(6), range(6, 10)))
    assert len(training) == 48 and len(testing) == 32
    images = [{row.tobytes() for rows in found.values() for row in rows} for found in (training, testing)]
    assert images[0].isdisjoint(images[1])
    with pytest.raises(ValueError, match="6"):
        example.problem(train_digits=[0, 1, 2, 6])


def test_few_shot_tasks_share_no_image(module):
    example = module("few_shot_digits")
    classes = example.classes_of(range(6, 10), False)
    shown, hidden = example.draw_tasks(classes, np.random.default_rng(0), 2, 3, 5, 15, shift=0)
    assert shown.shape == (2, 15, 64) and hidden.shape == (2, 45, 64)
    known = {row.tobytes(): name for name, rows in classes.items() for row in rows}
    for first, second in zip(shown, hidden):
        assert {row.tobytes() for row in first}.isdisjoint(row.tobytes() for row in second)
        names = [known[row.tobytes()] for row in first]
        assert [names[0]] * 5 + [names[5]] * 5 + [names[10]] * 5 == names and len(set(names)) == 3
        assert [known[row.tobytes()] for row in second] == [name for name in names[::5] for _ in range(15)]


def test_shifted_image_is_complete(module):
    images = np.arange(1, 65, dtype=np.float32).reshape(1, 8, 8).repeat(50, axis=0)
    moved = module("few_shot_digits").shifted(images, np.random.default_rng(0), 4).reshape(50, 12, 12)
    corners = {tuple(np.argwhere(image)[0]) for image in moved}
    assert len(corners) > 10 and {0, 4} <= {row for row, _ in corners}
    assert all(np.array_equal(image[image > 0], images[0].ravel()) for image in moved)


def test_sinusoid_evaluates_on_unseen_curves(module):
    example = module("sinusoid")
    problem = example.problem(tasks=3)
    training = {
        number
        for seed in range(3)
        for k in range(20)
        for lower, _ in problem.batches(k, np.random.default_rng([seed, k])).pairs
        for number in lower[0].ravel()
    }
    test, validation = (set(example.unseen(score, 20, 10)[0].ravel()) for score in ("test", "validation"))
    assert len(training) > 1700 and len(test) == 200
    # Numbers that two streams share by chance are few; curves that they share would share all their points.
    assert len(test & training) < 5 and len(validation & training) < 5 and len(test & validation) < 5
