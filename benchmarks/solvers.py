"""Every valid solver over our operations on problems with known solutions: what it costs, how far it comes.

    python benchmarks/solvers.py [--write docs/solvers.md] [--plot docs/convergence.png]

The figure of merit is the true upper objective's excess over its minimum, relative to the start: on `quadratic`
F(x, y*(x)); on `start`, where x is y_0 and nothing else, F(y_T(x)), since there y*(x) does not depend on x; on
`residual` F(x, y*(x)) where f is half of one squared residual, the case in which IGA's replacement of the Hessian is
exact. Two more problems show what a general lower problem asks of a solver: one with a whole subspace of lower
minimisers (the counterexample to plain unrolling), one with infinitely many isolated ones.

Times are medians of one process and the machine's; all else is the same on every run. `settings` is what
tests/test_convergence.py holds every solver to.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from known_solutions import ManyMinima, Quadratic, Residual, Start, counterexample
from machine import machine

import boat_core as boat
from boat_core import Composition, compose
from boat_core.plugins.known_packs import published_operations
from boat_core.testing import flat

import jittor as jt  # isort: skip
import numpy as np

REACHED = 0.1
BRANCH = 2**0.5 * np.pi  # how far apart the branches of the many minima are

# The solvers


@dataclass(frozen=True)
class Settings:
    """How one solver is run: `outer` steps for the table, 10 % of the first excess `within` so many in the tests."""

    problem: str
    lower_steps: int
    lower_rate: float
    upper_rate: float
    outer: int
    within: int
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def case(self) -> Any:
        if self.problem == "start":
            return Start(self.lower_steps, self.lower_rate)
        return Quadratic(0, 4, 3) if self.problem == "quadratic" else Residual()

    def __str__(self) -> str:
        given = "; ".join(f"{n} " + ", ".join(f"{k} {v}" for k, v in o.items()) for n, o in self.options.items())
        return (
            f"{self.problem}, T = {self.lower_steps}, lower sgd {self.lower_rate}, upper sgd {self.upper_rate},"
            f" {self.outer} outer steps" + (f"; {given}" if given else "")
        )


SETTINGS = {
    "NGD": Settings("quadratic", 8, 0.2, 0.2, outer=60, within=20),
    "IAD": Settings("start", 8, 0.05, 1.0, outer=60, within=30),
    "IGA": Settings("residual", 8, 0.2, 0.2, outer=60, within=30),
    "DM": Settings("quadratic", 1, 0.2, 0.02, outer=600, within=150),
    "GDA + DM": Settings("quadratic", 1, 0.05, 0.05, outer=600, within=400),
    **{
        name: Settings("quadratic", 8, 0.05, 0.05, outer=600, within=within)
        for name, within in {"VFO": 60, "VSO": 30, "PGDO": 30, "MESO": 80, "ALTO": 600, "GAFFO": 30}.items()
    },
}
OPTIONS = {"GDA": {"alpha": 0.1, "decay": 0.5}, "FD": {"step_size": 0.4}, "PGDO": {"gamma_max": 20.0}}
EXCEPTIONS = {
    "ALTO": "∇_x F does not see y, so ALTO minimises ½ρ‖x‖² alone and ends at x = 0, wherever the solution is",
}
IGA_ELSEWHERE = (
    "IGA replaces ∇²_yy f by ∇_y f ∇_y fᵀ, and ∇²_xy f by ∇_x f ∇_y fᵀ. At y_T that is exact on `residual`. On"
    " `quadratic` the ratio ⟨∇_y F, ∇_y f⟩ / ‖∇_y f‖² grows as the lower problem is solved better, and x diverges."
)


def solvers() -> Iterator[Composition]:
    """Every valid solver over the operations that this project publishes."""
    ours = {name for names in published_operations().values() for name in names}
    for composition in boat.solvers():
        if {o.name for o in composition.operations} <= ours:
            yield composition


def settings(composition: Composition) -> Settings:
    """What the table runs this solver with, and the tests hold it to."""
    names = [o.name for o in composition.operations]
    if "DM" in names:
        key = "GDA + DM" if "GDA" in names else "DM"
    else:
        key = next((n for n in names if n in SETTINGS and n != "NGD"), "NGD")
    options = {name: o for name, o in OPTIONS.items() if name in names and not (name == "GDA" and "DM" in names)}
    return replace(SETTINGS[key], options=options)


def make_solver(composition: Composition, how: Settings, problem: boat.Problem, **more: Any) -> boat.Solver:
    return boat.Solver(
        problem,
        **composition.as_config(),
        lower_steps=how.lower_steps,
        lower_optimizer=boat.sgd(how.lower_rate),
        upper_optimizer=boat.sgd(how.upper_rate),
        options=how.options,
        **more,
    )


def converge(composition: Composition, steps: int | None = None) -> tuple[list[float], list[float]]:
    """Run one solver; return the excess relative to the start, from 1 on, and the seconds of each outer step."""
    how = settings(composition)
    case = how.case()
    solver, first = make_solver(composition, how, case.problem), case.excess(case.x)
    excess, seconds = [1.0], []
    for _ in range(how.outer if steps is None else steps):
        begin = time.perf_counter()
        solver.step()
        seconds.append(time.perf_counter() - begin)
        excess.append(case.excess(flat(solver.upper)) / first)
    return excess, seconds


def first_error(composition: Composition) -> float:
    """How far the first hypergradient is from the true one, relative to it."""
    how = settings(composition)
    case = how.case()
    truth = case.hypergradient()
    found = flat(make_solver(composition, how, case.problem).hypergradient().upper)
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def arrival(excess: list[float]) -> int | None:
    """The outer step from which on the excess stays at 10 % of the start or below."""
    above = [k for k, value in enumerate(excess) if not value <= REACHED]
    return above[-1] + 1 if above[-1] + 1 < len(excess) else None


# A subspace of lower minimisers


COUNTEREXAMPLE = {
    "NGD | RAD": (["NGD"], Settings("counterexample", 20, 0.1, 0.1, outer=300, within=300)),
    "GDA + NGD | RAD": (["GDA", "NGD"], Settings("counterexample", 20, 0.1, 0.1, outer=300, within=300)),
    "GDA + DM | RAD": (["GDA", "DM"], Settings("counterexample", 1, 0.5, 2.0, outer=600, within=600)),
}


def on_counterexample(name: str, start: str = "warm") -> tuple[list[float], boat.Solver]:
    """The distance of (x, y) to the solution, outer step by outer step, and the solver at the end."""
    map_chain, how = COUNTEREXAMPLE[name]
    solver = make_solver(compose(map=map_chain), how, counterexample(), start=start)

    def distance() -> float:
        return float(np.linalg.norm(np.concatenate([flat(solver.upper), flat(solver.lower)]) - 1.0))

    distances = [distance()]
    for _ in range(how.outer):
        solver.step()
        distances.append(distance())
    return distances, solver


# Many isolated lower minima


def _many(**options: Any) -> Settings:
    return Settings("many minima", 10, 0.1, 0.05, outer=200, within=200, options=options)


# All with the same steps, rates and default options. PGDO and GDA: while F outweighs f the sum has one minimum, and the
# branch is chosen there. VFO's q falls in every small step, so it mostly stays on its branch. VSO stays on z's: other
# settings (rates 0.02 to 0.3, μ to 2, σ to 10, slack to 3, 150 to 300 steps) did not make it arrive from every start.
MANY_MINIMA: dict[str, tuple[dict[str, Any], Settings]] = {
    "NGD | RAD": ({"map": ["NGD"]}, _many()),
    "GDA + NGD | RAD": ({"map": ["GDA", "NGD"]}, _many()),
    "PGDO": ({"first_order": "PGDO"}, _many()),
    "VSO": ({"first_order": "VSO"}, _many()),
    "VFO": ({"first_order": "VFO"}, _many()),
}
STARTS = [(x, y) for x in (-6.0, -2.0, 2.0, 6.0) for y in (-6.0, 0.0, 6.0)]
START = (-2.0, 0.0)


def on_many_minima(name: str, start: tuple[float, float] = START) -> list[float]:
    """The distance of (x, y) to the optimistic solution, outer step by outer step."""
    case, (chains, how) = ManyMinima(), MANY_MINIMA[name]
    solver = make_solver(compose(**chains), how, case.problem(*start))

    def distance() -> float:
        return float(np.linalg.norm(np.concatenate([flat(solver.upper), flat(solver.lower)]) - case.solution))

    distances = [distance()]
    for _ in range(how.outer):
        solver.step()
        distances.append(distance())
    return distances


# The tables


def escaped(name: str) -> str:
    """A solver's name as a cell of a Markdown table."""
    return name.replace("|", "\\|")


