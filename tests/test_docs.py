"""The code, names and figures that docs/ shows are right."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import boat_core
from boat_core.cli import main
from boat_core.plugins.discovery import installed
from boat_core.plugins.known_packs import published_operations
from boat_core.testing import KernelClaim, check_solver

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("extras/*/README.md")])
LOWER_STEPS = 8
PROBLEM = """
import numpy as np
import boat_core as boat

def problem(seed):
    square = lambda x, y, batch: ((y - x) ** 2).sum()
    return boat.Problem(square, square, np.zeros(3), np.zeros(3))
"""
CONFIG = """
problem: here:problem
solver: {method: RHG, lower_steps: 2, lower_optimizer: {name: sgd, rate: 0.1}, upper_optimizer: {name: sgd, rate: 0.1}}
run: {steps: 9}
"""


def text(name):
    return (DOCS / name).read_text("utf8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), flags=re.MULTILINE | re.DOTALL)


def rows(page, columns):
    """Return the rows of the tables with these columns, each as a list of cells."""
    tables = re.findall(rf"^\| {re.escape(columns)} \|\n\|[-:|]+\|\n((?:\|.*\n)+)", text(page), flags=re.MULTILINE)
    assert tables, columns
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# Links, and the picture


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def test_every_page_is_in_the_contents():
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", text("index.md"))}
    pages = {page.resolve() for page in DOCS.glob("*.md")} - {(DOCS / "index.md").resolve()}
    assert pages - linked == set()


def test_the_picture_is_what_its_script_draws():
    pipeline = _module(DOCS / "pipeline.py")
    assert text("pipeline.svg") == pipeline.picture(), "run `make docs`"
    stages = {entry.name: entry.operation.stage for entry in installed().operations()}
    assert all(stages[name] == stage for stage, names in pipeline.OPERATIONS.items() for name in names)


# Architecture


def test_the_architecture_has_every_room_of_the_core():
    core = Path(boat_core.__file__).parent
    rooms = {path.name for path in core.iterdir() if (path / "__init__.py").exists()}
    cells = " ".join(cells[0] for cells in rows("architecture.md", "room | what it does | imports"))
    assert set(re.findall(r"`(\w+)/`", cells)) == rooms


def test_the_architecture_names_files_that_exist():
    core = Path(boat_core.__file__).parent
    named = set(re.findall(r"`(\w+/\w+\.py)`", text("architecture.md")))
    assert named
    assert [name for name in named if not (core / name).exists()] == []


# How to choose

CHOICES = "operation | take it if | gradients | HVPs | it assumes | set first"
#: Options whose default depends on T, so that a cost names them.
OPTIONS = {"RGT": {"last_steps": 3}, "VSO": {"z_steps": 5}}


def choices():
    return {cells[0]: cells for cells in rows("how-to-choose.md", CHOICES)}


def test_how_to_choose_has_every_operation_once():
    names = [cells[0] for cells in rows("how-to-choose.md", CHOICES)]
    assert sorted(names) == sorted(entry.name for entry in installed().operations())


@pytest.mark.parametrize("name", choices())
def test_how_to_choose_states_the_declared_cost(name):
    operation = installed().find(name).operation
    options = {name: OPTIONS.get(name, {})}
    if operation.stage == "first-order":
        composition = boat_core.compose(first_order=name, options=options)
    else:
        chain = {operation.stage: [name, "IAD"] if name == "FOA" else [name]}
        composition = boat_core.compose(**chain, options=options)
    steps = 1 if name == "DM" else LOWER_STEPS
    values = {**vars(composition.options[name]), "T": steps}
    stated = [_value(formula, values) for formula in choices()[name][2:4]]
    cost = composition.cost(steps)
    assert stated == [cost.gradients, cost.hvps]


def _value(formula, values):
    """The value of a sum of products such as `T + 2 samples T`."""
    total = 0
    for term in formula.split(" + "):
        product = 1
        for factor in re.findall(r"\d+|[A-Za-z_]+", term):
            product *= int(factor) if factor.isdigit() else values[factor]
        total += product
    return total


def test_how_to_choose_names_options_that_exist():
    solver = {"lower_steps", "lower_optimizer", "segment", "start"}
    for name, cells in choices().items():
        options = set(re.findall(r"`(\w+)`", "".join(cells[4:])))
        known = set(getattr(installed().find(name).operation.options, "__dataclass_fields__", {}))
        assert options <= known | solver, name


def test_how_to_choose_cites_what_was_measured():
    measured = text("solvers.md").splitlines()
    tables = re.findall(r"^\| solver .*\n\|[-:|]+\|\n((?:\|.*\n)+)", text("how-to-choose.md"), flags=re.MULTILINE)
    assert len(tables) == 2
    assert [line for table in tables for line in table.splitlines() if line not in measured] == []


def test_how_to_choose_names_methods_that_exist():
    names = set(re.findall(r"(?:`|^  )method: ([\w-]+)", text("how-to-choose.md"), flags=re.MULTILINE))
    assert names
    assert names <= set(installed().aliases())


@pytest.mark.parametrize("block", blocks("how-to-choose.md", "yaml"))
def test_how_to_choose_shows_valid_configurations(block, tmp_path, capsys):
    (tmp_path / "here.py").write_text(PROBLEM, "utf8")
    config = {"problem": "here:problem", **yaml.safe_load(block), "run": {"steps": 1}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), "utf8")
    assert main(["explain", str(tmp_path / "config.yaml")]) == 0, capsys.readouterr().err


# Examples


@pytest.mark.parametrize("page", ["differentiation.md", "running.md"])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    (tmp_path / "here.py").write_text(PROBLEM, "utf8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf8")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    for result in (names.get("value"), names.get("gradient"), getattr(names.get("step"), "upper_loss", None)):
        assert result is None or np.isfinite(np.asarray(result)).all()


# Kernels


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_the_kernel_of_the_page_on_kernels_works(tmp_path, dtype, tolerance):
    (python,), (cuda,) = blocks("kernels.md", "python"), blocks("kernels.md", "cpp")
    (tmp_path / "shrink.py").write_text(python, "utf8")
    (tmp_path / "shrink.cu").write_text(cuda, "utf8")
    shrink = _module(tmp_path / "shrink.py").shrink
    conformance = importlib.import_module(check_solver.__module__)  # the kit registers it with pytest first
    conformance.check_kernel(shrink, KernelClaim(numbers=(0.5,)), dtype, tolerance)


def test_the_page_on_kernels_lists_all_kernels_of_the_published_packs():
    published = {name for names in published_operations().values() for name in names}
    kernels = {k.name for e in installed().entries if e.name in published for k in e.operation.kernels}
    table = "".join(re.findall(r"^\| boat-ops.*", text("kernels.md"), flags=re.MULTILINE))
    assert kernels == set(re.findall(r"`(\w+)`", table))


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
