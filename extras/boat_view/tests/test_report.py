"""`boat report`: what the page says, that it loads nothing, and that no text of a run can act in it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
from html.parser import HTMLParser
from importlib.resources import files
from statistics import median

import numpy as np
import pytest

import boat_core as boat
from boat_core import cli
from boat_view.report.charts import POINTS, Curve, thinned
from boat_view.report.live import LiveServer

CONCERN = "CG: the solve did not converge: relative residual {} after 2 iterations"
EVIL = "</script></textarea></pre><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'`{{7*7}}"


class Page(HTMLParser):
    """The elements and texts of a page, as a browser reads them."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.texts, self._open = [], [], [], []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self.texts).split())
        (data,) = [text for kind, text in self.scripts if kind == "application/json"]
        self.charts = json.loads(data)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attributes).get("type"), ""))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif not self._open or self._open[-1] != "style":
            self.texts.append(data)

    def chart(self, title, over="outer step"):
        (chart,) = [one for one in self.charts if (one["title"], one["x"]) == (title, over)]
        return chart


@pytest.fixture
def report(monkeypatch, capsys, tmp_path):
    """Run `boat report` in a folder. Returns the page, or the exit code and stderr of a refusal."""
    monkeypatch.chdir(tmp_path)

    def report(*arguments):
        code = cli.main(["report", "-o", "page.html", *map(str, arguments)])
        out, err = capsys.readouterr()
        if code:
            return code, err
        assert out == "page.html\n"
        return Page(tmp_path / "page.html")

    return report


def curve_of(chart, number=0):
    return chart["curves"][number]


def test_page_shows_the_numbers_of_a_run(report, recorded, line):
    figures = [{"CG": {"iterations": [2, 4], "relative_residual": 0.5**k, "stopped": "tolerance"}} for k in range(4)]
    steps = [line(k, operations=figures[k], hypergradient_norm=0.1 * k) for k in range(4)]
    evaluations = [{"iteration": 1, "accuracy": 0.5}, {"iteration": 3, "accuracy": 0.75}]
    page = report(recorded("a", steps, evaluations))
    upper = curve_of(page.chart("Upper loss"))
    assert (upper["x"], upper["y"]) == ([1, 2, 3, 4], pytest.approx([1, 1 / 2, 1 / 3, 1 / 4], rel=1e-6))
    assert curve_of(page.chart("Upper loss", "seconds, compiling included"))["x"] == [0.25, 0.5, 0.75, 1.0]
    accuracy = curve_of(page.chart("accuracy"))
    assert (accuracy["x"], accuracy["y"]) == ([2, 4], [0.5, 0.75])
    assert curve_of(page.chart("CG: relative_residual"))["y"] == [1, 0.5, 0.25, 0.125]
    assert curve_of(page.chart("Norm of the hypergradient"))["y"] == pytest.approx([0, 0.1, 0.2, 0.3])
    # What is the same in every step is told in words. With tasks a figure is their mean.
    assert "CG: iterations 3" in page.text and "tolerance 4" in page.text
    assert "CG: iterations" not in [chart["title"] for chart in page.charts]
    composition = boat.compose(map=["NGD"], approximate=["CG"], options={"CG": {"max_iterations": 2}})
    for entry in composition.operations:
        assert entry.operation.formula in page.text
    cost = composition.cost(5)
    assert f"gradients of all outer steps, for each task, at most {4 * cost.gradients}" in page.text
    assert f"Hessian-vector products of all outer steps, for each task, at most {4 * cost.hvps}" in page.text
    assert "no operation reported a concern" in page.text
    assert [attributes["data-chart"] for tag, attributes in page.elements if "data-chart" in attributes] == [
        str(number) for number in range(len(page.charts))
    ]


def test_page_says_what_is_doubtful(report, recorded, line):
    steps = [line(k, "nan" if k == 2 else None, concerns=[CONCERN.format(0.5**k)] if k else []) for k in range(5)]
    steps[3]["report"]["operations"] = {"CG": {"curvature": [1.0, "inf"]}}  # of two tasks
    summary = {
        "status": "failed",
        "message": "ValueError: no",
        "not_written": {"picture.png": "a full disk"},
        "steps": 6,
    }
    page = report(recorded("a", steps, summary=summary))
    assert curve_of(page.chart("Upper loss"))["y"][2] is None
    assert CONCERN.format(0.5**4) + " in 4 of 5 outer steps, from 2 to 5" in page.text  # one concern, not four
    assert CONCERN.format(0.5**3) not in page.text
    assert "max_iterations = 2" in page.text
    assert "The upper loss is not a finite number. in outer step 3" in page.text
    assert "CG: curvature is not a finite number. in outer step 4" in page.text
    assert "The run ended early (failed): ValueError: no" in page.text
    assert "picture.png was not written: a full disk" in page.text
    assert "counts 6 outer steps, and metrics.jsonl has 5" in page.text