def row(composition: Composition) -> str:
    how, (excess, seconds) = settings(composition), converge(composition)
    cost = compose(**composition.as_config(), options=how.options).cost(how.lower_steps)
    error = "–" if composition.first_order else f"{first_error(composition):.2f}"
    when = arrival(excess)
    cells = (
        composition,
        how.problem,
        f"{1e3 * statistics.median(seconds[10:]):.1f}",
        cost.gradients,
        cost.hvps,
        error,
        "–" if when is None else when,
        f"{excess[-1]:.1e}",
    )
    return "| " + " | ".join(escaped(str(c)) for c in cells) + " |"


def solver_table() -> str:
    head = ("solver", "problem", "ms", "gradients", "HVPs", "error", "to 10 %", "end")
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * 6]
    for composition in solvers():
        lines.append(row(composition))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def counterexample_table() -> str:
    lines = ["| solver | start | outer steps | distance | x | y2 |", "|---|---|--:|--:|--:|--:|"]
    for name, start in (*((name, "warm") for name in COUNTEREXAMPLE), ("GDA + NGD | RAD", "cold")):
        distances, solver = on_counterexample(name, start)
        x, y2 = flat(solver.upper)[0], flat(solver.lower["y2"])[0]
        lines.append(f"| {escaped(name)} | {start} | {len(distances) - 1} | {distances[-1]:.4f} | {x:.4f} | {y2:.4f} |")
    return "\n".join(lines)


