"""Carry out docs/authors: every fenced block of every page, in the order of its contents, in a fresh environment.

If the first line of a block is a path, the block is that file, or a part of it. The test runs the commands of `console`
blocks and looks for the lines below a command in its output. `boat`, `pytest` and Python blocks without a path share a
process until a file is written or something is installed. A block with which the test does nothing is an error.
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
GUIDE = ROOT / "docs" / "authors"
ENDINGS = {"python": ".py", "toml": ".toml", "yaml": ".yaml"}

#: Runs `["boat", …]`, `["pytest", …]` and `["python", code, place]` in turn; prints exit codes and outputs.
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
    exec(compile(arguments[0], arguments[1], "exec"), names)
    return 0

answers, names = [], {"__name__": "guide"}
for step in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = do(*step)
        except BaseException:
            traceback.print_exc()
            code = 1
    answers.append([code, output.getvalue()])
print(json.dumps(answers))
"""


def pages():
    """The pages of the guide, by file name, in the order of its contents."""
    contents = (GUIDE / "index.md").read_text("utf8")
    names = re.findall(r"^\d+\. \[[^]]+\]\((\w+\.md)\)", contents, flags=re.MULTILINE)
    assert sorted(names) == sorted(path.name for path in GUIDE.iterdir()), "the contents of docs/authors are incomplete"
    return {name: (GUIDE / name).read_text("utf8") for name in names}


@dataclass
class Block:
    """A fenced block of a page; `line` is the number of its first line of text."""

    language: str
    page: str
    line: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def blocks(page, text):
    """Return every fenced block; a fence that is indented, of another kind or not closed is an error."""
    fenced: list[Block] = []
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not re.match(r"[\s>*+-]*(```|~~~)", line):
            if inside:
                fenced[-1].lines.append(line)
            continue
        opening = re.fullmatch(r"```(\w+)", line)
        assert line == "```" if inside else opening, f"{page}:{number}: unexpected fence {line!r}"
        inside = not inside
        if opening:
            fenced.append(Block(opening[1], page, number + 1))
    assert not inside and all(block.lines for block in fenced), page
    return fenced


def commands(block):
    """Return each command of a console block with the lines that it prints."""
    entries: list[tuple[str, list[str]]] = []
    for line in block.lines:
        if line.startswith("$ "):
            entries.append((line[2:], []))
        else:
            assert entries, f"{block.page}:{block.line}: expected a command"
            entries[-1][1].append(line)
    return entries


def check_printed(wanted, printed, where):
    """Check that the output contains the lines in this order; … stands for anything."""
    lines = iter(printed.splitlines())
    for want in wanted:
        pattern = ".*".join(re.escape(part) for part in want.split("…"))
        assert any(re.fullmatch(pattern, line) for line in lines), f"{where}: no {want!r} in\n{printed}"


