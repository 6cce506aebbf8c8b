"""Every mutation of a shipped configuration is a valid one, or refused by one error that has a place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from boat_core import ConfigError, Job, read_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path for folder in (ROOT, ROOT / "plugins_example") for path in folder.glob("examples/*.yaml"))

VALUES = (
    *("", "~", "null", "true", "off", "NO", "0", "-1", "1.5", "1e400", "-1e-400", ".nan", ".inf", "0123", "0x1F"),
    *("0o17", "1:30", "1_000", "2026-11-28", "1e" + "9" * 300, "1 KiB", "9e999 GB", "9" * 400 + " GB"),
    *("9" * 400, "9" * 5000, "0x" + "F" * 5000, "x" * 5000, "'a b" + "c d" * 2000 + "'", "[" + "ab, " * 2000 + "]"),
    *("[]", "{}", "[1, 2]", "{a: 1}", "[[[[1]]]]", "[{}]", "{name: 3}", "[null]", "{1: 2, [a]: b}"),
    *(
        "{name: sgd, rate: {schedule: x}}",
        "{name: sgd, rate: {upper: x, through: []}}",
        "{name: sgd, rate: {upper: []}}",
    ),
    *(
        "!!python/object:os.abort {}",
        "!!set {a}",
        "!!binary aGk=",
        "!!float many",
        "!x y",
        "&a x",
        "*a",
        "<<",
        "=",
        "'",
    ),
    *(
        '"\\0"',
        '"\\ud800"',
        '"\\U0001F600"',
        "|\n  text",
        ">-",
        "- x",
        "? x",
        "%YAML 1.1",
        "---",
        "...",
        "\t",
        "#",
        "@",
    ),
    *("sgd", "RAD", "boat-ops-na:RAD", "a:b", ":", "a:b:c", "../..", "/", "é∇", "\u2028", "\x85", "\x07", "`"),
)


def mutated(text: str, draw: random.Random) -> str:
    """Return the text with one to three changes."""
    for _ in range(draw.randint(1, 3)):
        lines = text.split("\n")
        place = draw.randrange(len(lines))
        line = lines[place]
        change = draw.choice((0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 7))  # most often another value
        if change == 0:
            del lines[place]
        elif change == 1:
            lines.insert(draw.randrange(len(lines) + 1), line)
        elif change == 2:
            lines[place] = " " * draw.randint(0, 3) + line
        elif change == 3 and ":" in line:
            lines[place] = f"{line.partition(':')[0]}: {draw.choice(VALUES)}"
        elif change == 4 and ":" in line:
            other = draw.choice(lines).partition(":")
            lines[place] = other[0] + ":" + line.partition(":")[2]
        elif change == 5 and line:
            at = draw.randrange(len(line))
            lines[place] = line[:at] + line[at + draw.randint(1, 3) :]
        elif change == 6:
            at = draw.randint(0, len(line))
            lines[place] = line[:at] + draw.choice(",:[]{}'\"#&*!|>%@-?01.e~ \t\0\\") + line[at:]
        else:
            words = line.split(" ")
            words[draw.randrange(len(words))] = draw.choice(VALUES)
            lines[place] = " ".join(words)
        text = "\n".join(lines)
    return text


def try_mutations(folder: Path, number: int, seed: int) -> tuple[int, int]:
    """Read so many mutations; return how many were valid and how many refused."""
    draw = random.Random(seed)
    path, valid = folder / "config.yaml", 0
    for _ in range(number):
        text, overrides = draw.choice(CONFIGS).read_text("utf-8"), []
        if draw.random() < 0.3:
            overrides = [f"{draw.choice(KEYS)}={draw.choice(VALUES)}"]
        else:
            text = mutated(text, draw)
        path.write_text(text, "utf-8", newline="")
        try:
            Job(read_config(path, overrides))
            valid += 1
        except ConfigError as error:
            message = str(error)
            if not message.startswith((f"{path}:", "--set ")) or len(message) > 1000 + len(str(path)):
                pytest.fail(f"{len(message)} characters: {message[:1000]}")
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} from {overrides} and\n{text[:3000]}")
    return valid, number - valid


KEYS = (
    *(
        "problem",
        "problem_options",
        "problem_path",
        "solver",
        "run",
        "solver.map",
        "solver.approximate",
        "solver.method",
    ),
    *("solver.first_order", "solver.options", "solver.options.CG", "solver.options.RAD.x", "solver.lower_optimizer"),
    *("solver.upper_optimizer", "solver.lower_optimizer.rate", "solver.segment", "solver.memory", "solver.lower_steps"),
    *("solver.strict", "run.seed", "run.out", "run.observers", "run.executor", "run.steps", "", "a..b", "run.steps.x"),
)


def test_mutated_configurations(tmp_path):
    valid, refused = try_mutations(tmp_path, 200, seed=1)
    assert valid > 10 and refused > 50


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_mutated_configurations(tmp_path, seed):
    valid, refused = try_mutations(tmp_path, 1000, seed)
    assert valid > 50 and refused > 250
