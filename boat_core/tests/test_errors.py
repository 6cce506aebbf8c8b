"""Errors: their text is made of their arguments, and they survive pickling and copying."""

from __future__ import annotations

import copy
import pickle

import pytest

import boat_core as boat
from boat_core.errors import BoatError, ConfigError, OptionError
from boat_core.runtime import RuntimeSetupError


def subclasses(cls):
    return {cls}.union(*(subclasses(inner) for inner in cls.__subclasses__()))


class Refused(BoatError):
    """An error as a third party may write it: another signature, and a state of its own."""

    def __init__(self, *, reason, code):
        super().__init__(reason, where="here")
        self.code = code


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OptionError("text alone"), "text alone"),
        (OptionError(where="rate", expected="a number", got="'x'"), "rate: expected a number (got 'x')"),
        (
            OptionError("unknown option", where=("options", "CG", "tol"), hint="did you mean 'tolerance'?"),
            "options.CG.tol: unknown option; did you mean 'tolerance'?",
        ),
        (
            OptionError(where=("map", 1), expected="a name", got="3").within("solver"),
            "solver.map[1]: expected a name (got 3)",
        ),
        (ConfigError("bad", place="c.yaml:3", where=("run", "out")), "c.yaml:3: run.out: bad"),
        (ConfigError("bad", place="--set run.out", where=("run", "out")), "--set run.out: bad"),
    ],
)
def test_the_text_is_made_of_the_arguments(error, text):
    assert str(error) == text
    assert str(error.within()) == text


ERRORS = [cls for cls in vars(boat.errors).values() if isinstance(cls, type) and issubclass(cls, BoatError)]
PARTS = {"where": ("options", "CG", 0), "expected": "a number", "got": "'x'", "hint": "try 3"}


@pytest.mark.parametrize(
    "error",
    [
        *(cls("it does not fit", **PARTS) for cls in [*ERRORS, RuntimeSetupError]),
        ConfigError("it does not fit", place="config.yaml:7", **PARTS),
        Refused(reason="no", code=7),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_every_error_can_be_pickled_and_copied(error, duplicate):
    again = duplicate(error)
    assert (type(again), str(again), again.args, vars(again)) == (type(error), str(error), error.args, vars(error))


def test_every_error_of_the_core_is_pickled_here():
    assert {cls for cls in subclasses(BoatError) if cls.__module__ == "boat_core.errors"} == set(ERRORS)


LONG = "x" * 5000
VALUES = [repr(LONG), repr(LONG + " y's"), str([LONG, 3] * 9), "9" * 400, repr(["a b"] * 1000)]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "error",
    [
        lambda value: OptionError(where="rate", expected="a number", got=value, hint="remedy"),
        lambda value: OptionError(f"rate: expected a number (got {value}); remedy"),
        lambda value: OptionError(f"no schedule {value}", where=value, hint="remedy"),
        lambda value: ConfigError(f"{value} cannot be read", place=f"--set {value}", hint="remedy"),
        lambda value: OptionError(where="a", expected="a number", got=value, hint="remedy").within(LONG, "b"),
    ],
)
def test_a_long_value_is_shortened(error, value):
    text = str(error(value))
    assert len(text) < 900, text
    assert " characters ...]" in text
    assert text.endswith("remedy")


def test_long_sentences_and_paths_are_not_shortened():
    path = "/".join(["folder"] * 100)
    sentence = "the users' rule 'a' is one of 'b', and " * 20
    assert str(BoatError(f"{path} cannot be written: {sentence}")) == f"{path} cannot be written: {sentence}"
