"""Drawing a hypergradient: the file, its contents, refusals, and the command `boat draw`."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import matplotlib
import pytest

import boat_core as boat
from boat_core import cli
from boat_core.testing import network_problem
from boat_view.drawing.sheet import shortened, width_of, wrapped

STEPS = 5


def solver(**more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.adam(0.1))
    return boat.Solver(network_problem(), **(settings | more))


def graph(**more):
    one = solver(**more)
    return one.graph(*one.problem.batches(0, None))


def texts(path):
    """Return the texts in an SVG."""
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("steps", [1, STEPS, 1000])
def test_picture_shows_the_whole_graph(tmp_path, steps):
    # One iteration of CG does not solve its system, which is a concern.
    chain = dict(approximate="CG", options={"CG": {"max_iterations": 1}}) if steps == 1 else dict(approximate="RAD")
    drawn = graph(map="GDA", lower_steps=steps, **chain)
    path = boat.draw(drawn, tmp_path / "a.svg")
    shown = texts(path)
    for expected in ("GDA", "NGD", drawn.stages[-1].name, "boat-ops-gm 0.1.0", f"y_{steps}", f"F(x, y_{steps})"):
        assert expected in shown
    for leaf in (*drawn.upper, *drawn.lower):
        assert f"{leaf.path} {list(leaf.shape)} float64".strip() in shown
    for operator in drawn.operators:
        assert any(text.startswith(f"{operator.name} {list(operator.shapes[0])}") for text in shown)
    assert f"T = {steps}" in shown[1]
    assert bool(drawn.concerns) == (steps == 1)
    assert all(concern[:20] in " ".join(shown) for concern in drawn.concerns)
    first = path.read_bytes()
    assert boat.draw(drawn, path).read_bytes() == first


def test_picture_names_the_task(tmp_path):
    one = solver()
    drawn = one.graph(tasks={"a": one.problem.batches(0, None), "b": one.problem.batches(1, None)})
    assert "task a of 2" in texts(boat.draw(drawn, tmp_path / "a.svg"))[1]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_same_graph_gives_same_bytes_whatever_matplotlib_is_set_to(tmp_path, suffix):
    drawn = graph()
    first = boat.draw(drawn, tmp_path / f"a.{suffix}").read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "savefig.bbox": "tight", "lines.linewidth": 9}):
        assert boat.draw(drawn, tmp_path / f"b.{suffix}").read_bytes() == first


def test_text_is_measured():
    assert width_of("wide", 9, True) > width_of("wide", 9) > width_of("wide", 7) > 0
    assert wrapped("one two three", width_of("one two")) == ["one two", "three"]
    assert "".join(wrapped("x" * 99, 50)) == "x" * 99
    assert wrapped("", 50) == []
    assert shortened("a\nshort", 50) == "a short"
    assert shortened("x" * 99, 50).endswith("x…")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (
            "a.jpeg",
            boat.OptionError,
            r"a\.jpeg: expected a file name that ends in \.svg, \.png, \.pdf \(got '\.jpeg'\)",
        ),
        ("a.svgz", boat.OptionError, r"did you mean '\.svg'\?"),
        ("a", boat.OptionError, r"\(it has none\)"),
        ("none/a.svg", boat.RunError, r"no folder .*none"),
        ("folder.svg", boat.RunError, r"expected the name of a file \(it is a folder\)"),
    ],
)
def test_invalid_path_is_refused(tmp_path, path, error, message):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(error, match=message):
        boat.draw(solver(), tmp_path / path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


def test_invalid_arguments_are_refused(tmp_path):
    one = solver()
    lower, upper = one.problem.batches(0, None)
    with pytest.raises(boat.OptionError, match="expected a HypergradientGraph or a Solver"):
        boat.draw(one.problem, tmp_path / "a.svg")
    with pytest.raises(boat.OptionError, match="upper_batch: expected none beside a HypergradientGraph"):
        boat.draw(one.graph(lower, upper), tmp_path / "a.svg", upper_batch=upper)
    assert boat.draw(one, str(tmp_path / "a.svg"), lower_batch=lower, upper_batch=upper) == tmp_path / "a.svg"


def test_picture_is_whole_or_not_there(tmp_path, monkeypatch):
    path = boat.draw(graph(), tmp_path / "a.svg")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(boat.RunError, match=r"a\.svg cannot be written: No space left on device"):
        boat.draw(graph(lower_steps=2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


CONFIG = """\
problem: toy:make
solver: {lower_steps: 3, lower_optimizer: {name: sgd, rate: 0.1}, upper_optimizer: adam}
run: {steps: 2}
"""
MODULE = """\
def make(seed):
    from boat_core.testing import network_problem

    return network_problem()
"""


@pytest.fixture
def draw(monkeypatch, capsys, tmp_path):
    """Run `boat draw` in a folder with a configuration. Returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    (tmp_path / "toy.py").write_text(MODULE, "utf-8")

    def draw(*arguments):
        code = cli.main(["draw", "config.yaml", *arguments])
        return code, *capsys.readouterr()

    return draw


def test_command_draws(draw):
    assert draw()[:2] == (0, "config.svg\n")
    assert "T = 3" in texts("config.svg")[1]
    refusal = "boat: error: config.svg exists; replace it with --out config.svg, or choose another name there\n"
    assert draw() == (2, "", refusal)
    assert draw("--out", "config.svg", "--set", "solver.lower_steps=1")[:2] == (0, "config.svg\n")
    assert "T = 1" in texts("config.svg")[1]


def test_command_prints_json(draw, tmp_path):
    code, out, _ = draw("--json")
    printed = json.loads(out)
    assert (code, printed["picture"], printed["trajectory"]["pulled"]) == (0, None, [[0, 2]])
    assert not (tmp_path / "config.svg").exists()
    assert json.loads(draw("--json", "--out", "a.png")[1])["picture"] == "a.png"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_command_checks_the_path_first(draw):
    absent = ("--set", "problem=absent:make")
    assert draw("--out", "a.jpg", *absent)[2].startswith("boat: error: a.jpg: expected a file name that ends in .svg")
    assert "no module 'absent'" in draw("--out", "a.svg", *absent)[2]
