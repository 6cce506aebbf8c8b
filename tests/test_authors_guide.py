"""docs/authors.md is carried out: every fenced block of it, in order, in a fresh environment.

A block whose first line is a path is that file, or is found in it. The commands of a `console` block are really run;
lines below one are looked for in what it printed. `boat`, `pytest` and Python without a path share a process as long as
nothing is written or installed in between. A block of which nothing is done is an error.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from boat_core import testing
from boat_core.declare import operation

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "authors.md"
ENDINGS = {"python": ".py", "toml": ".toml", "yaml": ".yaml"}

#: Does `["boat", …]`, `["pytest", …]` and `["python", code]` one after another; prints exit codes and what was said.
SESSION = """
import contextlib, io, json, sys, traceback
import boat_core
from boat_core.cli import main

def do(kind, *arguments):
    if kind == "boat":
        return main(arguments)
    if kind == "pytest":
        import pytest
        return int(pytest.main([*arguments, "-p", "no:cacheprovider"]))
    exec(compile(arguments[0], "docs/authors.md", "exec"), names)
    return 0

answers, names = [], {"__name__": "guide"}
for step in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = do(*step)
        except BaseException:
            traceback.print_exc()
            code = 1
    answers.append([code, said.getvalue()])
print(json.dumps(answers))
"""


@dataclass
class Block:
    """A fenced block; `line` is that of its first line of text."""

    language: str
    line: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def blocks(text):
    """Every fenced block; a fence that is indented, of another kind or not closed is an error."""
    found: list[Block] = []
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not re.match(r"[\s>*+-]*(```|~~~)", line):
            if inside:
                found[-1].lines.append(line)
            continue
        opening = re.fullmatch(r"```(\w+)", line)
        assert line == "```" if inside else opening, f"line {number}: {line!r} is no fence that is expected here"
        inside = not inside
        if opening:
            found.append(Block(opening[1], number + 1))
    assert found and not inside and all(block.lines for block in found)
    return found


def commands(block):
    """Each command of a console block, and the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"line {block.line}: a command is expected"
            found[-1][1].append(line)
    return found


def check_printed(wanted, printed, where):
    """The lines are there, in this order; … stands for anything."""
    lines = iter(printed.splitlines())
    for want in wanted:
        pattern = ".*".join(re.escape(part) for part in want.split("…"))
        assert any(re.fullmatch(pattern, line) for line in lines), f"{where}: no {want!r} in\n{printed}"


def holds(whole, part):
    """Whether a parsed document has all that a part of it has."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and holds(whole[name], part[name]) for name in part)
    return whole == part


class Reader:
    """Somebody who does in an empty folder what the guide says."""

    def __init__(self, environment, wheels, build, program, folder: Path) -> None:
        self.environment, self.wheels, self.build, self.program = environment, wheels, build, program
        self.folder = folder
        self.written: list[str] = []
        self.given: list[str] = []
        self._edited: dict[str, bool] = {}  # projects that are installed as they lie there
        self._steps: list[tuple[list[str], list[str], str]] = []

    def read(self, text: str) -> None:
        for block in blocks(text):
            self._do(block)
        self._finish()

    def _do(self, block: Block) -> None:
        where = f"docs/authors.md:{block.line}"
        if place := re.fullmatch(r"# ([\w./-]+\.\w+)(, in part)?", block.lines[0]):
            self._finish()
            assert place[1].endswith(ENDINGS.get(block.language, "?")), where
            (self._compare if place[2] else self._write)(self.folder / place[1], block)
        elif block.language == "python":
            self._steps.append((["python", "\n" * (block.line - 1) + block.text], [], where))
            self._write(self.folder / f"line_{block.line}.py", block)  # for the look at its style
        elif block.language == "console":
            for command, wanted in commands(block):
                self._run(command, wanted, f"{where}: {command}")
        else:
            pytest.fail(f"{where}: nothing is done with it")

    def _write(self, path: Path, block: Block) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf8")
        name = str(path.relative_to(self.folder))
        self.written.append(name)
        self._edited |= {project: True for project in self._edited if name.startswith(f"{project}/")}

    def _compare(self, path: Path, block: Block) -> None:
        """The file that is there has these lines, or this of its tables."""
        whole, part = path.read_text("utf8"), "".join(f"{line}\n" for line in block.lines[1:])
        if block.language == "python":
            assert part in whole, f"{path} has no\n{part}"
        else:
            load = {"toml": tomllib.loads, "yaml": yaml.safe_load}[block.language]
            assert holds(load(whole), load(part)), f"{path} has no\n{part}"

    def _run(self, command: str, wanted: list[str], where: str) -> None:
        words = shlex.split(command)
        self.given += words
        if words[0] in ("boat", "pytest"):
            self._steps.append((words, wanted, where))
            return
        self._finish()
        match words:
            case [setting, "boat", *arguments] if "=" in setting:
                variables = dict([setting.split("=", 1)])
                boat = self.environment.folder / "bin" / "boat"
                done = self.program(boat, *arguments, cwd=self.folder, **variables)
                check_printed(wanted, done.stderr + done.stdout, where)
                wanted = []
            case ["pip", "install", "-e", named]:
                project, _, extra = named.removeprefix("./").removesuffix("]").partition("[")
                known = tomllib.loads((self.folder / project / "pyproject.toml").read_text("utf8"))["project"]
                assert not extra or extra in known["optional-dependencies"], where
                self._edited[project] = True
            case ["pip", "install", *names]:
                self.environment.install(*(self.wheels[name.replace("-", "_")] for name in names))
            case ["python", "-m", "build", project]:
                dist = self.folder / project / "dist"
                dist.mkdir()
                for kind in ("sdist", "wheel"):
                    shutil.copy(self.build(self.folder / project, kind), dist)
            case _:
                pytest.fail(f"{where}: the test does not know this command")
        assert not wanted, f"{where}: what it prints is not looked at"

    def _finish(self) -> None:
        """Do what has been put off, with the projects as they are now."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        for project in (name for name, edited in self._edited.items() if edited):
            wheel = self.build(self.folder / project)
            self.environment.pip("install", "--no-deps", "--no-index", "--force-reinstall", wheel)
            self._edited[project] = False
        asked = json.dumps([words for words, _, _ in steps])
        done = self.environment.run("python", "-c", SESSION, asked, cwd=self.folder)
        for (_, wanted, where), (code, printed) in zip(steps, json.loads(done.stdout.splitlines()[-1])):
            assert code == 0, f"{where}: exit code {code}\n{printed}"
            check_printed(wanted, printed, where)


