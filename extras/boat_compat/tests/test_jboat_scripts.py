"""Scripts against JBOAT's documentation, unchanged: `import jboat` and `import boat_jit` work after `install()`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from jboat_material import FIRST_ORDER, UNROLLED

import boat_compat.jboat as jboat
from boat_core import RunError

pytestmark = pytest.mark.usefixtures("single_operators")
CONFIG = Path(__file__).parent / "jboat_scripts" / "configs_jit" / "boat_config_l2.json"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """`script(name)`: the module of a script, which finds `jboat` and writes its files into a folder of the test."""
    modules = dict(sys.modules)
    monkeypatch.chdir(tmp_path)
    jboat.install()
    yield importlib.import_module
    for name in set(sys.modules) - set(modules):
        if name.partition(".")[0] in ("jboat", "boat_jit", "l2_regularization"):
            del sys.modules[name]


def test_modules_and_names(script):
    """The paths of JBOAT, in both of its names, are one module each."""
    for name in ("cg", "ns", "fd", "iga", "rad", "rgt", "ptt", "iad", "foa"):
        module = script(f"jboat.na_ol.{name}")
        assert getattr(module, name.upper()) is getattr(jboat.na_ol, name.upper())
        assert module is script(f"boat_jit.na_ol.{name}")
    for path in (
        "gm_ol.ngd.NGD",
        "gm_ol.dm.DM",
        "gm_ol.sequential_ds.SequentialDS",
        "na_ol.sequential_hg.SequentialHG",
        "na_ol.hyper_gradient.HyperGradient",
        "gm_ol.dynamical_system.DynamicalSystem",
        "fo_ol.vso.VSO",
        "operation_registry.register_class",
        "boat_opt.Problem",
        "utils.op_utils.ResultStore",
        "utils.op_utils.HyperGradientRules",
    ):
        module, _, name = path.rpartition(".")
        assert getattr(script(f"boat_jit.{module}"), name) is getattr(script(f"boat_compat.jboat.{module}"), name)
    registered = "CG DI DM DynamicalSystem FD FOA GDA HyperGradient IAD IGA MESO NGD NS PGDO PTT RAD RGT VFO VSO"
    assert set(registered.split()) == set(jboat.Operation_REGISTRY)
    jboat.install()


def test_install_replaces_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "jboat", sys)
    with pytest.raises(RunError, match="jboat is installed.*pip uninstall jboat"):
        jboat.install()


@pytest.mark.parametrize(("maps", "ends"), UNROLLED, ids=lambda value: value.replace(",", "+"))
def test_l2_regularization(script, maps, ends):
    """The shipped configuration has return_grad true: x stays at 0, and the classifier is trained."""
    upper_model, lower_model = script("l2_regularization").main(["--gm_op", maps, "--na_op", ends])
    assert not upper_model.x.numpy().any() and np.isfinite(lower_model.y.numpy()).all()


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_l2_regularization_first_order(script, name):
    arguments = ["--gm_op", "", "--na_op", "", "--fo_op", name]
    upper_model, lower_model = script("l2_regularization").main(arguments)
    assert not upper_model.x.numpy().any() and np.isfinite(lower_model.y.numpy()).all()


@pytest.mark.parametrize(("maps", "ends"), [("NGD", "RAD"), ("GDA,NGD", "PTT,RAD")])
def test_hyper_cleaning_finds_the_corrupt_rows(script, maps, ends, capsys):
    weights, corrupt = script("hyper_cleaning").main(CONFIG, maps, ends)
    assert weights[corrupt].max() < weights[~corrupt].min()
    assert "Iteration 20: Loss = " in capsys.readouterr().out


@pytest.mark.parametrize("ends", ["IAD", "FOA,IAD", "IAD,PTT"])
def test_meta_learning_with_batch_norm(script, ends):
    before, after = script("meta_learning").main(CONFIG, ends)
    changed = {name: np.abs(after[name] - before[name]).max() for name in before}
    assert min(changed.values()) > 0, "weights by the upper optimizer, statistics by evaluation"


@pytest.mark.nightly
@pytest.mark.parametrize("ends", ["RAD", "FD"])
def test_architecture_search(script, ends, tmp_path):
    before, after, _model = script("architecture_search").main(CONFIG, ends)
    assert all(np.abs(new - old).max() > 1e-3 for old, new in zip(before, after))
    assert (tmp_path / "loss_curve.png").exists()
