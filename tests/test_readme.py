"""The examples and commands of README.md work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from boat_core.cli import main
from boat_core.plugins.known_packs import published_operations

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return text


def test_it_is_short():
    assert len(README.splitlines()) <= 120


def test_the_python_example_runs(capsys):
    code = block("python")
    assert len(code.strip().splitlines()) <= 15
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert np.isfinite(float(capsys.readouterr().out.split()[-1]))


def test_the_yaml_example_runs(tmp_path, monkeypatch):
    text = block("yaml")
    assert len(text.strip().splitlines()) <= 10
    config = tmp_path / "config.yaml"
    config.write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    assert main(["explain", str(config)]) == 0
    assert main(["run", str(config), "--set", "run.steps=1", "--set", "solver.lower_steps=2"]) == 0


def test_every_pack_names_its_operations():
    for distribution, names in published_operations().items():
        text = (ROOT / distribution.replace("-", "_") / "README.md").read_text("utf-8")
        assert [name for name in names if f"**{name}**" not in text] == [], distribution


def test_the_two_commands_are_in_the_makefile():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    commands = re.findall(r"^ +make ([a-z]+)", README, re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    assert set(commands) <= set(targets)
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