def test_run_that_is_going_on_and_unknown_operations(report, recorded, line):
    folder = recorded("a", [line(0), line(1)], solver={"approximate": ["CGG"], "options": {}})
    (folder / "summary.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 2, "upper')
    page = report(folder)
    assert curve_of(page.chart("Upper loss"))["x"] == [1, 2]
    assert "The run has no summary" in page.text
    assert "The operations cannot be looked up here" in page.text and "CGG" in page.text


def test_comparison_bands_and_differences(report, recorded, line):
    losses = np.random.default_rng(0).uniform(size=(3, 4)).round(3).tolist()
    losses[1][2] = "inf"
    for seed, values in enumerate(losses):
        recorded(f"cg{seed}", [line(k, value) for k, value in enumerate(values)][: 4 - (seed == 2)], seed=seed)
    first_order = {"map": None, "approximate": None, "options": None, "first_order": "VFO"}
    page = report(recorded("vfo", [line(k) for k in range(4)], solver=first_order).parent)
    band, alone = page.chart("Upper loss")["curves"]
    assert band["x"] == [1, 2, 3]  # the steps that all three have
    columns = [[values[k] for values in losses] for k in range(2)]
    for name, value in (("y", median), ("low", min), ("high", max)):
        assert band[name] == [*map(value, columns), None]  # a gap where one is not finite
    assert len(alone["y"]) == 4 and "low" not in alone
    over_seconds = page.chart("Upper loss", "seconds, compiling included")["curves"]
    assert [(curve["label"], curve["color"]) for curve in over_seconds] == [
        ("cg0", 0), ("cg1", 0), ("cg2", 0), ("vfo", 1),
    ]  # fmt: skip
    gradients = page.chart("Upper loss", "declared gradients for each task")["curves"]
    costs = [
        boat.compose(**chain).cost(5).gradients
        for chain in ({"approximate": "CG", "options": {"CG": {"max_iterations": 2}}}, {"first_order": "VFO"})
    ]
    assert [curve["x"][:2] for curve in gradients] == [[cost, 2 * cost] for cost in costs]
    assert [curve["label"] for curve in gradients] == ["NGD | CG, max_iterations 2 (median of 3)", "VFO"]
    table = page.source.replace("<wbr>", "").partition('id="runs"')[2]
    headings = re.findall(r"<th>(.*?)</th>", table.partition("</thead>")[0])
    assert {"solver.first_order", "solver.options.CG.max_iterations"} <= set(headings)
    assert not {"run.out", "run.seed", "problem", "solver.lower_steps"} & set(headings)


def test_table_sorts_by_exact_numbers(report, recorded, line):
    for name, loss in (("a", 1 / 3), ("b", "nan"), ("c", 1e-30)):
        recorded(name, [line(0, loss)])
    page = report("runs")
    body = page.source.partition("<tbody>")[2].partition("</tbody>")[0]
    keys = [re.findall(r'data-sort="(.*?)"', row)[2] for row in body.split("</tr>")[:3]]
    assert keys == [repr(1 / 3), "", "1e-30"]  # what is not finite comes last


@pytest.mark.parametrize("several", [False, True])
def test_no_text_of_a_run_can_act(report, recorded, line, several):
    steps = [
        line(k, concerns=[f"CG: {EVIL}"], operations={EVIL: {EVIL: float(k), "word": EVIL}}, hypergradient_norm=EVIL)
        for k in range(3)
    ]
    evaluations = [{"iteration": k, EVIL: 1.0 + k} for k in range(2)]
    summary = {"status": EVIL, "message": EVIL, "not_written": {EVIL: EVIL}, "observers_switched_off": [EVIL]}
    config = {"problem": EVIL, "problem_options": {EVIL: EVIL}}
    settings = dict(evaluations=evaluations, summary=summary, **config)
    folder = recorded("<img src=x onerror=alert(1)>", steps, **settings)
    (folder / "versions.json").write_text(json.dumps({EVIL: EVIL, "packs": {EVIL: EVIL}}), "utf-8")
    if several:
        recorded("b", steps, **{**settings, "problem": "toy:make"})
    page = report("runs")
    assert [kind for kind, _ in page.scripts] == ["application/json", None]
    assert "pwned" not in page.scripts[1][1] and "{{7*7}}" in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert EVIL in page.text
    assert EVIL in [chart["title"] for chart in page.charts]


def test_page_loads_nothing_and_lets_only_its_program_run(report, recorded, line):
    folder = recorded("a", [line(0), line(1)])
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    page = report(folder)
    links = [attributes[name] for _, attributes in page.elements for name in ("src", "href") if name in attributes]
    assert links and all(link.startswith("data:") for link in links)
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    program = page.scripts[-1][1]
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in f"{policy};"
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_thinned_curve_keeps_every_spike():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(50_000).tolist()
    y[31_313], y[40_001] = 99.0, -99.0
    y[10_000:12_000] = [None] * 2000
    high = [None if value is None else value + (1000 if k == 77 else 1) for k, value in enumerate(y)]
    curve = thinned(Curve("a", 0, [float(k) for k in range(50_000)], y, y, high))
    assert len(curve.y) <= POINTS + 2
    points = dict(zip(curve.x, curve.y))
    assert (points[31_313], points[40_001]) == (99.0, -99.0)
    assert 77 in points and points[0] == y[0] and points[49_999] == y[-1]
    assert [x for x, value in points.items() if value is None]
    assert all(y[int(x)] == value for x, value in points.items())
    assert thinned(Curve("a", 0, [1.0], [2.0])).y == [2.0]


def test_library_files_are_as_published():
    """The page's libraries are the files of their packages, unchanged."""
    assets = files("boat_view.report") / "assets"
    rows = re.findall(r"^\| (\S+) \| \S+ \S+ \| .* \| (\w{64}) \|$", (assets / "README.md").read_text("utf-8"), re.M)
    own = {"README.md", "base.html", "single.html", "comparison.html", "macros.html", "page.css", "page.js"}
    assert {name for name, _ in rows} | own == {file.name for file in assets.iterdir()}
    assert [name for name, digest in rows if hashlib.sha256((assets / name).read_bytes()).hexdigest() != digest] == []


def test_labels_name_each_run_alone(report, recorded, line):
    for place in ("one/00", "two/00", "two/01"):
        recorded(place, [line(0), line(1)])
    labels = [curve["label"] for curve in report("runs").chart("Upper loss", "seconds, compiling included")["curves"]]
    assert labels == ["one/00", "two/00", "two/01"]
    page = report("runs/one/00", "runs/one", "runs/one/../one/00")
    assert len(page.chart("Upper loss")["curves"]) == 1  # one run, however it is named


def test_sweep_names_the_runs_without_a_folder(report, recorded, line, tmp_path):
    rows = [
        {"run": "00", "status": "finished", "error": None},
        {"run": "01", "status": "failed", "error": None},
        {"run": "01", "status": "failed", "error": f"no module {EVIL}"},  # the last line of a run counts
    ]
    for name in ("00", "02"):
        recorded(f"../sweep/runs/{name}", [line(0), line(1)])
    (tmp_path / "sweep" / "results.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    page = report("sweep")
    assert f"Run 01 of sweep is failed and has nothing to show: no module {EVIL}" in page.text
    assert page.text.count("has nothing to show") == 1
    assert "2 runs" in page.text and [kind for kind, _ in page.scripts] == ["application/json", None]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["absent"], "absent: expected the folder of a run, with config.yaml and metrics.jsonl, or a folder of such"),
        (["empty"], "(got a folder without runs)"),
        (["runs", "--draw"], "--draw: expected one run (got 2 runs)"),
        (["broken"], "broken/metrics.jsonl, line 1: is not JSON"),
        (["wrong"], "wrong/metrics.jsonl, outer step 0: expected a mapping (got list)"),
        (["runs", "--out", "none/a.html"], "no folder none"),
    ],
)
def test_invalid_input_is_refused(report, recorded, line, tmp_path, arguments, expected):
    recorded("a", [line(0)])
    recorded("b", [line(0)])
    (tmp_path / "empty").mkdir()
    for name, text in (("broken", 'x\n{"iteration": 1}\n'), ("wrong", '{"iteration": 0, "report": []}\n')):
        recorded(f"../{name}")
        (tmp_path / name / "metrics.jsonl").write_text(text, "utf-8")
    code, message = report(*arguments)
    assert (code, list(tmp_path.glob("*.html"))) == (2, [])
    assert expected in message


