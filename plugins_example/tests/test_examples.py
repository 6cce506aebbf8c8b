"""The example configurations run at a smaller size, and the weights that they learn improve the accuracy."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, tmp_path, *settings):
    """Run this configuration and return the summary."""
    words = [word for setting in (*settings, f"run.out={tmp_path / 'run'}") for word in ("--set", setting)]
    command = [sys.executable, "-m", "boat_core", "run", str(EXAMPLES / f"{name}.yaml"), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "run" / "summary.json").read_text())


@pytest.mark.parametrize("name", ["f2sa", "nystrom"])
def test_every_example_runs(name, tmp_path):
    if name == "nystrom":
        pytest.importorskip("boat_ops_gm", reason="a lower trajectory is rolled out by an operation of boat-ops-gm")
    summary = run(name, tmp_path, "run.steps=2")
    assert summary["status"] == "finished" and summary["concerns"] == 0
    numbers = [summary["upper_loss"], summary["lower_loss"], *summary["evaluation"].values()]
    assert len(numbers) == 8 and all(math.isfinite(number) for number in numbers)


def test_learned_weights_beat_equal_weights(tmp_path):
    found = run("f2sa", tmp_path, "run.steps=60")["evaluation"]
    assert found["test_accuracy"] > found["test_accuracy_all_rows_alike"] + 0.04
    assert found["auc"] > 0.9
