"""Options: every wrong value gets one error with the place, what was expected, what was got and the nearest name."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

from boat_core import OptionError, option
from boat_core.declare.options import describe_options, read_options


@dataclass(frozen=True)
class Sample:
    rate: float = option(gt=0, doc="a step size")
    count: int = option(3, ge=1, le=10, doc="how many")
    mode: str = option("fast", choices=("fast", "slow"), doc="which way")
    size: float | None = option(None, gt=0, doc="optional")
    flag: bool = option(False, doc="a switch")


def test_values_are_read_and_converted():
    read = read_options(Sample, {"rate": 1, "size": "1e-3"}, "here")
    assert read == Sample(rate=1.0, size=1e-3)
    assert isinstance(read.rate, float)


def test_numbers_of_numpy_are_read_as_python_numbers():
    values = {"rate": np.float32(0.5), "count": np.int64(3), "size": np.int8(2), "flag": np.bool_(True)}
    read = read_options(Sample, values, "here")
    assert read == Sample(rate=0.5, count=3, size=2.0, flag=True)
    assert [type(value) for value in (read.rate, read.count, read.size, read.flag)] == [float, int, float, bool]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "here: option 'rate' is required (a step size)"),
        ({"rat": 1}, "here.rat: unknown option; did you mean 'rate'?"),
        ({"rate": 0}, "here.rate: expected a number > 0 (got 0.0)"),
        ({"rate": "fast"}, "here.rate: expected a number > 0 (got 'fast' of type str)"),
        ({"rate": float("nan")}, "here.rate: expected a number > 0 (got nan)"),
        ({"rate": True}, "here.rate: expected a number > 0 (got True of type bool)"),
        ({"rate": 1, "count": 11}, "here.count: expected an integer >= 1 and <= 10 (got 11)"),
        ({"rate": 1, "count": 2.5}, "here.count: expected an integer >= 1 and <= 10 (got 2.5 of type float)"),
        ({"rate": 1, "mode": "fasst"}, "here.mode: expected one of 'fast', 'slow' (got 'fasst'); did you mean 'fast'?"),
        (
            {"rate": 1, "count": np.float32(2)},
            "here.count: expected an integer >= 1 and <= 10 (got 2.0 of type float32)",
        ),
        ({"rate": np.bool_(True)}, "here.rate: expected a number > 0 (got True of type bool)"),
        ({"rate": "1_000"}, "here.rate: expected a number > 0 (got '1_000' of type str)"),
        ({"rate": 1, "flag": 1}, "here.flag: expected true or false (got 1 of type int)"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        read_options(Sample, values, "here")


def test_description():
    rows = describe_options(Sample)
    assert rows[0] == {"name": "rate", "takes": "a number > 0", "required": True, "doc": "a step size"}
    assert rows[1] == {"name": "count", "takes": "an integer >= 1 and <= 10", "default": 3, "doc": "how many"}
