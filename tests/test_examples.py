"""The examples run as they stand, smaller; the same seed gives the same bits in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from boat_core.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = ["--set", "run.steps=2", "--set", "solver.lower_steps=3", "--set", "problem_options.train_steps=2"]


@pytest.mark.parametrize("config", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_runs(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["run", str(config), "--json", *SMALL, "--set", f"run.out={out}"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["status"] == "finished"
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert {"config.yaml", "versions.json", "variables.npz", "picture.png"} <= {p.name for p in out.iterdir()}


def test_same_seed_same_bits_in_two_processes(tmp_path):
    arrays = []
    for name in ("a", "b"):
        out = tmp_path / name
        command = [sys.executable, "-m", "boat_core", "run", str(EXAMPLES / "hyper_cleaning.yaml"), *SMALL]
        subprocess.run([*command, "--set", f"run.out={out}"], check=True, capture_output=True)
        with np.load(out / "variables.npz", allow_pickle=False) as stored:
            arrays.append({key: stored[key] for key in stored.files})
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0])
    assert any(key.startswith("upper") for key in arrays[0])
    assert any(key.startswith("lower") for key in arrays[0])


def test_the_corruption_is_what_it_says():
    sys.path.insert(0, str(EXAMPLES))
    try:
        from hyper_cleaning import split_digits
    finally:
        sys.path.remove(str(EXAMPLES))
    split = split_digits(seed=3, train_rows=900, validation_rows=300, corruption=0.4)
    assert split.corrupt.sum() == 360
    assert [len(rows[0]) for rows in (split.train, split.validation, split.test)] == [900, 300, 597]
    images = np.concatenate([split.train[0], split.validation[0], split.test[0]])
    again = split_digits(seed=3, train_rows=900, validation_rows=300, corruption=0.4)
    assert len(images) == 1797
    assert np.array_equal(split.train[1], again.train[1])
