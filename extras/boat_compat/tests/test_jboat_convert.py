"""`boat convert`: what it writes runs, and computes what `Problem` computes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from jboat_material import L2, Parameter, loss_config, problem
from jboat_quadratic import CASE

import boat_core as boat
from boat_core.cli import main
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")
LOSSES = loss_config("jboat_quadratic")


@pytest.fixture
def files(tmp_path):
    """Both JSON files in a folder, and `convert(*arguments)`, which returns the exit code."""
    for name, content in (("boat_config.json", {**L2, "return_grad": False}), ("loss_config.json", LOSSES)):
        (tmp_path / name).write_text(json.dumps(content), "utf8")

    def convert(*arguments):
        paths = [str(tmp_path / name) for name in ("boat_config.json", "loss_config.json")]
        return main(["convert", *paths, "-o", str(tmp_path / "out"), *arguments])

    yield tmp_path, convert
    sys.modules.pop("boat_config_problem", None)


READY = ("--models", "jboat_material:quadratic_models", "--feeds", "jboat_material:no_feeds")


@pytest.mark.parametrize(
    ("maps", "ends"),
    [("NGD", "RAD"), ("GDA,NGD", "PTT,RAD"), ("GDA,NGD", "CG"), ("NGD", "RAD,RGT"), ("NGD", "FD"), ("DM,NGD", "RAD")],
)
def test_a_converted_problem_computes_what_problem_computes(files, maps, ends):
    folder, convert = files
    rates = ("--lower", "sgd:0.1", "--upper", "sgd:0.0625")
    assert convert("--gm_op", maps, "--na_op", ends, *rates, *READY, *_truncated(folder, ends)) == 0
    job = boat.Job(boat.read_config(folder / "out" / "boat_config.yaml"))
    upper_model = Parameter(CASE.x)
    built = problem(L2, LOSSES, upper_model, Parameter(CASE.y), (maps, ends), (0.1, 0.0625), return_grad=False)
    for k in range(2):
        job.solver.step(**job.batches(k))
        built.run_iter({}, {}, current_iter=k)
        assert_close(job.solver.upper[0].numpy(), upper_model.value.numpy())


def _truncated(folder: Path, ends: str) -> tuple[str, ...]:
    """A script writes truncate_iter into the loaded configuration; here it is written into the file."""
    if "RGT" in ends:
        path = folder / "boat_config.json"
        path.write_text(path.read_text("utf8").replace('"truncate_iter": 0', '"truncate_iter": 1'), "utf8")
    return ()


@pytest.mark.parametrize("name", ["VSO", "VFO", "MESO", "PGDO"])
def test_first_order_methods_run(files, name, capsys):
    folder, convert = files
    assert convert("--fo_op", name, "--lower", "sgd:0.1", *READY, "--json") == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert any(change["jboat"].startswith(f"{name}.") for change in changes)
    job = boat.Job(boat.read_config(folder / "out" / "boat_config.yaml"))
    job.solver.step(**job.batches(0))
    assert np.isfinite(job.solver.upper[0].numpy()).all()


def test_without_the_script_both_functions_are_to_be_filled_in(files, capsys):
    folder, convert = files
    assert convert() == 0
    printed = capsys.readouterr().out
    assert "Fill in models() and feeds()" in printed and "NaN" in printed
    config = str(folder / "out" / "boat_config.yaml")
    assert main(["explain", config]) == 0
    assert main(["run", config]) == 2
    assert "into models() of this file" in capsys.readouterr().err
    text = (folder / "out" / "boat_config.yaml").read_text("utf8")
    assert "#   copy_last_param: true -> start: warm: y goes on from y_T" in text


def test_errors_name_the_file_and_the_key(files, capsys):
    folder, convert = files
    assert convert("--na_op", "CGG") == 2
    assert "boat_config.json: na_op: no operation 'CGG'" in capsys.readouterr().err
    assert convert("--lower", "sgd") == 2
    assert "--lower: expected NAME:RATE" in capsys.readouterr().err
    (folder / "loss_config.json").write_text('{"upper_level_loss": {}}', "utf8")
    assert convert() == 2
    assert "loss_config.json: lower_level_loss: missing" in capsys.readouterr().err
    (folder / "boat_config.json").write_text('{\n"fo_op": null,}', "utf8")
    assert convert() == 2
    assert "boat_config.json:2: no JSON" in capsys.readouterr().err
    (folder / "boat_config.json").write_text(json.dumps(L2), "utf8")
    (folder / "loss_config.json").write_text(json.dumps(LOSSES), "utf8")
    assert convert() == 0 and convert() == 2
    assert "exists; choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("chain", [("DI,GDA,NGD", "CG"), ("NGD", "RAD")])
def test_a_script_is_converted_whole(tmp_path, monkeypatch, capsys, chain):
    """Models, variables, optimizers, feeds and operations come from the script, up to its first iteration."""
    scripts = Path(__file__).parent / "jboat_scripts"
    monkeypatch.chdir(tmp_path)
    files = [str(scripts / "configs_jit" / f"{name}_config_l2.json") for name in ("boat", "loss")]
    arguments = ["--gm_op", chain[0], "--na_op", chain[1]]
    out = ["-o", str(tmp_path / "out"), "--steps", "2"]
    assert main(["convert", *files, *out, "--script", str(scripts / "l2_regularization.py"), *arguments]) == 0
    config = boat.read_config(tmp_path / "out" / "boat_config_l2.yaml")
    assert config.solver.upper_optimizer["name"] == "adam" and config.solver.lower_optimizer["rate"] == 0.01
    capsys.readouterr()
    assert main(["run", str(tmp_path / "out" / "boat_config_l2.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["status"] == "finished"
    sys.modules.pop("boat_config_l2_problem", None)


def test_a_script_without_an_iteration(files, capsys):
    folder, convert = files
    (folder / "script.py").write_text("print('nothing')\n", "utf8")
    assert convert("--script", str(folder / "script.py")) == 2
    assert "ended before it called run_iter" in capsys.readouterr().err
