"""Verbs that packs add to `boat`, and the functions behind them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import boat_core
from boat_core import CommandDeclaration, DeclarationError, RunError, cli, installed
from boat_core.plugins.discovery import installed_as


def command(name, run=lambda arguments: 0, configure=lambda parser: None, **more):
    return CommandDeclaration(name, "greet somebody", configure, run, **more)


@pytest.fixture
def boat(only_toys_installed, capsys):
    """Run the command. Returns exit code, stdout and stderr."""

    def boat(*arguments):
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return boat


@pytest.fixture
def declare(only_toys_installed):
    """`declare(command, distribution)`: let that distribution bring a command."""
    with ExitStack() as stack:

        def declare(declaration, distribution="greetings"):
            registry = installed().adding(declaration, distribution=distribution, version="1.0")
            stack.enter_context(installed_as(registry))

        yield declare


@pytest.mark.parametrize("name", ["greet", "ops greet", "people greet"])
def test_verb_of_a_pack_runs(boat, declare, name):
    def run(arguments):
        print(f"hello {arguments.whom}", arguments.json)
        return 1

    declare(command(name, run, lambda parser: parser.add_argument("whom", metavar="WHOM")))
    *group, verb = name.split()
    assert boat(*name.split(), "world", "--json") == (1, "hello world True\n", "")
    assert f"    {verb} " in boat(*group, "--help")[1]
    assert "Greet somebody.\n" in boat(*name.split(), "--help")[1]
    refusal = f"boat: error: the following arguments are required: WHOM (see boat {name} --help)\n"
    assert boat(*name.split()) == (2, "", refusal)
    assert boat("solvers")[0] == 0


@pytest.mark.parametrize(
    ("verb", "pack"),
    [("draw", "boat-view"), *((verb, "boat-author") for verb in ("ops new", "ops check", "init"))],
)
def test_absent_verb_is_answered_with_what_to_install(boat, verb, pack):
    expected = f"boat: error: command {verb!r} is in {pack}, which is not installed; pip install {pack}\n"
    assert boat(*verb.split(), "config.yaml") == (2, "", expected)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("run", "boat has a verb 'run' of its own"),
        ("ops", "boat has a verb 'ops' of its own"),
        ("ops list", "boat has a verb 'ops list' of its own"),
        ("run greet", "boat has a verb 'run' of its own"),
    ],
)
def test_verb_that_the_core_has_is_reported_and_not_used(boat, declare, name, reason):
    declare(command(name, lambda arguments: 7))
    what = f"its verb {name!r} is not used: {reason}"
    code, out, err = boat("ops", "list")
    assert (code, "BOTH" in out) == (0, True)
    assert err.startswith(f"boat: warning: greetings 1.0: {what}. ") and err.count("\n") == 1
    assert boat("run")[0] == 2
    code, out, _ = boat("ops", "doctor")
    assert code == 1 and what in out


def test_verb_of_two_packs_is_reported_and_not_used(boat, declare):
    for distribution in ("greetings", "salutes"):
        declare(command("greet", function=print), distribution)
    code, _, err = boat("greet")
    assert code == 2
    assert [line.split(": ")[2] for line in err.splitlines()[:2]] == ["greetings 1.0", "salutes 1.0"]
    assert err.splitlines()[2].startswith("boat: error: command 'greet' is declared by greetings 1.0 and salutes 1.0; ")
    assert boat("solvers")[0] == 0


def test_verb_and_group_of_one_name_are_reported_and_not_used(boat, declare):
    declare(command("greet"))
    declare(command("greet all"), "salutes")
    code, _, err = boat("solvers")
    assert (code, err.count("a verb of one pack and a group of verbs of another")) == (0, 2)


def failing(parser):
    raise KeyError("whom")


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (command("greet", configure=failing), "its arguments cannot be set up: KeyError: 'whom'"),
        (command("greet", configure=lambda parser: parser.add_argument("--json")), "its arguments cannot be set up: "),
        (command("greet", lambda arguments: None), "run must return an exit code (got None)"),
    ],
)
def test_broken_verb_fails_alone(boat, declare, declaration, message):
    declare(declaration)
    code, out, err = boat("greet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"boat: error: command greetings 1.0 (greet): {message}")
    assert boat("--help")[0] == boat("solvers")[0] == 0


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("two words more", {}, "name must be a verb, or a group and a verb"),
        ("greet", {"run": None}, "run must be callable"),
        ("greet", {"function": "greet"}, "function must be callable"),
    ],
)
def test_invalid_declaration_is_refused(name, more, message):
    with pytest.raises(DeclarationError, match=message):
        command(name, **more)


def test_draw_without_a_pack_says_what_to_install(only_toys_installed):
    with pytest.raises(RunError, match="command 'draw' is in boat-view, which is not installed; pip install boat-view"):
        boat_core.draw("graph", "a.svg")


def test_draw_needs_the_function_of_the_command(declare):
    declare(command("draw"))
    with pytest.raises(RunError, match="no installed pack provides the function of the command 'draw'"):
        boat_core.draw("graph", "a.svg")


def test_draw_calls_the_function_of_the_command(declare):
    calls = []
    declare(command("draw", function=lambda *arguments, **batches: calls.append((arguments, batches))), "pens")
    boat_core.draw("graph", "a.svg", upper_batch=3)
    assert calls == [(("graph", "a.svg"), {"lower_batch": None, "upper_batch": 3, "tasks": None})]
    declare(command("draw", function=print), "pencils")
    with pytest.raises(RunError, match=r"declared by pens 1\.0 and pencils 1\.0; uninstall one of them"):
        boat_core.draw("graph", "a.svg")
