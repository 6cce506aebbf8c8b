"""The conformance kit: what every operation has to hold, of whichever pack.

An author's test is a class with a table, one row for each operation:

    from boat_core.testing import Claim, OperationSuite

    class TestMine(OperationSuite):
        claims = [Claim("MINE", truth=lambda case, steps, rate: case.implicit_hypergradient(case.y), exact=False)]

`truth` is the closed form on a random quadratic problem, in numpy; `exact` claims the derivative of F(x, y_T(x))
itself, which is then held to central differences, through momentum and Adam too. Everything else is asked of all alike.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jittor as jt
import numpy as np
import optree
import pytest

from ..autodiff import arrays
from ..autodiff.derivatives import counting
from ..composition import Composition, compose, enumerate_solvers
from ..errors import NonFiniteError, OptionError
from ..operation import Cost
from ..optimizers.adam import adam
from ..optimizers.base import Optimizer
from ..optimizers.sgd import sgd
from ..problem import Problem
from ..registry import Registry, registry
from ..runtime import KernelWatch
from ..solver import Solver
from .differences import central_differences, upper_value
from .network import network_problem
from .quadratic import QuadraticCase
from .values import assert_close, flat

STEPS, RATE = 4, 0.1
SIZES = ((4, 3), (1, 1), (3, 6))
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: sgd(RATE),
    "momentum": lambda: sgd(RATE, momentum=0.9, weight_decay=0.1),
    "adam": lambda: adam(RATE),
}


@dataclass(frozen=True)
class KernelClaim:
    """A kernel of an operation computes what plain operators do.

    kernel, plain: the same function of arrays, by the kernel and without it; they return one array or a tuple.
    arguments: `rng -> arrays`, numpy in float64; they are tried in float32 and float64.
    """

    kernel: Callable[..., Any]
    plain: Callable[..., Any]
    arguments: Callable[[np.random.Generator], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Claim:
    """One row of the table: an operation and what its author claims of it.

    Args:
        operation: its name.
        options: options in these tests, by operation.
        chain: what stands around it, as `Solver` takes it (`map`, `approximate`); by default its own stage alone.
        truth: `(case, steps, rate) -> array`: the hypergradient (of a first-order method the direction for x) on a
            `QuadraticCase` with plain SGD, flat. Where y starts at x, it starts at `case.x`.
        lower_truth: likewise y after the step.
        exact: the hypergradient is the derivative of F(x, y_T(x)); for a selector that cuts the trajectory, of
            F(x, y_T̄(x)), where `exact` is a function that finds T̄ in its report.
        kernels: each kernel that the operation declares.
    """

    operation: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chain: Mapping[str, Any] | None = None
    truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    lower_truth: Callable[[QuadraticCase, int, float], np.ndarray] | None = None
    exact: bool | Callable[[Mapping[str, Any]], int] = False
    kernels: Mapping[str, KernelClaim] = field(default_factory=dict)

    def composition(self, packs: Registry) -> Composition:
        """The solver in which the operation is tried."""
        stage = packs.find(self.operation).operation.stage
        alone = {"first_order": self.operation} if stage == "first-order" else {stage: [self.operation]}
        return compose(packs, **(alone if self.chain is None else dict(self.chain)), options=self.options)

    def __str__(self) -> str:
        return self.operation + "".join(
            f"-{value}" for options in self.options.values() for value in options.values() if isinstance(value, str)
        )


def lower_steps(composition: Composition) -> int:
    """A few, or as many as the solver insists on."""
    only = [o.operation.lower_steps for o in composition.operations if o.operation.lower_steps]
    return only[0] if only else STEPS


def make_solver(composition: Composition, problem: Problem, packs: Registry, **more: Any) -> Solver:
    """A solver of that composition with plain SGD on both levels."""
    settings: dict[str, Any] = {
        "lower_optimizer": sgd(RATE),
        "upper_optimizer": sgd(RATE),
        "lower_steps": lower_steps(composition),
    }
    given = {name: dataclasses.asdict(o) for name, o in composition.options.items()}
    options = {name: {k: v for k, v in values.items() if v is not None} for name, values in given.items()}
    for entry in composition.operations:
        for name, claimed in entry.operation.claims.items():
            options[name] = {k: v for k, v in options.get(name, {}).items() if k not in claimed}
    options = {name: values for name, values in options.items() if values}
    return Solver(problem, **composition.as_config(), registry=packs, options=options, **(settings | more))


def quadratic_for(composition: Composition, n: int, m: int, dtype: str, nested: bool = False) -> QuadraticCase:
    """A random quadratic problem; square where y starts at x."""
    return QuadraticCase(seed=n, n=m if composition.start_rule(None) == "upper" else n, m=m, dtype=dtype, nested=nested)


def network_for(composition: Composition) -> tuple[Problem, tuple[Any, Any]]:
    """The small network problem that suits where y starts, and its batches."""
    problem = network_problem(upper="start" if composition.start_rule(None) == "upper" else "weights")
    assert problem.batches is not None
    batches: Any = problem.batches(0, None)
    return problem, batches


def check_closed_form(claim: Claim, packs: Registry, n: int, m: int, dtype: str, nested: bool) -> None:
    """Hypergradient and new y are those of the closed form."""
    composition = claim.composition(packs)
    case = quadratic_for(composition, n, m, dtype, nested)
    solver, tolerance = make_solver(composition, case.problem, packs), TOLERANCE[dtype]
    if claim.truth:
        assert_close(solver.hypergradient().upper, claim.truth(case, solver.lower_steps, RATE), tolerance)
    if claim.lower_truth:
        solver.step()
        assert_close(solver.lower, claim.lower_truth(case, solver.lower_steps, RATE), tolerance)


def check_central_differences(claim: Claim, packs: Registry, optimizer: Optimizer) -> None:
    """The hypergradient is the derivative of what runs, on a small network."""
    composition = claim.composition(packs)
    problem, batches = network_for(composition)
    solver = make_solver(composition, problem, packs, lower_optimizer=optimizer)
    steps = solver.lower_steps
    if callable(claim.exact):
        steps = claim.exact(solver.hypergradient(*batches).report.operations[claim.operation])

    def value(x: Any) -> float:
        # Selectors are left out: what they leave of the trajectory is all that there is.
        names = [o.name for o in composition.map]
        start = composition.start_rule(None)
        settings: dict[str, Any] = {
            "map": names,
            "options": {name: claim.options[name] for name in names if name in claim.options},
            "start": start if start == "upper" else None,
            "lower_steps": steps,
            "lower_optimizer": optimizer,
            "upper_optimizer": sgd(RATE),
            "registry": packs,
        }
        return upper_value(problem, x, batches, **settings)

    truth = central_differences(value, problem.upper)
    assert_close(solver.hypergradient(*batches).upper, truth, TOLERANCE["float64"])


def check_solver(composition: Composition, packs: Registry) -> tuple[Cost, Cost]:
    """It runs two steps on a network at the declared cost at most, reports in JSON, and leaves no graph behind.

    Returns the cost of the two steps and the cost declared for one.
    """
    problem, batches = network_for(composition)
    solver = make_solver(composition, problem, packs)
    solver.hypergradient(*batches)
    alive = jt.liveness_info()["lived_ops"]
    with counting() as counter:
        results = [solver.step(*batches), solver.step(*batches)]
    assert jt.liveness_info()["lived_ops"] <= alive, "a graph outlives its step"
    declared = solver.composition.cost(solver.lower_steps)
    assert counter.gradients <= 2 * declared.gradients, "more gradients than declared"
    assert counter.hvps <= 2 * declared.hvps, "more products with second derivatives than declared"
    assert (counter.hvps > 0) == (declared.hvps > 0), "second derivatives are declared, and none was taken"
    for result in results:
        try:
            json.dumps(result.report.as_dict(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the report is not JSON-ready: {error}") from None
    assert np.isfinite(flat(solver.upper)).all()
    return Cost(counter.gradients, counter.hvps), declared


def check_purity(claim: Claim, packs: Registry) -> None:
    """Arrays given are never changed: variables and batches, numpy's and Jittor's."""
    composition = claim.composition(packs)
    problem, batches = network_for(composition)
    for convert in (np.array, arrays.as_array):
        upper, lower, given = (_map(convert, tree) for tree in (problem.upper, problem.lower, batches))
        before = [arrays.to_numpy(leaf).copy() for leaf in _leaves((upper, lower, given))]
        solver = make_solver(composition, replace(problem, upper=upper, lower=lower), packs)
        solver.step(*given), solver.step(*given)
        after = _leaves((upper, lower, given))
        assert all(np.array_equal(a, arrays.to_numpy(b)) for a, b in zip(before, after)), "an array given was changed"


def check_determinism(claim: Claim, packs: Registry) -> None:
    """The same steps give the same bits, and a hypergradient that was only looked at changes nothing."""
    composition = claim.composition(packs)
    problem, batches = network_for(composition)
    ends = []
    for looks in (False, True):
        solver = make_solver(composition, problem, packs)
        for _ in range(2):
            if looks:
                solver.hypergradient(*batches)
            solver.step(*batches)
        ends.append(_leaves(solver.state))
    assert all(np.array_equal(a, b) for a, b in zip(*ends)), "two runs of the same steps differ"


def check_nan(claim: Claim, packs: Registry) -> None:
    """A NaN that comes in is an error, and so is one that arises inside; after either the solver is as it was."""
    composition = claim.composition(packs)
    problem, (lower, upper) = network_for(composition)
    solver = make_solver(composition, problem, packs)
    before = _leaves(solver.state)
    bad = {**upper, "targets": np.full_like(upper["targets"], np.nan)}
    with pytest.raises(NonFiniteError, match="upper_batch"):
        solver.step(lower, bad)
    huge = {**upper, "targets": np.full_like(upper["targets"], 1e200)}
    with pytest.raises(NonFiniteError):
        solver.step(lower, huge)
    after = _leaves(solver.state)
    assert all(np.array_equal(a, b) for a, b in zip(before, after)), "a step that failed changed the solver"


def check_options(claim: Claim, packs: Registry) -> None:
    """Values out of a declared range, of a wrong type and of an unknown name are refused by name."""
    operation = packs.find(claim.operation).operation
    for name, value in _wrong_values(operation.options):
        options = {**claim.options, claim.operation: {**claim.options.get(claim.operation, {}), name: value}}
        with pytest.raises(OptionError, match=rf"options\.{claim.operation}.*{name}"):
            replace(claim, options=options).composition(packs)


def _wrong_values(options: type) -> Iterator[tuple[str, Any]]:
    yield "no_such_option", 1
    for f in dataclasses.fields(options):
        yield f.name, [object()]
        bounds = f.metadata.get("bounds", {})
        for kind, bound in bounds.items():
            yield f.name, {"ge": bound - 1, "gt": bound, "le": bound + 1, "lt": bound}[kind]
        if bounds:
            yield f.name, math.nan
        if f.metadata.get("choices"):
            yield f.name, "no such choice"


def check_recompilation(claim: Claim, packs: Registry) -> None:
    """The second outer step compiles nothing, nor does another solver with other numbers."""
    composition = claim.composition(packs)
    problem, batches = network_for(composition)
    solver = make_solver(composition, problem, packs)
    solver.step(*batches), solver.step(*batches)
    watch = KernelWatch()
    solver.step(*batches)
    make_solver(composition, problem, packs).step(*_map(lambda a: a + 1, batches))
    watch.poll()
    assert watch.names == [], f"compiled again: {watch.names}"


def poisoned(problem: Problem) -> Problem:
    """The same problem, all of whose second derivatives are NaN: |u|^1.5 has none at u = 0, where u always is."""

    def poison(x: Any, y: Any) -> Any:
        total = sum(leaf.sum() for leaf in _leaves((x, y)))
        return jt.abs(total - total.detach()) ** 1.5

    return replace(
        problem,
        upper_objective=lambda x, y, batch: problem.upper_objective(x, y, batch) + poison(x, y),
        lower_objective=lambda x, y, batch: problem.lower_objective(x, y, batch) + poison(x, y),
    )


def check_first_order(claim: Claim, packs: Registry) -> None:
    """Where no product with second derivatives is declared none is taken; where one is declared, one is."""
    composition = claim.composition(packs)
    problem, batches = network_for(composition)
    solver = make_solver(composition, poisoned(problem), packs)
    if solver.composition.second_order(solver.lower_steps):
        with pytest.raises(NonFiniteError):
            solver.step(*batches), solver.step(*batches)
        return
    try:
        solver.step(*batches), solver.step(*batches)
    except NonFiniteError as error:
        raise AssertionError(f"a second derivative is taken, and none is declared: {error}") from None


def check_kernels(claim: Claim, packs: Registry, device: str) -> None:
    """Each kernel declared is claimed, and computes what plain operators do."""
    declared = packs.find(claim.operation).operation.kernels
    assert set(claim.kernels) == set(declared), f"kernels declared {declared}, claimed {tuple(claim.kernels)}"
    if device == "cuda" and not jt.has_cuda:
        pytest.skip("no CUDA device here")
    if device == "cuda" and not jt.flags.use_cuda:
        pytest.skip("CUDA is not in use: run with BOAT_DEVICE=cuda or run.device: cuda")
    for name, kernel in claim.kernels.items():
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
            given = [arrays.as_array(a.astype(dtype)) for a in kernel.arguments(np.random.default_rng(0))]
            ours, plain = (_leaves(f(*given)) for f in (kernel.kernel, kernel.plain))
            assert len(ours) == len(plain), f"{name}: another number of results"
            for a, b in zip(ours, plain):
                assert_close(a, b, tolerance)


class OperationSuite:
    """Inherit, and fill `claims`; pytest runs every check for every row. `packs` says where operations are found."""

    claims: Sequence[Claim] = ()

    @property
    def packs(self) -> Registry:
        """The registry in which operations are looked up: what is installed."""
        return registry()

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Give each test the rows to which it applies."""
        chosen: list[Any] = list(self.claims)
        if metafunc.function.__name__ == "test_closed_form":
            chosen = [c for c in chosen if c.truth or c.lower_truth]
        if metafunc.function.__name__ == "test_central_differences":
            chosen = [c for c in chosen if c.exact]
        if metafunc.function.__name__ == "test_kernels":
            chosen = [c for c in chosen if c.kernels or self.packs.find(c.operation).operation.kernels]
        if "claim" in metafunc.fixturenames:
            nothing = pytest.param(None, marks=pytest.mark.skip(reason="no row claims it"))
            metafunc.parametrize("claim", chosen or [nothing], ids=str)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize(("n", "m", "nested"), [*((n, m, False) for n, m in SIZES), (4, 3, True)])
    def test_closed_form(self, claim: Claim, n: int, m: int, nested: bool, dtype: str) -> None:
        check_closed_form(claim, self.packs, n, m, dtype, nested)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_central_differences(self, claim: Claim, optimizer: str) -> None:
        check_central_differences(claim, self.packs, OPTIMIZERS[optimizer]())

    def test_every_composition(self, claim: Claim) -> None:
        solvers = [s for s in enumerate_solvers(self.packs) if claim.operation in {o.name for o in s.operations}]
        assert solvers, f"no valid solver has {claim.operation}"
        for composition in solvers:
            check_solver(_with_defaults(composition, self.packs), self.packs)

    def test_purity(self, claim: Claim) -> None:
        check_purity(claim, self.packs)

    def test_determinism(self, claim: Claim) -> None:
        check_determinism(claim, self.packs)

    def test_nan(self, claim: Claim) -> None:
        check_nan(claim, self.packs)

    def test_options(self, claim: Claim) -> None:
        check_options(claim, self.packs)

    def test_nothing_is_compiled_again(self, claim: Claim) -> None:
        check_recompilation(claim, self.packs)

    def test_second_derivatives_are_taken_as_declared(self, claim: Claim) -> None:
        check_first_order(claim, self.packs)

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_kernels(self, claim: Claim, device: str) -> None:
        check_kernels(claim, self.packs, device)


def _leaves(tree: Any) -> list[Any]:
    return optree.tree_leaves(tree)


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    return optree.tree_map(function, tree)


def _with_defaults(composition: Composition, packs: Registry) -> Composition:
    return compose(packs, **composition.as_config())
