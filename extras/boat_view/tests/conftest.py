"""Recorded runs for the tests of reports, written as `boat run` writes them."""

from __future__ import annotations

import json

import pytest
import yaml

CHAIN = {"map": ["NGD"], "approximate": ["CG"], "options": {"CG": {"max_iterations": 2}}}
CONCERN = "CG: the solve did not converge: relative residual {} after 2 iterations"


def step(iteration, upper=None, **report):
    """Return a line of the metrics."""
    report = {"hypergradient_norm": 0.5, "operations": {}, "concerns": [], **report}
    upper = 1.0 / (iteration + 1) if upper is None else upper
    return {"iteration": iteration, "upper_loss": upper, "lower_loss": 2.0, "seconds": 0.25, "report": report}


def write_run(folder, steps=(), evaluations=(), seed=0, solver=None, summary=None, **config):
    """Write the folder of a run."""
    folder.mkdir(parents=True)
    section = {**CHAIN, "lower_steps": 5, "lower_optimizer": {"name": "sgd", "rate": 0.1}, **(solver or {})}
    values = {"problem": "toy:make", "solver": section, "run": {"steps": 9, "seed": seed, "out": str(folder)}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**values, **config}), "utf-8")
    packs = {"boat-ops-gm": "0.1.0", "boat-ops-na": "0.1.0"}
    (folder / "versions.json").write_text(json.dumps({"python": "3.11.7", "packs": packs}), "utf-8")
    summary = {"status": "finished", "steps": len(steps), "seconds_compiling": 0.5, **(summary or {})}
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    for name, lines in (("metrics", steps), ("evaluations", evaluations)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    return folder


@pytest.fixture
def recorded(tmp_path):
    """Write the folder of a run below a folder of the test."""

    def write(name, *arguments, **settings):
        return write_run(tmp_path / "runs" / name, *arguments, **settings)

    return write


@pytest.fixture
def line():
    return step
