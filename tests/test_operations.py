"""Every operation against its formula in numpy, and a run of every valid solver. `CLAIMS` has one row each."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import replace

import numpy as np
import pytest

import boat_core as boat
from boat_core import compose
from boat_core.autodiff.operators import library
from boat_core.cli import main
from boat_core.plugins.discovery import installed
from boat_core.plugins.known_packs import published_operations
from boat_core.testing import Claim, KernelClaim, OperationSuite, QuadraticCase, check_solver, conformance
from boat_core.testing.claims import lower_steps

ALPHA, DECAY, INNER = 0.4, 0.7, 0.05
SAMPLES, SEED = 3, 5


def last(case, steps, rate):
    return case.iterates(steps, rate)[-1]


def aggregated(case, steps, rate):
    """GDA + NGD + RAD: ψ_t's Hessian is α_t I + (1-α_t) A, its mixed derivative -(1-α_t) B."""
    alphas, y = [ALPHA * DECAY**t for t in range(steps)], case.y
    for a in alphas:
        y = y - rate * (a * case.upper_gradient(y) + (1 - a) * case.lower_gradient(y))
    p, total = case.upper_gradient(y), case.rho * case.x
    for a in reversed(alphas):
        total = total + rate * (1 - a) * case.B.T @ p
        p = p - rate * (a * p + (1 - a) * case.A @ p)
    return total


def from_the_start(case, steps, rate):
    """IAD: x is y_0, so the cotangent of y_0 is added."""
    g = case.upper_gradient(case.iterates(steps, rate, case.x)[-1])
    decay = np.linalg.matrix_power(np.eye(len(g)) - rate * case.A, steps)
    return case.unrolled_hypergradient(steps, rate, start=case.x) + decay @ g


def worst(case, steps, rate):
    """PTT: the smallest t >= 1 where F is largest."""
    return 1 + int(np.argmax([case.upper_value(y) for y in case.iterates(steps, rate)[1:]]))


def neumann(terms, damping):
    def truth(case, steps, rate):
        g = case.upper_gradient(last(case, steps, rate))
        decay = np.eye(len(g)) - rate * (case.A + damping * np.eye(len(g)))
        return case.rho * case.x + rate * case.B.T @ sum(np.linalg.matrix_power(decay, k) @ g for k in range(terms))

    return truth


def in_drawn_directions(case, steps, rate):
    """ES: on a quadratic the mean of u_i ⟨u_i, ∇⟩, whatever σ."""
    u = np.random.default_rng([SEED, 0]).standard_normal((SAMPLES, case.x.size))
    return u.T @ (u @ case.unrolled_hypergradient(steps, rate)) / SAMPLES


def outer_product(case, steps, rate):
    y = last(case, steps, rate)
    g, d = case.upper_gradient(y), case.lower_gradient(y)
    return case.rho * case.x + (g @ d) / (d @ d) * case.B.T @ y


def dynamic_barrier(control, u1):
    def weights(case, steps):
        target = last(case, steps, INNER)
        Fx, Fy = case.rho * case.x, case.upper_gradient(case.y)
        qx, qy = -case.B.T @ (case.y - target), case.lower_gradient(case.y)
        qq = qx @ qx + qy @ qy
        phi = u1 * (qq if control == "gradient" else case.lower_value(case.y) - case.lower_value(target))
        weight = max(0.0, (phi - Fx @ qx - Fy @ qy) / qq)
        return Fx + weight * qx, Fy + weight * qy

    return pair(weights)


def penalty(kind, gamma):
    def weights(case, steps):
        fy, omega = case.lower_gradient(case.y), last(case, steps, INNER)
        if kind == "gradient":
            px, py = -2 * case.B.T @ fy, 2 * case.A @ fy
        else:
            px, py = -case.B.T @ (case.y - omega), fy
        scale = min(1, 1 / gamma)
        return scale * (case.rho * case.x + gamma * px), scale * (case.upper_gradient(case.y) + gamma * py)

    return pair(weights)


def moreau(gamma, c):
    def theta_and_y(case, rate):
        theta = case.y - INNER * case.lower_gradient(case.y)
        d = case.upper_gradient(case.y) / c + case.lower_gradient(case.y) - (case.y - theta) / gamma
        return theta, case.y - rate * d

    def truth(case, steps, rate):
        theta, y = theta_and_y(case, rate)
        return case.rho * case.x / c - case.B.T @ (y - theta)

    return {"truth": truth, "lower_truth": lambda case, steps, rate: theta_and_y(case, rate)[1]}


