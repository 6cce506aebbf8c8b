"""Every template of `boat init` is a problem with right derivatives that runs as it is written."""

from __future__ import annotations

import json

import pytest

from boat_author.init import TEMPLATES
from boat_core.cli import main


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.usefixtures("single_operators")
def test_template_runs(template, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine", "--template", template]) == 0
    assert "boat run mine/config.yaml" in capsys.readouterr().out
    assert main(["check", "mine/config.yaml"]) == 0
    capsys.readouterr()
    assert main(["run", "mine/config.yaml", "--set", "run.steps=2", "--set", "run.out=out", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["status"], summary["steps"]) == ("finished", 2)


def test_folder_is_made_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    for folder, message in (("mine", "mine exists; choose another FOLDER"), ("file/mine", "file/mine cannot be made")):
        assert main(["init", folder]) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine"]
    assert main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["templates"] == TEMPLATES
