"""Configurations: what is read, and where each error says it stands."""

from __future__ import annotations

import json

import pytest
import yaml

from boat_core import ConfigError, Job, read_config

GOOD = """\
problem: module:make
problem_options: {size: 3}
solver:
  map: [STEP, SUM]
  approximate: ALL
  lower_steps: 4
  lower_optimizer: {name: sgd, rate: 1e-1}
  upper_optimizer: adam
run:
  steps: 5
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.yaml"):
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path / name

    return write


def message(path, overrides=(), then=lambda config: None):
    with pytest.raises(ConfigError) as caught:
        then(read_config(path, overrides))
    return str(caught.value).replace(f"{path.parent}/", "")


def test_what_is_read(write):
    config = read_config(write(GOOD))
    assert config.solver.optimizer_parts("lower") == [("solver.lower_optimizer", "sgd", {"rate": 0.1})]
    assert config.solver.optimizer_parts("upper") == [("solver.upper_optimizer", "adam", {})]
    assert config.solver.chains()["approximate"] == ["ALL"]
    assert (config.run.steps, config.run.seed, config.solver.start) == (5, 0, None)
    assert config.run.out.startswith("runs/config-")


def test_json_has_the_same_keys(write):
    values = json.dumps(yaml.safe_load(GOOD.replace("1e-1", "0.1")), indent="\t")
    assert read_config(write(values, "c.json")).solver == read_config(write(GOOD)).solver


def test_the_resolved_configuration_is_one_of_the_same_run(write, tmp_path):
    config = read_config(write(GOOD))
    (tmp_path / "elsewhere").mkdir()
    again = read_config(write(yaml.safe_dump(config.as_dict()), "elsewhere/config.yaml"))
    assert again.as_dict() == config.as_dict()
    assert again.module_folder == tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("problem: [", "config.yaml:1: not YAML: "),
        ("run:\n\tsteps: 3", "config.yaml:2: not YAML: "),
        ("problem: a\x00", "config.yaml:1: not YAML: the character #x0000"),
        ("- problem", "config.yaml:1: expected a mapping with the keys problem, solver and run (got a list)"),
        ("", "config.yaml:1: expected a mapping with the keys problem, solver and run (got an empty file)"),
        ("[" * 200, "config.yaml:1: nested too deeply"),
        (
            "run: {steps: 1}\nproblem: !!python/object/apply:os.abort []",
            "config.yaml:2: problem: the tag !!python/object",
        ),
        ("problem: !env HOME", "config.yaml:1: problem: the tag !env would construct an object"),
        ("problem: &a x\nrun: *a", "config.yaml:2: aliases (*name) are not part of a configuration"),
        ("run:\n  steps: 1\n  steps: 2", "config.yaml:3: run.steps: the key is given twice (first at "),
        ("problem: 2020-13-01", "config.yaml:1: problem: '2020-13-01' cannot be read"),
    ],
)
def test_text_that_is_no_configuration(write, text, expected):
    assert message(write(text)).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("problem:", "problm:", "config.yaml:1: problm: unknown key; did you mean 'problem'?"),
        ("lower_steps:", "lower_stps:", "config.yaml:6: solver.lower_stps: unknown key; did you mean 'lower_steps'?"),
        ("steps: 4", "steps: many", "config.yaml:6: solver.lower_steps: expected an integer >= 1 (got 'many'"),
        ("steps: 4", "steps: 0", "config.yaml:6: solver.lower_steps: expected an integer >= 1 (got 0)"),
        ("steps: 4", "steps: true", "config.yaml:6: solver.lower_steps: expected an integer >= 1 (got True"),
        ("  lower_steps: 4\n", "", "config.yaml:3: solver.lower_steps: required and missing"),
        (
            "steps: 4",
            "steps: 4\n  start: hot",
            "config.yaml:7: solver.start: expected one of 'warm', 'cold', 'upper' (got",
        ),
        (
            "steps: 4",
            "steps: 4\n  segment: al",
            "config.yaml:7: solver.segment: expected an integer >= 1 or one of auto, all, sqrt (got 'al')",
        ),
        ("map: [STEP, SUM]", "map: [STEP, 3]", "config.yaml:4: solver.map: expected names of operations (got 3)"),
        ("{name: sgd, rate: 1e-1}", "{rate: 1}", "config.yaml:7: solver.lower_optimizer: expected a name"),
        ("run:\n  steps: 5", "run: 5", "config.yaml:9: run: expected a mapping (got 5)"),
        ("  steps: 5\n", "  steps: 5\n  seed: -1\n", "config.yaml:11: run.seed: expected an integer >= 0 (got -1)"),
    ],
)
def test_a_key_that_does_not_fit_is_named_with_its_line(write, old, new, expected):
    assert message(write(GOOD.replace(old, new, 1))).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("SUM]", "SUMM]", "config.yaml:4: solver.map: no operation 'SUMM'; did you mean 'SUM'?"),
        (
            "SUM]",
            "NGD]",
            "config.yaml:4: solver.map: operation 'NGD' is in boat-ops-gm, which is not installed; pip install",
        ),
        (
            "ALL",
            "[HALF, NONE]",
            "config.yaml:5: solver.approximate: HALF cannot go with NONE: only the end point is read",
        ),
        ("ALL", "[ALL, ALL]", "config.yaml:5: solver.approximate: ALL is listed twice"),
        ("ALL", "ALL\n  options: {ALL: {a: 1}}", "config.yaml:6: solver.options.ALL.a: unknown option; it has none"),
        (
            "ALL",
            "ALL\n  options:\n    NONE: {}",
            "config.yaml:7: solver.options.NONE: 'NONE' is no operation of this solver",
        ),
        ("ALL", "ALL\n  first_order: BOTH", "first_order is a whole solver: leave out map and approximate"),
    ],
)
def test_a_composition_that_is_refused(write, toys, old, new, expected):
    path = write(GOOD.replace(old, new, 1))
    assert expected in message(path, then=lambda config: Job(config, toys))


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sdg", "config.yaml:7: solver.lower_optimizer: no optimizer 'sdg'; did you mean 'sgd'?"),
        ("sgd", "config.yaml:7: solver.lower_optimizer: option 'rate' is required"),
        ("{name: sgd, rat: 1}", "config.yaml:7: solver.lower_optimizer.rat: unknown option; did you mean 'rate'?"),
        ("{name: sgd, rate: 0}", "config.yaml:7: solver.lower_optimizer.rate: expected a number > 0 (got 0.0)"),
    ],
)
def test_an_optimizer_that_does_not_fit(write, toys, optimizer, expected):
    path = write(GOOD.replace("{name: sgd, rate: 1e-1}", optimizer))
    assert message(path, then=lambda config: Job(config, toys)).startswith(expected)


def test_overrides(write):
    config = read_config(
        write(GOOD), ["run.steps=9", "solver.map=[STEP]", "solver.approximate=null", "problem_options.a.b=x"]
    )
    assert (config.run.steps, config.solver.map, config.solver.approximate) == (9, ("STEP",), None)
    assert config.problem_options == {"size": 3, "a": {"b": "x"}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("run.steps=0", "--set run.steps: expected an integer >= 1 (got 0)"),
        ("run.stpes=3", "--set run.stpes: unknown key; did you mean 'steps'?"),
        ("run.steps", "--set run.steps: expected KEY=VALUE"),
        ("problem.name=x", "--set problem.name: problem is not a mapping"),
        ("solver.map=[a", "--set solver.map: not YAML: "),
        ("problem=!!python/name:os.abort x", "--set problem: the tag !!python/name:os.abort would construct an object"),
    ],
)
def test_an_override_that_does_not_fit(write, override, expected):
    assert message(write(GOOD), [override]).startswith(expected)


PROBLEM = """\
import boat_core
def make(seed, size=2):
    if size > 9:
        raise OverflowError("too large")
    return boat_core.Problem(abs, abs, 0.0, 0.0, name=f"{seed} {size}")