def gap(gamma, c0):
    def directions(case, steps):
        c, fy = c0 / gamma, case.lower_gradient(case.y)
        d = gamma * fy
        return case.rho * case.x / c - case.B.T @ d, case.upper_gradient(case.y) / c + case.A @ d + fy - d / gamma

    return pair(directions)


def barrier(z_steps, mu, theta, sigma, slack):
    def sides(case, steps, rate):
        z = case.y
        for _ in range(z_steps):
            z = z - INNER * (case.lower_gradient(z) + mu * z)
        y = z
        for _ in range(steps):
            s = case.lower_value(z) + mu / 2 * z @ z - case.lower_value(y) + slack
            y = y - rate * (case.upper_gradient(y) + theta * y + sigma / s * case.lower_gradient(y))
        s = case.lower_value(z) + mu / 2 * z @ z - case.lower_value(y) + slack
        assert s > 0, "the test's own numbers must stay inside the barrier"
        return y, case.rho * case.x - sigma / s * (-case.B.T @ z + case.B.T @ y)

    return {"truth": lambda *a: sides(*a)[1], "lower_truth": lambda *a: sides(*a)[0]}


def pair(directions):
    """Truths from `(case, steps) -> (direction for x, direction for y)`."""
    return {
        "truth": lambda case, steps, rate: directions(case, steps)[0],
        "lower_truth": lambda case, steps, rate: case.y - rate * directions(case, steps)[1],
    }


MULTIPLIER = KernelClaim((2.0, 0.0, 0.0))

CLAIMS = [
    Claim(
        "NGD",
        truth=lambda case, steps, rate: case.unrolled_hypergradient(steps, rate),
        lower_truth=last,
        exact=True,
        kernels={
            "sgd_step": KernelClaim((0.1, 0.01)),
            "sgd_adjoint": KernelClaim((0.1, 0.01)),
            "sgd_momentum_step": KernelClaim((0.1, 0.01, 0.9, 1.0)),
            "sgd_momentum_adjoint": KernelClaim((0.1, 0.01, 0.9, 1.0)),
            "adam_step": KernelClaim((0.02, 1.3, 0.9, 0.999, 1e-8), nonnegative=("v",)),
            "adam_adjoint": KernelClaim((0.02, 1.3, 0.9, 0.999, 1e-8), nonnegative=("v",)),
        },
    ),
    Claim("GDA", options={"GDA": {"alpha": ALPHA, "decay": DECAY}}, truth=aggregated, exact=True),
    Claim("DI", truth=lambda case, steps, rate: case.unrolled_hypergradient(steps, rate), exact=True),
    Claim(
        "DM",
        truth=lambda case, steps, rate: case.rho * case.x,  # v_0 = 0; what follows is in boat_ops_gm's tests
        lower_truth=last,
    ),
    Claim("RAD", truth=lambda case, steps, rate: case.unrolled_hypergradient(steps, rate), exact=True),
    Claim(
        "RGT",
        options={"RGT": {"last_steps": 3}},
        truth=lambda case, steps, rate: case.unrolled_hypergradient(steps, rate, last=3),
    ),
    Claim(
        "PTT",
        truth=lambda case, steps, rate: case.unrolled_hypergradient(worst(case, steps, rate), rate),
        lower_truth=last,
        exact=lambda said: said["steps"],
    ),
    Claim("IAD", truth=from_the_start, exact=True),
    Claim(
        "FOA",
        chain={"approximate": ["FOA", "IAD"]},
        truth=lambda case, steps, rate: case.rho * case.x + case.upper_gradient(case.iterates(steps, rate, case.x)[-1]),
    ),
    Claim(
        "FD",
        truth=lambda case, steps, rate: (
            case.rho * case.x + rate * case.B.T @ case.upper_gradient(last(case, steps, rate))
        ),
        kernels={"either_side": KernelClaim((0.3,))},
    ),
    Claim(
        "CG",
        options={"CG": {"tolerance": 1e-6}},
        truth=lambda case, steps, rate: case.implicit_hypergradient(last(case, steps, rate)),
        kernels={"cg_step": KernelClaim((0.7,))},
    ),
    Claim(
        "NS",
        options={"NS": {"terms": 4, "damping": 0.5}},
        truth=neumann(4, 0.5),
        kernels={"neumann_term": KernelClaim((0.1, 0.5))},
    ),
    Claim("IGA", truth=outer_product),
    Claim("ES", options={"ES": {"samples": SAMPLES, "sigma": 0.5, "seed": SEED}}, truth=in_drawn_directions),
    Claim(
        "VFO",
        options={"VFO": {"u1": 0.9, "inner_rate": INNER}},
        kernels={"multiplier": MULTIPLIER},
        **dynamic_barrier("gradient", 0.9),
    ),
    Claim(
        "VFO",
        options={"VFO": {"u1": 20.0, "control": "value", "inner_rate": INNER}},
        kernels={"multiplier": replace(MULTIPLIER, numbers=(0.5, 1e6, 1.0))},
        **dynamic_barrier("value", 20.0),
    ),
    Claim(
        "VSO",
        options={"VSO": {"z_steps": 3, "z_rate": INNER, "mu0": 0.3, "theta0": 0.2, "sigma0": 0.5, "slack0": 20.0}},
        kernels={"combination": KernelClaim((0.3, -0.7, 2.0), vectors=3)},
        **barrier(3, 0.3, 0.2, 0.5, 20.0),
    ),
    *(
        Claim(
            "PGDO",
            options={"PGDO": {"gamma_init": gamma, "penalty": kind, "inner_rate": INNER}},
            kernels={"combination": KernelClaim((0.3, -0.7), vectors=2)},
            **penalty(kind, gamma),
        )
        for kind, gamma in (("difference", 4.0), ("gradient", 0.5))
    ),
    Claim(
        "MESO",
        options={"MESO": {"eta": INNER, "gamma": 2.0, "c0": 3.0}},
        kernels={"combination": KernelClaim((0.3, -0.7, 2.0, 1.5), vectors=4)},
        **moreau(2.0, 3.0),
    ),
    Claim(
        "ALTO",
        truth=lambda case, steps, rate: case.rho * case.x,
        lower_truth=last,
    ),
    Claim(
        "GAFFO",
        options={"GAFFO": {"gamma": 0.5, "c0": 3.0}},
        kernels={"combination": KernelClaim((0.3, -0.7, 2.0, 1.5, 1.0, -1.0), vectors=6)},
        **gap(0.5, 3.0),
    ),
]