def holds(whole, part):
    """Return whether the parsed document `whole` contains everything that `part` contains."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and holds(whole[name], part[name]) for name in part)
    return whole == part


class Reader:
    """A reader who carries out the guide in an empty folder."""

    def __init__(self, environment, wheels, build, program, folder: Path) -> None:
        self.environment, self.wheels, self.build, self.program = environment, wheels, build, program
        self.folder = folder
        self.written: list[str] = []
        self.words: list[str] = []  # the words of all commands
        self._edited: dict[str, bool] = {}  # editable projects: whether a file changed since the last installation
        self._steps: list[tuple[list[str], list[str], str]] = []

    def read(self, texts: dict[str, str]) -> None:
        """Carry out the pages, given as text by file name."""
        for page, text in texts.items():
            for block in blocks(page, text):
                self._do(block)
        self._finish()

    def _do(self, block: Block) -> None:
        where = f"docs/authors/{block.page}:{block.line}"
        if place := re.fullmatch(r"# ([\w./-]+\.\w+)(, in part)?", block.lines[0]):
            self._finish()
            assert place[1].endswith(ENDINGS.get(block.language, "?")), where
            (self._compare if place[2] else self._write)(self.folder / place[1], block)
        elif block.language == "python":
            self._steps.append((["python", "\n" * (block.line - 1) + block.text, where], [], where))
            name = f"{block.page.removesuffix('.md')}_line_{block.line}.py"
            self._write(self.folder / name, block)  # so that its style is checked
        elif block.language == "console":
            for command, wanted in commands(block):
                self._run(command, wanted, f"{where}: {command}")
        else:
            pytest.fail(f"{where}: the test does nothing with this block")

    def _write(self, path: Path, block: Block) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf8")
        name = str(path.relative_to(self.folder))
        self.written.append(name)
        self._edited |= {project: True for project in self._edited if name.startswith(f"{project}/")}

    def _compare(self, path: Path, block: Block) -> None:
        """Check that the existing file contains these lines, or these parts of its tables."""
        whole, part = path.read_text("utf8"), "".join(f"{line}\n" for line in block.lines[1:])
        if block.language == "python":
            assert part in whole, f"{path} has no\n{part}"
        else:
            load = {"toml": tomllib.loads, "yaml": yaml.safe_load}[block.language]
            assert holds(load(whole), load(part)), f"{path} has no\n{part}"

    def _run(self, command: str, wanted: list[str], where: str) -> None:
        words = shlex.split(command)
        self.words += words
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
            case ["pip", "install", "-e", target]:
                project, _, extra = target.removeprefix("./").removesuffix("]").partition("[")
                metadata = tomllib.loads((self.folder / project / "pyproject.toml").read_text("utf8"))["project"]
                assert not extra or extra in metadata["optional-dependencies"], where
                self._edited[project] = True
            case ["pip", "install", *names]:
                wheels = {Path(folder).name: wheel for folder, wheel in self.wheels.items()}
                self.environment.install(*(wheels[name.replace("-", "_")] for name in names))
            case ["python", "-m", "build", project]:
                dist = self.folder / project / "dist"
                dist.mkdir()
                for kind in ("sdist", "wheel"):
                    shutil.copy(self.build(self.folder / project, kind), dist)
            case _:
                pytest.fail(f"{where}: the test does not know this command")
        assert not wanted, f"{where}: the test does not compare the output of this command"

    def _finish(self) -> None:
        """Run the collected steps with the projects as they are now."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        for project in (name for name, edited in self._edited.items() if edited):
            wheel = self.build(self.folder / project)
            self.environment.pip("install", "--no-deps", "--no-index", "--force-reinstall", wheel)
            self._edited[project] = False
        request = json.dumps([words for words, _, _ in steps])
        done = self.environment.run("python", "-c", SESSION, request, cwd=self.folder)
        for (_, wanted, where), (code, printed) in zip(steps, json.loads(done.stdout.splitlines()[-1])):
            assert code == 0, f"{where}: exit code {code}\n{printed}"
            check_printed(wanted, printed, where)


def test_every_block_works(environment, wheels, build, program, tmp_path):
    reader = Reader(environment, wheels, build, program, tmp_path / "reader")
    reader.folder.mkdir()
    reader.read(pages())

    assert [path for path in reader.written if path.endswith((".toml", ".yaml")) and path not in reader.words] == []
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
def test_a_block_that_cannot_be_carried_out_is_an_error(tmp_path, text):
    (tmp_path / "there.py").write_text("x = 1\n", "utf8")
    reader = Reader(None, {}, None, None, tmp_path)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        reader.read({"page.md": text})


def test_the_tables_are_complete():
    """The guide lists every role with its arguments, every check of the kit and every name of the kit."""
    text = "".join(pages().values())
    for role, takes in operation.ARGUMENTS.items():
        (row,) = re.findall(rf"^\| [\w-]+, {role} \| `\(([\w, ]+)\)`", text, flags=re.MULTILINE)
        assert tuple(row.split(", ")) == takes
    suite: Any = testing.OperationSuite
    assert re.findall(r"^\| `(test_\w+)`", text, flags=re.MULTILINE) == [
        n for n in vars(suite) if n.startswith("test_")
    ]
    assert [name for name in testing.__all__ if not re.search(rf"\b{name}\b", text)] == []