def many_minima_table() -> str:
    ends = {name: [on_many_minima(name, start)[-1] for start in STARTS] for name in MANY_MINIMA}
    reference = ends["NGD | RAD"]
    lines = ["| solver | " + " | ".join(f"({x:g}, {y:g})" for x, y in STARTS) + " | closer | farther |"]
    lines.append("|---|" + "--:|" * (len(STARTS) + 2))
    for name, found in ends.items():
        closer, farther = (sum(sign * (d - r) > BRANCH / 2 for d, r in zip(found, reference)) for sign in (-1, 1))
        lines.append(f"| {escaped(name)} | " + " | ".join(f"{d:.2f}" for d in found) + f" | {closer} | {farther} |")
    return "\n".join(lines)


def document() -> str:
    """The tables as Markdown, with all that it takes to make them again."""
    groups = "\n".join(f"- {key}: {how}." for key, how in SETTINGS.items())
    options = "; ".join(f"{n} " + ", ".join(f"{k} {v}" for k, v in o.items()) for n, o in OPTIONS.items())
    exceptions = " ".join(f"{name}: {why}." for name, why in EXCEPTIONS.items())
    arrived = "\n".join(f"- {name}: {how}." for name, (_, how) in COUNTEREXAMPLE.items())
    case = ManyMinima()
    where = f"{machine()}, Python {platform.python_version()}, Jittor {jt.__version__}, float64"
    return f"""# All valid solvers

Made by `python benchmarks/solvers.py --write docs/solvers.md --plot docs/convergence.png` on {where}.
The times depend on the machine: read the ratios. Everything else is the same in every run, and
`tests/test_convergence.py` checks it for every solver. [How to choose](how-to-choose.md) draws the conclusions.

![Convergence](convergence.png)

- **problem**: `quadratic` has f = ½ yᵀAy - yᵀ(Bx + b), F = ½‖y - c‖² + ⅛‖x‖², x in R⁴ and y in R³. `start` is the same
  problem, but x is the start y_0 (for IAD). `residual` has f = ½ (y - ⟨w, x⟩ - b)² (for IGA).
- **ms**: the median time of an outer step, without the first ten. **gradients**, **HVPs**: the declared cost of a
  step.
- **error**: the relative error of the first hypergradient. The true one is dF(x, y*(x))/dx, or dF(y_T(x))/dx for
  `start`. DM's first hypergradient is ∇_x F alone, because v_0 = 0. ES's error is the noise of its 20 samples. With PTT
  and IAD, the hypergradient belongs to another point of the trajectory. First-order methods make one direction for
  (x, y) and no hypergradient: –.
- **to 10 %**: the number of outer steps until the excess of the true upper objective over its minimum stays at or below
  10 % of the first excess.
- **end**: the excess at the end, relative to the start. It stops falling where a solver solves another problem: GDA
  solves the aggregated problem, PTT that of the worst step, DI that of x and the start together.

{solver_table()}

{exceptions} Here this
point happens to lie below 10 %.

{IGA_ELSEWHERE}

Settings, by the operation that decides. Options not named here have their defaults ({options}):

{groups}

## Lower minimisers that fill a subspace

f = ½‖y1‖² - ⟨x, y1⟩, F = ½‖x - y2‖² + ½‖y1 - e‖², with x, y1, y2 in R², which all start at zero. f never moves y2, so
plain unrolling stalls. If F is part of the lower objective, y2 moves. The solution is x = y1 = y2 = e.

{counterexample_table()}

{arrived}

## Many isolated lower minima

f = sin(x + y - {case.c:g}), F = (x - {case.a:g})² + (y - {case.a + case.c:g})². The distance of (x, y) to the
optimistic solution ({case.solution[0]:.2f}, {case.solution[1]:.2f}) after {_many().outer} outer steps, for each start
(x, y). The last columns count the starts from which a solver ends closer, or farther, than NGD | RAD by at least half
the distance of two branches. The picture starts at {START}.

{many_minima_table()}

Unrolling stays on the branch of minima on which it starts. PGDO and GDA choose the branch while F outweighs f. GDA's
last 0.2 is due to F's share in the lower objective, which is still 0.19 at the last of the T = 10 steps. VFO's lower
gap falls in every small step, so VFO mostly stays too; from (-6, -6) it crosses once. VSO's branch is that of z, and z
starts at y.

All runs: T = 10, lower sgd 0.1, upper sgd 0.05, default options.
"""


