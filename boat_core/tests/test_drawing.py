"""The structure of a hypergradient and its picture, on toy operations; `tests/test_pictures.py` has the packs'."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import boat_core as boat
from boat_core import cli
from boat_core.bilevel.graph import Leaf, spans
from boat_core.drawing.sheet import shortened, width_of, wrapped
from boat_core.testing import network_problem

STEPS = 5


def solver(toys, **more):
    settings = dict(lower_steps=STEPS, lower_optimizer=boat.sgd(0.1), upper_optimizer=boat.adam(0.1), registry=toys)
    return boat.Solver(network_problem(), **(settings | more))


def graph(toys, **more):
    one = solver(toys, **more)
    return one.graph(*one.problem.batches(0, None))


def texts(path):
    """What can be read in an SVG."""
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("segment", "kept_iterates", "kept_graphs", "rebuilt", "recomputed"),
    [
        (1, ((0, 5),), (), ((0, 4),), ()),
        (3, ((0, 5),), ((2, 4),), ((0, 1),), ()),
        ("all", ((0, 5),), ((0, 4),), (), ()),
        ("sqrt", ((0, 0), (3, 3), (5, 5)), (), ((0, 4),), ((1, 2), (4, 4))),
    ],
)
def test_what_is_held_and_what_is_computed_again(toys, segment, kept_iterates, kept_graphs, rebuilt, recomputed):
    one = solver(toys, segment=segment)
    batches = one.problem.batches(0, None)
    t, held = one.graph(*batches).trajectory, one.held(*batches)
    assert (t.pulled, t.pulled_by) == (((0, 4),), ("ALL",))
    assert (t.kept_iterates, t.kept_graphs, t.rebuilt, t.recomputed) == (
        kept_iterates,
        kept_graphs,
        rebuilt,
        recomputed,
    )
    assert {name: getattr(t, name) for name in held} == held


def test_the_structure_says_what_the_solver_did_and_changes_nothing(toys):
    one = solver(toys, map="SUM", approximate=["HALF", "ALL"])
    batches = one.problem.batches(0, None)
    one.step(*batches)
    before = one.state
    found = one.graph(*batches)
    h = one.hypergradient(*batches)
    after = one.state
    assert np.array_equal(after["upper"], before["upper"])
    assert (after["iteration"], found.iteration, found.problem) == (1, 1, "network")
    assert found.norm == pytest.approx(h.report.hypergradient_norm)
    assert found.solver == "SUM + STEP | HALF + ALL"
    assert [(s.name, s.report) for s in found.stages] == [("SUM", {}), ("STEP", {}), ("HALF", {"kept": 1}), ("ALL", {})]
    assert (found.trajectory.kept, found.trajectory.pulled) == (1, ((4, 4),))
    assert (found.gradients, found.hvps) == (STEPS + 1, 1)  # all graphs fit into the memory
    assert found.lower[1:] == (Leaf("['hidden']['weight']", (2, 3), "float64"), Leaf("['out']", (3, 1), "float64"))
    assert found.upper == (Leaf("", (6,), "float64"),)
    assert (found.upper_optimizer["name"], found.lower_optimizer["rate"]) == ("adam", 0.1)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["trajectory"]["bytes"] == found.trajectory.bytes


def test_operators_are_those_of_one_direction(toys):
    found = graph(toys, lower_steps=2)
    products = [o for o in found.operators if o.name == "boat_matmul"]
    assert ((6, 3),) in [o.shapes for o in products]
    assert {dtype for o in found.operators for dtype in o.dtypes} == {"float64"}
    assert found.operators == graph(toys, lower_steps=3).operators
    assert [o.name for o in graph(toys, operators="plain").operators].count("boat_matmul") == 0


def test_a_method_holds_nothing(toys):
    found = graph(toys, first_order="BOTH")
    assert (found.trajectory, found.hvps, found.gradients) == (None, 0, 1)
    assert found.stages[0].carries
    assert found.operators


def test_trajectories_from_elsewhere_are_counted_apart(toys):
    def around(trajectory, options):
        start, unrolled = trajectory.unrolled.iterate(0), trajectory.unrolled
        for _ in range(3):
            unrolled.end_from(start, unrolled.parameters, trajectory.steps)
        return boat.Hypergradient(trajectory.end.direct)

    none = next(e for e in toys.entries if e.name == "NONE")
    toys = toys.adding(replace(none.operation, name="AROUND", apply=around), distribution="toys", version="1.0")
    t = graph(toys, approximate="AROUND").trajectory
    assert (t.again, t.recomputed, t.pulled, t.end_point) == (3, (), (), True)


def test_the_first_of_several_tasks_is_looked_at(toys, tmp_path):
    one = solver(toys)
    found = one.graph(tasks={"a": one.problem.batches(0, None), "b": one.problem.batches(1, None)})
    assert (found.task, found.tasks) == ("a", 2)
    assert "task a of 2" in texts(boat.draw(found, tmp_path / "a.svg"))[1]


def test_errors_of_the_hypergradient_are_those_of_the_graph(toys):
    with pytest.raises(boat.DoubtfulError, match="outer step 0: NONE: it looks away"):
        graph(toys, approximate="NONE", strict=True)


def test_without_a_compiler_there_are_no_operators(toys, tmp_path, monkeypatch):
    monkeypatch.setattr("boat_core.runtime.native.operators", lambda: None)
    found = graph(toys)
    assert (found.operators, found.trajectory.graph_bytes) == (None, 0)
    said = texts(boat.draw(found, tmp_path / "a.svg"))
    assert "not known: no compiler is there to ask Jittor's graph" in said
    assert "the graph of a step: not known" in said


@pytest.mark.parametrize("steps", [1, STEPS, 1000])
def test_a_picture_holds_what_the_structure_says(toys, tmp_path, steps):
    one = solver(toys, map="SUM", approximate="NONE" if steps == 1 else "ALL", lower_steps=steps)
    found = one.graph(*one.problem.batches(0, None))
    path = boat.draw(found, tmp_path / "a.svg")
    said = texts(path)
    for expected in ("SUM", "STEP", found.stages[-1].name, "toys 1.0", f"y_{steps}", f"F(x, y_{steps})"):
        assert expected in said
    for leaf in (*found.upper, *found.lower):
        assert f"{leaf.path} {list(leaf.shape)} float64".strip() in said
    for operator in found.operators:
        assert any(text.startswith(f"{operator.name} {list(operator.shapes[0])}") for text in said)
    assert f"T = {steps}" in said[1]
    assert ("NONE: it looks away" in said) == (steps == 1)
    first = path.read_bytes()
    assert boat.draw(found, path).read_bytes() == first


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_graph_gives_the_same_bytes_whatever_matplotlib_is_set_to(toys, tmp_path, suffix):
    import matplotlib

    found = graph(toys)
    first = boat.draw(found, tmp_path / f"a.{suffix}").read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "savefig.bbox": "tight", "lines.linewidth": 9}):
        assert boat.draw(found, tmp_path / f"b.{suffix}").read_bytes() == first


def test_text_is_measured():
    assert width_of("wide", 9, True) > width_of("wide", 9) > width_of("wide", 7) > 0
    assert wrapped("one two three", width_of("one two")) == ["one two", "three"]
    assert "".join(wrapped("x" * 99, 50)) == "x" * 99
    assert wrapped("", 50) == []
    assert shortened("a\nshort", 50) == "a short"
    assert shortened("x" * 99, 50).endswith("x…")


def test_spans():
    assert spans([]) == ()
    assert spans([3, 1, 2, 7, 7]) == ((1, 3), (7, 7))


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
def test_a_place_where_nothing_can_be_drawn(toys, tmp_path, path, error, message):
    (tmp_path / "folder.svg").mkdir()
    one = solver(toys)
    with pytest.raises(error, match=message):
        boat.draw(one, tmp_path / path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


def test_what_cannot_be_drawn(toys, tmp_path):
    one = solver(toys)
    lower, upper = one.problem.batches(0, None)
    with pytest.raises(boat.OptionError, match="expected a HypergradientGraph or a Solver"):
        boat.draw(one.problem, tmp_path / "a.svg")
    with pytest.raises(boat.OptionError, match="upper_batch: expected none beside a HypergradientGraph"):
        boat.draw(one.graph(lower, upper), tmp_path / "a.svg", upper_batch=upper)
    assert boat.draw(one, str(tmp_path / "a.svg"), lower_batch=lower, upper_batch=upper) == tmp_path / "a.svg"


def test_without_matplotlib(toys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(boat.RunError, match=r"matplotlib .* not installed; pip install 'boat-core\[plots\]'"):
        boat.draw(solver(toys), tmp_path / "a.svg")


def test_a_picture_is_whole_or_not_there(toys, tmp_path, monkeypatch):
    path = boat.draw(graph(toys), tmp_path / "a.svg")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(boat.RunError, match=r"a\.svg cannot be written: No space left on device"):
        boat.draw(graph(toys, lower_steps=2), path)
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
def draw(only_toys_installed, monkeypatch, capsys, tmp_path):
    """Run `boat draw` in a folder with a configuration; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    (tmp_path / "toy.py").write_text(MODULE, "utf-8")

    def draw(*arguments):
        code = cli.main(["draw", "config.yaml", *arguments])
        return code, *capsys.readouterr()

    return draw


def test_the_command_draws(draw, tmp_path):
    assert draw()[:2] == (0, "config.svg\n")
    assert "T = 3" in texts("config.svg")[1]
    refusal = "boat: error: config.svg exists; replace it with --out config.svg, or choose another name there\n"
    assert draw() == (2, "", refusal)
    assert draw("--out", "config.svg", "--set", "solver.lower_steps=1")[:2] == (0, "config.svg\n")
    assert "T = 1" in texts("config.svg")[1]


def test_the_command_tells(draw, tmp_path):
    code, out, _ = draw("--json")
    found = json.loads(out)
    assert (code, found["picture"], found["trajectory"]["pulled"]) == (0, None, [[0, 2]])
    assert not (tmp_path / "config.svg").exists()
    assert json.loads(draw("--json", "--out", "a.png")[1])["picture"] == "a.png"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_looks_at_the_place_first(draw, tmp_path):
    absent = ("--set", "problem=absent:make")
    assert draw("--out", "a.jpg", *absent)[2].startswith("boat: error: a.jpg: expected a file name that ends in .svg")
    assert "no module 'absent'" in draw("--out", "a.svg", *absent)[2]