def number(seed):
    return 3
"""


def test_the_problem_is_found_beside_the_configuration(write, toys):
    write(PROBLEM, "module.py")
    assert Job(read_config(write(GOOD)), toys).problem.name == "0 3"


def test_two_folders_may_hold_modules_of_one_name(write, toys, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(PROBLEM.replace("{size}", folder), f"{folder}/module.py")
        assert Job(read_config(write(GOOD, f"{folder}/config.yaml")), toys).problem.name == f"0 {folder}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("problem=modul:make", "--set problem: no module 'modul' in "),
        ("problem=module:mak", "did you mean 'make'?"),
        ("problem=module:number", "config.yaml:2: problem_options.size: no option of module:number; it has none"),
        ("problem_options.sise=1", "--set problem_options.sise: no option of module:make; did you mean 'size'?"),
        ("problem_options.size=10", "could not be built: OverflowError: too large ("),
    ],
)
def test_a_problem_that_cannot_be_built(write, toys, override, expected):
    write(PROBLEM, "module.py")
    assert expected in message(write(GOOD), [override], lambda config: Job(config, toys).problem)


def test_a_function_that_returns_no_problem(write, toys):
    write(PROBLEM, "module.py")
    path = write(GOOD.replace("make", "number").replace("problem_options: {size: 3}\n", ""))
    expected = "config.yaml:1: problem: module:number must return a boat_core.Problem (got 3)"
    assert message(path, then=lambda config: Job(config, toys).problem) == expected