def test_every_block_works(environment, wheels, build, program, tmp_path):
    reader = Reader(environment, wheels, build, program, tmp_path / "reader")
    reader.folder.mkdir()
    reader.read(GUIDE.read_text("utf8"))

    assert [path for path in reader.written if path.endswith((".toml", ".yaml")) and path not in reader.given] == []
    python = [reader.folder / path for path in reader.written if path.endswith(".py")]
    ours = "lint.isort.known-first-party=['boat_core', 'boat_mine']"
    for verb in (["check"], ["format", "--check"]):
        program(sys.executable, "-m", "ruff", *verb, "--config", ROOT / "pyproject.toml", "--config", ours, *python)

    built = {path.name for path in (reader.folder / "boat-mine" / "dist").iterdir()}
    assert built == {"boat_mine-0.1.0.tar.gz", "boat_mine-0.1.0-py3-none-any.whl"}
    for name, steps in (("first", 30), ("second", 100)):
        summary = json.loads((reader.folder / "runs" / name / "summary.json").read_text("utf8"))
        assert (summary["status"], summary["steps"]) == ("finished", steps)


@pytest.mark.parametrize(
    "text",
    [
        "```\nno language\n```",
        "~~~python\nx = 1\n~~~",
        "- ```python\n  x = 1\n  ```",
        "```python\nnot closed",
        "```bash\nls\n```",
        "```console\n$ rm first.py\n```",
        "```console\n$ twine upload dist/x\n```",
        "```yaml\nno: file\n```",
        "```cpp\n# a.py\n```",
        "```python\n# there.py, in part\nx = 2\n```",
    ],
)
def test_a_block_of_which_nothing_is_done_is_an_error(tmp_path, text):
    (tmp_path / "there.py").write_text("x = 1\n", "utf8")
    reader = Reader(None, {}, None, None, tmp_path)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        reader.read(text)


def test_the_tables_are_complete():
    """Of roles with what they are given, of the kit's checks, and of what else the kit has."""
    text = GUIDE.read_text("utf8")
    for role, takes in operation.ARGUMENTS.items():
        (row,) = re.findall(rf"^\| [\w-]+, {role} \| `\(([\w, ]+)\)`", text, flags=re.MULTILINE)
        assert tuple(row.split(", ")) == takes
    suite: Any = testing.OperationSuite
    assert re.findall(r"^\| `(test_\w+)`", text, flags=re.MULTILINE) == [
        n for n in vars(suite) if n.startswith("test_")
    ]
    assert [name for name in testing.__all__ if not re.search(rf"\b{name}\b", text)] == []
