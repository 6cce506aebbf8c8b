"""Fresh environments in which our wheels, and those of others, are really installed.

Third-party packages are borrowed from the environment that runs the tests: nothing is downloaded, and Jittor, found
where it always is, is not compiled once more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = (
    "boat_core",
    "boat_ops_gm",
    "boat_ops_na",
    "boat_ops_fo",
    "extras/boat_view",
    "extras/boat_author",
    "extras/boat_compat",
    "extras/boat_ray",
    "plugins_example",
)

#: A problem whose lower solution is x: y descends to it, and x to 1.
PROBLEM = """\
import boat_core as boat
import numpy as np


def problem(seed):
    def upper(x, y, batch):
        return ((y - 1) * (y - 1)).sum()

    def lower(x, y, batch):
        return ((y - x) * (y - x)).sum()

    return boat.Problem(upper, lower, np.zeros(3, "float32"), np.zeros(3, "float32"))


def network(seed):
    from boat_core.testing import network_problem

    return network_problem()
"""
CONFIG = """\
problem: toy:{problem}
solver:
  {solver}
  lower_steps: {lower_steps}
  lower_optimizer: {{name: sgd, rate: 0.1}}
  upper_optimizer: {{name: sgd, rate: 0.1}}
run: {{steps: {steps}, out: {name}}}
"""

_BORROW = """\
import sys
from importlib import machinery

ENTRY = "<borrowed>"
LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
)


class Finder:
    def __init__(self):
        self._files = machinery.FileFinder({packages!r}, *LOADERS)

    def find_spec(self, name, target=None):
        return None if name.startswith("boat_") else self._files.find_spec(name, target)

    def invalidate_caches(self):
        self._files.invalidate_caches()


def hook(entry):
    if entry != ENTRY:
        raise ImportError
    return Finder()


sys.path_hooks.append(hook)
sys.path += [ENTRY, {metadata!r}]
"""


class Environment:
    """A virtual environment that has everything of others and nothing of ours."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder, self.python = folder, str(folder / "bin" / "python")
        packages, metadata = Path(sysconfig.get_path("purelib")), folder / "metadata"
        metadata.mkdir()
        for found in packages.glob("*.dist-info"):
            if not found.name.startswith("boat"):
                (metadata / found.name).symlink_to(found)
        (own,) = folder.glob("lib/python3*/site-packages")
        (own / "borrow.py").write_text(_BORROW.format(packages=str(packages), metadata=str(metadata)), "utf8")
        (own / "borrow.pth").write_text("import borrow\n", "utf8")

    def pip(self, *arguments: object) -> None:
        """Run pip on this environment; nothing is looked up anywhere."""
        command = [sys.executable, "-m", "pip", "--python", self.python, "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def install(self, *wheels: Path) -> None:
        self.pip("install", "--no-deps", "--no-index", *wheels)

    def run(self, *arguments: object, code: int | None = 0, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """Run a program of this environment (`boat`, `python`) and check its exit code."""
        program, *rest = map(str, arguments)
        return run(self.folder / "bin" / program, *rest, code=code, cwd=cwd or self.folder)


def run(*arguments, code=0, cwd=None, **variables):
    """Run a program to its end, check its exit code, and return what it printed."""
    done = subprocess.run(
        [*map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
        timeout=300,
    )
    assert code in (None, done.returncode), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> Callable[..., Path]:
    """`build(project, kind)`: the wheel or sdist of a project."""

    def build(project: Path, kind: str = "wheel") -> Path:
        out = tmp_path_factory.mktemp("dist")
        run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", out, cwd=project)
        (made,) = out.iterdir()
        return made

    return build


@pytest.fixture(scope="session")
def wheels(build) -> dict[str, Path]:
    """Our wheels, by the folder of their project."""
    return {name: build(ROOT / name) for name in DISTRIBUTIONS}


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture
def configure() -> Callable[..., Path]:
    """`configure(folder, solver, name)`: write a configuration with the chain `solver`, whose run goes to `name`."""

    def configure(folder: Path, solver: str, name: str, problem="problem", lower_steps=2, steps=2) -> Path:
        (folder / "toy.py").write_text(PROBLEM, "utf8")
        path = folder / f"{name}.yaml"
        values = {"problem": problem, "solver": solver, "lower_steps": lower_steps, "steps": steps, "name": name}
        path.write_text(CONFIG.format(**values), "utf8")
        return path

    return configure


@pytest.fixture
def program():
    """`run`, for tests that start programs of their own."""
    return run


def wheel_of(
    folder: Path, name: str, files: dict[str, str], version: str = "1.0", requires: tuple[str, ...] = ()
) -> Path:
    """Write a wheel by hand, as a third party might: sound or not."""
    version = "1.0"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    files = {
        **files,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture
def install_by_hand(tmp_path):
    """`install_by_hand(name, files, …)`: unpack such a wheel into a folder of its own, as pip does; return that."""

    def install(name: str, files: dict[str, str], **more) -> Path:
        target = tmp_path / "installed" / name
        target.mkdir(parents=True)
        zipfile.ZipFile(wheel_of(tmp_path, name, files, **more)).extractall(target)
        return target

    return install