# The picture

SELECTED = """DI + NGD | RAD, GDA + NGD | RAD, NGD | RGT + RAD, NGD | PTT + RAD, DI + NGD | PTT + RAD, NGD | IAD + RAD,
NGD | IAD + FOA + RAD"""
PANELS: dict[str, Callable[[Composition], bool]] = {
    "estimators (IGA on its own problem)": lambda c: (
        str(c) in {f"NGD | {e}" for e in ("RAD", "CG", "NS", "FD", "IGA", "ES")}
    ),
    "modifiers and selectors (IAD on its own problem)": lambda c: str(c) in SELECTED.replace("\n", " ").split(", "),
    "DM": lambda c: any(o.name == "DM" for o in c.operations),
    "first-order": lambda c: bool(c.first_order),
}
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def plot(path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).flatten()

    def draw(axes: Any, title: str, ylabel: str, curves: list[tuple[str, list[float]]]) -> None:
        for i, (name, values) in enumerate(curves):
            axes.semilogy(values, linestyle=STYLES[i % len(STYLES)], label=name, linewidth=1.6)
        axes.set(title=title, xlabel="outer step", ylabel=ylabel)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.17))

    for axes, (title, wanted) in zip(panels, PANELS.items()):
        curves = [(str(c), converge(c)[0]) for c in solvers() if wanted(c)]
        draw(axes, title, "excess of F, relative to the start", curves)
        axes.axhline(REACHED, color="grey", linewidth=0.8)
        axes.set_ylim(bottom=1e-6)
    draw(
        panels[4],
        "a subspace of lower minimisers",
        "distance to the solution",
        [(name, on_counterexample(name)[0]) for name in COUNTEREXAMPLE],
    )
    draw(
        panels[5],
        "many isolated lower minima",
        "distance to the optimistic solution",
        [(name, on_many_minima(name)) for name in MANY_MINIMA],
    )
    figure.savefig(path, dpi=72)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="write the tables as Markdown")
    parser.add_argument("--plot", type=Path, help="draw the convergence curves")
    arguments = parser.parse_args()
    text = document() if arguments.write or not arguments.plot else ""
    if arguments.write:
        arguments.write.write_text(text, "utf-8")
    elif text:
        print(text)
    if arguments.plot:
        plot(arguments.plot)


if __name__ == "__main__":
    main()
