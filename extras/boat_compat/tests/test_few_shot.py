"""The problem few-shot and its configurations, on a small Omniglot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import boat_core as boat

pytest.importorskip("PIL", reason="Pillow draws the images")
sys.path.insert(0, str(Path(__file__).parent))
try:
    import drawings
finally:
    sys.path.pop(0)

pytestmark = pytest.mark.usefixtures("single_operators")
EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIGS = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
SMALL = {
    "ways": 2,
    "queries": 2,
    "test_queries": 2,
    "tasks": 2,
    "filters": 2,
    "test_tasks": 3,
    "train_classes": 3,
    "validation_classes": 0,
}


def configured(name, folder, **options):
    overrides = {**SMALL, "data": str(folder / "data"), **options}
    changes = [f"problem_options.{key}={value}" for key, value in overrides.items()]
    return boat.read_config(EXAMPLES / f"{name}.yaml", overrides=["run.steps=2", f"run.out={folder / 'run'}", *changes])


def test_there_is_one_configuration_for_each_method():
    names = {"maml", "fomaml", "meta_sgd", "mt_net", "warpgrad", "rhg", "t_rhg"}
    assert {name.removeprefix("omniglot_") for name in CONFIGS} == names


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_run_and_evaluate_as_they_train(name, tmp_path):
    drawings.write(tmp_path / "data", drawings.omniglot_files(28))
    config = configured(name, tmp_path)
    summary = boat.run(config)
    assert summary["status"] == "finished" and summary["concerns"] == 0
    assert 0 <= summary["evaluation"]["accuracy"] <= 1 and summary["evaluation"]["interval"] >= 0
    # What an evaluation does is what the solver does: as many steps, at the same rate.
    options, solver = config.problem_options, config.solver
    assert options["steps"] == solver.lower_steps
    assert solver.lower_optimizer["rate"] in (options["rate"], {"upper": "rates"})


def test_evaluation_adapts_as_the_solver_does(tmp_path):
    """The y of the solver's step on an episode is that of the evaluation."""
    import numpy as np

    from boat_compat import boml
    from boat_core.testing import assert_close

    drawings.write(tmp_path / "data", drawings.omniglot_files(28))
    solver = boat.Job(configured("omniglot_mt_net", tmp_path, steps=1)).solver
    lower, upper = solver.problem.batches(0, np.random.default_rng(0)).by_name()["0"]
    x, start = solver.upper, solver.problem.lower
    y = boml.adapt(solver.problem.lower_objective, boml.masked_sgd(0.4), x, start, lower, 1)
    solver.step(lower, upper)
    assert_close(solver.lower, boat.Vector.of(y, "y").leaves, 1e-5)


@pytest.mark.nightly
def test_colour_images_of_mini_imagenet_train_a_network_with_pooling(tmp_path):
    """Max pooling has second derivatives here, which MAML takes."""
    files = {
        f"{part}/{name}/{i}.png": drawings.png(image, "RGB")
        for part in ("train", "test")
        for name, images in drawings.colours(2, 4, size=84).items()
        for i, image in enumerate(images)
    }
    drawings.write(tmp_path / "data", files)
    summary = boat.run(configured("omniglot_maml", tmp_path, dataset="mini-imagenet", queries=1, tasks=1))
    assert summary["status"] == "finished" and 0 <= summary["evaluation"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "null"}, "data: expected the folder of omniglot .*set the variable BOAT_FEW_SHOT_DATA; nothing is"),
        ({"train_classes": 5, "validation_classes": 0}, "test: expected at least one class"),
        ({"learner": "stat"}, "learner: expected one of .* did you mean 'start'"),
        ({"ways": 4}, "expected at least 4 classes"),
    ],
)
def test_wrong_options_are_one_error(options, message, tmp_path, monkeypatch):
    monkeypatch.delenv("BOAT_FEW_SHOT_DATA", raising=False)
    drawings.write(tmp_path / "data", drawings.omniglot_files(28))
    with pytest.raises(boat.BoatError, match=message):
        _ = boat.Job(configured("omniglot_maml", tmp_path, rotations=False, **options)).problem


def test_the_variable_names_the_folder(tmp_path, monkeypatch):
    drawings.write(tmp_path / "elsewhere", drawings.omniglot_files(28))
    monkeypatch.setenv("BOAT_FEW_SHOT_DATA", str(tmp_path / "elsewhere"))
    problem = boat.Job(configured("omniglot_maml", tmp_path, data="null")).problem
    assert problem.name == "few-shot"