SOLVERS = list(boat.solvers())
EARLY = {"CG", "PTT", "FOA"}  # may do less than what is declared


class TestOperations(OperationSuite):
    claims = CLAIMS
    test_every_composition = None  # all of them at once, below


def test_every_operation_of_ours_has_a_row():
    ours = {name for names in published_operations().values() for name in names}
    assert {claim.operation for claim in CLAIMS} == ours


@pytest.mark.parametrize("composition", SOLVERS, ids=str)
def test_every_valid_solver_runs_two_steps_at_its_declared_cost(composition):
    taken, declared = check_solver(composition, installed())
    if not EARLY & {o.name for o in composition.operations}:
        assert taken == declared + declared


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.truth], ids=str)
def test_numbers_without_a_compiler_are_the_same(claim, monkeypatch):
    """Without our operators and kernels, Jittor's derivatives and plain operators do the work."""
    monkeypatch.setattr(library, "operators", lambda: None)
    conformance.check_closed_form(claim, installed(), 4, 3, "float64", False)


def test_explain_describes_every_solver(tmp_path, capsys):
    for composition in SOLVERS:
        steps = lower_steps(composition)
        config = {
            "problem": "module:function",
            "solver": composition.as_config()
            | {"lower_steps": steps, "lower_optimizer": {"name": "sgd", "rate": 0.1}, "upper_optimizer": "adam"},
            "run": {"steps": 1},
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert main(["explain", str(tmp_path / "config.json"), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        names = [o.name for o in composition.operations]
        cost = compose(**composition.as_config()).cost(steps)
        assert [stage["name"] for stage in found["stages"]] == names
        assert found["cost"] == {"gradients": cost.gradients, "hvps": cost.hvps}
        assert found["second_derivatives"] == (cost.hvps > 0)
        unrolls = not composition.stateful_operation
        assert found["holds"]["iterates"] == (steps + 1) * unrolls
        assert found["holds"]["graph_steps"] == (None if unrolls else 0)
        assert found["start"] == {"IAD": "upper", "DI": "learned"}.get(
            next(iter({"IAD", "DI"} & set(names)), ""), "warm"
        )
        assert main(["explain", str(tmp_path / "config.json")]) == 0
        said = capsys.readouterr().out
        assert all(stage["formula"] in said for stage in found["stages"])


def test_the_grammar_counts_74_over_our_20():
    ours = {name for names in published_operations().values() for name in names}
    valid = [s for s in SOLVERS if {o.name for o in s.operations} <= ours]
    bases = [s.map[-1].name if s.map else "first-order" for s in valid]
    assert {base: bases.count(base) for base in bases} == {"NGD": 64, "DM": 4, "first-order": 6}


@pytest.mark.parametrize(
    ("chains", "reason"),
    [
        ({"map": ["DM"], "approximate": ["NS"]}, "DM cannot go with NS: it carries its own adjoint"),
        ({"map": ["DM"], "approximate": ["PTT"]}, "DM cannot go with PTT: it carries its own adjoint"),
        ({"map": ["DM"], "approximate": ["ES"]}, "DM cannot go with ES: it carries its own adjoint"),
        (
            {"map": ["DM", "DI"]},
            "DM.* cannot go with|DI cannot go with DM: one learns the start of y, the other goes on",
        ),
        ({"map": ["DI"], "approximate": ["IAD"]}, "one learns the start of y, the other starts y at x"),
        ({"approximate": ["FOA"]}, "FOA needs IAD: without second derivatives nothing but"),
        *(
            ({"approximate": ["RGT", name]}, f"RGT cannot go with {name}: that reads the end point only")
            for name in ("CG", "NS", "FD", "IGA")
        ),
        *(
            ({"approximate": [*chain, "ES"]}, f"ES cannot go with {chain[0]}: it takes function values alone")
            for chain in (["RGT"], ["FOA", "IAD"])
        ),
        ({"approximate": ["RGT", "IAD"]}, "RGT cannot go with IAD: a truncated pullback never reaches the start"),
        (
            {"map": ["DI"], "approximate": ["RGT"]},
            "RGT cannot go with DI: a truncated pullback never reaches the start",
        ),
        *(
            ({"approximate": ["IAD", name]}, f"IAD cannot go with {name}: that does not see the start")
            for name in ("CG", "NS", "FD", "IGA")
        ),
        ({"first_order": "VFO", "approximate": ["RAD"]}, "first_order is a whole solver"),
        ({"approximate": ["RAD", "CG"]}, "one estimator at most"),
        ({"map": ["NGD", "DM"]}, "one base at most"),
    ],
)
def test_invalid_combinations_are_refused_with_a_reason(chains, reason):
    with pytest.raises(boat.CompositionError, match=reason):
        compose(**chains)


def test_every_method_name_is_a_valid_solver():
    aliases = installed().aliases()
    known = "RHG T-RHG HOAG Neumann DARTS MAML FOMAML ES-MAML BDA IAPTT sl-BAMM BOME BVFSM PBGD MEHA"
    assert set(known.split()) <= aliases.keys()
    for name in aliases:
        assert str(compose(method=name)) in {str(s) for s in SOLVERS}


def test_a_pack_that_declares_rad_too_changes_no_solver():
    """Whatever names ours today goes on to do so. The bare name of the operation is an error that names both."""
    ours = installed().find("RAD")
    chains = (boat.Alias("RHG", ("NGD",), ("RAD",)), boat.Alias("MINE", ("NGD",), ("RAD",)))
    registry = installed().adding(
        replace(ours.operation, summary="not ours", aliases=chains), distribution="stranger", version="1.0"
    )
    assert [str(s) for s in boat.solvers(registry)] == [str(s) for s in SOLVERS]
    for composition in boat.solvers(registry):
        assert compose(registry, **composition.as_config()).operations == composition.operations
    case = QuadraticCase()
    settings = {"lower_steps": 2, "lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    for names in ({}, {"map": "NGD"}, {"approximate": "PTT"}, {"method": "RHG"}, {"approximate": "boat-ops-na:RAD"}):
        solver = boat.Solver(case.problem, **names, registry=registry, **settings)
        assert solver.composition.approximate[-1].distribution == "boat-ops-na", names
    for names in ({"method": "MINE"}, {"approximate": "stranger:RAD"}):
        assert compose(registry, **names).approximate[-1].distribution == "stranger"
    with pytest.raises(boat.CompositionError, match="declared twice: write boat-ops-na:RAD or stranger:RAD"):
        compose(registry, approximate="RAD")


def test_published_list_agrees_with_the_packs():
    ours = {d: sorted(names) for d, names in published_operations().items()}
    brought: dict[str, list[str]] = {}
    for entry in installed().entries:
        brought.setdefault(entry.distribution, []).append(entry.name)
    assert ours == {d: sorted(names) for d, names in brought.items() if d in ours}


def test_versions_move_together():
    versions = {importlib.metadata.version(d) for d in ("boat-core", *published_operations(), "boat-bilevel")}
    assert versions == {boat.__version__}


def test_every_pack_uses_public_names_only():
    import ast
    from pathlib import Path

    root = Path(__file__).parent.parent
    for path in sorted([*root.glob("boat_ops_*/src/**/*.py"), *root.glob("plugins_example/src/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("boat_core"):
                assert node.module in ("boat_core", "boat_core.testing"), f"{path}: {node.module}"
                assert {a.name for a in node.names} <= set(boat.__all__), path