def test_page_is_not_replaced_unasked(recorded, line, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = str(recorded("a", [line(0)]))
    assert cli.main(["report", folder]) == 0
    assert cli.main(["report", folder]) == 2
    assert "report.html exists; replace it with --out report.html" in capsys.readouterr().err
    assert cli.main(["report", folder, "--json", "--out", "report.html"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"page": "report.html", "bytes": (tmp_path / "report.html").stat().st_size, "runs": [folder]}


PROBLEM = """\
import numpy as np
import boat_core as boat

def make(seed):
    def square(x, y, batch):
        return ((y - x) ** 2).sum()

    return boat.Problem(square, square, np.zeros(3), np.ones(3), name="toy")
"""
CONFIG = """\
problem: module:make
solver: {method: RHG, lower_steps: 2, lower_optimizer: {name: sgd, rate: 0.1}, upper_optimizer: {name: sgd, rate: 0.1}}
run: {steps: 2, out: a run, device: cpu, observers: []}
"""


@pytest.mark.usefixtures("single_operators")
@pytest.mark.filterwarnings("ignore:no picture")
def test_report_on_a_real_run_with_its_graph(report, tmp_path):
    """A run as `boat run` records it, and the graph that `boat draw` draws."""
    (tmp_path / "module.py").write_text(PROBLEM, "utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    summary = boat.run("config.yaml")
    before = {path: path.read_bytes() for path in (tmp_path / "a run").rglob("*") if path.is_file()}
    page = report("a run", "--draw")
    assert {path: path.read_bytes() for path in before} == before
    assert curve_of(page.chart("Upper loss"))["y"][-1] == pytest.approx(summary["upper_loss"], rel=1e-6)
    drawings = [a["src"] for tag, a in page.elements if tag == "img" and a["src"].startswith("data:image/svg+xml")]
    assert len(drawings) == 1 and b"pullback" in base64.b64decode(drawings[0].partition("base64,")[2])
    assert "The run finished" in page.text


# The page that follows a run


@pytest.fixture
def serve():
    """Serve reports. Returns the address."""
    with contextlib.ExitStack() as servers:

        def serve(*places):
            server = servers.enter_context(LiveServer(places))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            servers.callback(thread.join)
            servers.callback(server.shutdown)
            assert server.server_address[0] == "127.0.0.1"
            return server.url

        yield serve


def ask(url, **headers):
    """Return the status and the text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_live_page_follows_its_files_and_writes_nothing(serve, recorded, line, tmp_path):
    folder = recorded("a", [line(0), line(1)])
    files_before = sorted(tmp_path.rglob("*"))
    url = serve(folder)
    _, state = ask(f"{url}state")
    status, page = ask(url)
    assert status == 200 and f'data-live="{state}"' in page
    assert "connect-src &#39;self&#39;" in page
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line(2, 0.625)) + "\n")
    _, later = ask(f"{url}state")
    assert later != state
    assert f'data-live="{later}"' in ask(url)[1] and "0.625" in ask(url)[1]
    assert sorted(tmp_path.rglob("*")) == files_before
    (folder / "metrics.jsonl").write_text("x\n", "utf-8")
    status, message = ask(url)
    assert (status, "line 1: is not JSON" in message) == (503, True)


def test_live_page_is_for_those_who_know_its_address(serve, recorded, line):
    url = serve(recorded("a", [line(0)]))
    root, token = url[: url.index("/", 8)], url.split("/")[3]
    assert len(token) >= 32 and url != serve(recorded("b", [line(0)]))
    for path in ("/", "", "/state", f"/{token[:-1]}/", f"/{token}", f"/x/{token}/", f"/{token}/../", f"/{token}/a/b"):
        assert ask(root + path)[0] == 404, path
    assert ask(url, Host="example.org")[0] == 403  # a name of another site that leads to this machine
    assert ask(url, Host=f"localhost:{root.rpartition(':')[2]}")[0] == 200
    request = urllib.request.Request(url, method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=10)


def test_live_refuses_what_it_cannot_serve(report, recorded, line, capsys):
    recorded("a", [line(0)])
    code, message = report("runs", "--live")
    assert code == 2 and "--out: --live writes nothing and runs nothing: leave this out" in message
    assert cli.main(["report", "absent", "--live"]) == 2
    assert "absent: expected the folder of a run" in capsys.readouterr().err


def test_command_serves_until_it_is_interrupted(recorded, line, monkeypatch, capsys):
    seen = []

    def serve(server):
        seen.append(server.url)
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "serve_forever", serve)
    assert cli.main(["report", "--live", "--json", str(recorded("a", [line(0)]))]) == 0
    assert json.loads(capsys.readouterr().out) == {"url": seen[0]}
