"""Configurations: what is read, and where each error says it stands."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import yaml

from boat_core import ConfigError, Job, read_config
from boat_core.config.schema import as_yaml

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
SECTIONS = {
    "solver": {"first_order": "BOTH", "lower_steps": 1, "lower_optimizer": "sgd", "upper_optimizer": "sgd"},
    "run": {"steps": 1},
}


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


#: Scalars, and what each is in the core schema of YAML 1.2. YAML 1.1 reads half of them as something else.
SCALARS = {
    "0123": 123,
    "010": 10,
    "-08": -8,
    "+12": 12,
    "0o17": 15,
    "0x1F": 31,
    "0b11": "0b11",
    "1_000": "1_000",
    "1:30": "1:30",
    "1:30.5": "1:30.5",
    "1e3": 1000.0,
    "1e-1": 0.1,
    "1E+2": 100.0,
    ".5": 0.5,
    "5.": 5.0,
    ".inf": float("inf"),
    "-.INF": float("-inf"),
    "inf": "inf",
    "true": True,
    "FALSE": False,
    "yes": "yes",
    "NO": "NO",
    "on": "on",
    "off": "off",
    "y": "y",
    "~": None,
    "Null": None,
    "": None,
    "none": "none",
    "2026-11-28": "2026-11-28",
    "2026-11-28T10:00:00Z": "2026-11-28T10:00:00Z",
    "=": "=",
    "<<": "<<",
    "1.2.3": "1.2.3",
    "١٢": "١٢",
    "'0123'": "0123",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_are_those_of_yaml_1_2(write, text, value):
    config = read_config(write(GOOD.replace("{size: 3}", f"{{size: {text}}}")), [f"problem_options.set={text}"])
    read = config.problem_options["size"]
    assert (type(read), read) == (type(value), value)
    assert config.problem_options["set"] == value


def test_words_that_yaml_1_1_reads_as_booleans_and_dates(write):
    options = "second_order_guard: off\n  options: {NO: {a: 1}}\n  map: [NO, y]"
    config = read_config(write(GOOD.replace("map: [STEP, SUM]", options) + "  out: 2026-11-28\n"))
    assert (config.solver.second_order_guard, config.solver.map) == ("off", ("NO", "y"))
    assert (config.solver.options, config.run.out) == ({"NO": {"a": 1}}, "2026-11-28")


@pytest.mark.parametrize("number", ["1_000", "infinity", "1:30", "٣"])
def test_what_only_python_or_yaml_1_1_reads_as_a_number_is_none(write, toys, number):
    path = write(GOOD.replace("1e-1", number))
    expected = f"config.yaml:7: solver.lower_optimizer.rate: expected a number > 0 (got {number!r} of type str)"
    assert message(path, then=lambda config: Job(config, toys)) == expected


def test_what_a_run_writes_is_read_again(write):
    """Every text and number survives, whichever version of YAML would read it as something else."""
    characters = "019oxeE.+-_:~#'\"\\/%@&*!|>?,[]{}= \n\t\r\x07\x85\u2028\ufeff\U0001f600éNnyt"
    draw = random.Random(0)
    texts = [text for text, value in SCALARS.items()] + [
        "null",
        "a: b",
        "- a",
        "---",
        "...",
        " a ",
        "a\n\n b",
        "x" * 300,
    ]
    texts += ["".join(draw.choices(characters, k=draw.randint(1, 9))) for _ in range(1000)]
    numbers = [0, -7, 2**70, 0.1, 1e22, 1e-7, -0.0, 5e-324, float("inf"), float("-inf")]
    values = {"texts": texts, "numbers": numbers, "words": [True, None], "keys": {text: text for text in texts}}
    config = read_config(write(GOOD))
    config = replace(config, problem_options=values, problem="off")
    again = read_config(write(as_yaml(config), "again.yaml"))
    assert again.problem_options == values
    assert list(map(type, again.problem_options["numbers"])) == list(map(type, numbers))
    assert again.as_dict() == config.as_dict()


def test_json_is_read_as_json(write):
    values = {"size": ["0123", "off", "2026-11-28", "\U0001f600", "a/b\n", 1e3, 1e-7, -3, True, None, {"NO": "1:30"}]}
    for ascii_only in (True, False):
        text = json.dumps({"problem": "m:f", "problem_options": values, **SECTIONS}, ensure_ascii=ascii_only)
        assert read_config(write(text, "c.json")).problem_options == values


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
        ("problem: !!timestamp 2020-12-01", "config.yaml:1: problem: the tag !!timestamp would construct an object"),
        ("problem: !!bool maybe", "config.yaml:1: problem: 'maybe' cannot be read: it is not of the type !!bool"),
        ('problem: "\\ud800"', "config.yaml:1: problem: '\\ud800' cannot be read"),
        ('"\\ud800": 1', "config.yaml:1: the key '\\ud800' cannot be read"),
        ("run: {steps: " + "9" * 5000 + "}", "config.yaml:1: run.steps: '999"),
        ("run: {steps: 0x" + "F" * 5000 + "}", "config.yaml:1: run.steps: '0xFFF"),
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
        ("steps: 4", f"steps: {10**400}", "config.yaml:6: solver.lower_steps: expected an integer >= 1 (got 10000"),
        ("steps: 4", f"steps: 4\n  memory: {10**400}", "config.yaml:7: solver.memory: expected an integer or a string"),
        ("steps: 4", f"steps: 4\n  memory: {10**400} GB", "config.yaml:7: solver.memory: expected a size such as"),
        ("steps: 4", f"steps: {'a b' * 2000}", "config.yaml:6: solver.lower_steps: expected an integer >= 1 (got 'a b"),
        ("run:\n  steps: 5", "run: 5", "config.yaml:9: run: expected a mapping (got 5)"),
        ("  steps: 5\n", "  steps: 5\n  seed: -1\n", "config.yaml:11: run.seed: expected an integer >= 0 (got -1)"),
    ],
)
def test_a_key_that_does_not_fit_is_named_with_its_line(write, old, new, expected):
    text = message(write(GOOD.replace(old, new, 1)))
    assert text.startswith(expected)
    assert len(text) < 500


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
