"""The properties that every operation must have, whichever pack it belongs to: one function per property."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jittor as jt
import numpy as np
import optree
import pytest

from ..autodiff import arrays
from ..autodiff.derivatives import counting
from ..autodiff.kernels import Kernel
from ..autodiff.operators import library
from ..autodiff.vectors import Vector
from ..bilevel.problem import Problem
from ..declare.operation import Cost
from ..errors import NonFiniteError, OperationError, OptionError
from ..optimizers.base import Optimizer
from ..optimizers.sgd import sgd
from ..plugins.composition import Composition
from ..plugins.registry import Registry
from ..runtime import KernelWatch
from .boundary import check_boundary
from .claims import RATE, TOLERANCE, Claim, KernelClaim, make_solver, network_for, quadratic_for
from .differences import central_differences, upper_value
from .values import assert_close, flat


def check_closed_form(claim: Claim, registry: Registry, n: int, m: int, dtype: str, nested: bool) -> None:
    """Check the hypergradient and the new y against the closed forms of the claim."""
    composition = claim.composition(registry)
    case = quadratic_for(composition, n, m, dtype, nested)
    solver, tolerance = claim.solver(case.problem, registry), TOLERANCE[dtype]
    if claim.truth:
        assert_close(solver.hypergradient().upper, claim.truth(case, solver.lower_steps, RATE), tolerance)
    if claim.lower_truth:
        solver.step()
        assert_close(solver.lower, claim.lower_truth(case, solver.lower_steps, RATE), tolerance)


def check_central_differences(claim: Claim, registry: Registry, optimizer: Optimizer) -> None:
    """Check the hypergradient against central differences of the whole solver, on a small network."""
    composition = claim.composition(registry)
    problem, batches = network_for(composition)
    solver = claim.solver(problem, registry, lower_optimizer=optimizer)
    steps = solver.lower_steps
    if callable(claim.exact):
        steps = claim.exact(solver.hypergradient(*batches).report.operations[claim.operation])

    # The reference solver has no selectors: its trajectory is exactly the part that the selectors leave.
    names = [o.name for o in composition.map]
    start = composition.start_rule(None)
    settings: dict[str, Any] = {
        "map": names,
        "options": {name: claim.options[name] for name in names if name in claim.options},
        "start": start if start == "upper" else None,
        "lower_steps": steps,
        "lower_optimizer": optimizer,
        "upper_optimizer": sgd(RATE),
        "registry": registry,
    }
    truth = central_differences(lambda x: upper_value(problem, x, batches, **settings), problem.upper)
    assert_close(solver.hypergradient(*batches).upper, truth, TOLERANCE["float64"])


def check_solver(
    composition: Composition, registry: Registry, options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Cost, Cost]:
    """Check that a solver runs two steps within its declared cost, reports in JSON, and leaves no graph behind.

    Args:
        composition: The operations of the solver.
        registry: The registry that holds them.
        options: The options of the operations, by name.

    Returns:
        The cost of the two steps, and the cost declared for one step.

    Raises:
        AssertionError: The solver breaks one of these rules.
    """
    problem, batches = network_for(composition)
    solver = make_solver(composition, problem, registry, options=options)
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


def check_purity(claim: Claim, registry: Registry) -> None:
    """Check that a step changes none of the arrays that it receives: variables and batches, of numpy and of Jittor."""
    problem, batches = network_for(claim.composition(registry))
    for convert in (np.array, arrays.as_array):
        upper, lower, own_batches = (_map(convert, tree) for tree in (problem.upper, problem.lower, batches))
        before = [arrays.to_numpy(leaf).copy() for leaf in _leaves((upper, lower, own_batches))]
        solver = claim.solver(replace(problem, upper=upper, lower=lower), registry)
        try:
            solver.step(*own_batches), solver.step(*own_batches)
        except OperationError as error:  # the solver itself checks the first step, and names the culprit
            raise AssertionError(str(error)) from None
        after = _leaves((upper, lower, own_batches))
        assert all(np.array_equal(a, arrays.to_numpy(b)) for a, b in zip(before, after)), "a step changed its input"


def check_determinism(claim: Claim, registry: Registry) -> None:
    """Check that equal steps give equal bits, and that computing a hypergradient between steps changes nothing."""
    problem, batches = network_for(claim.composition(registry))
    ends = []
    for looks in (False, True):
        solver = claim.solver(problem, registry)
        for _ in range(2):
            if looks:
                solver.hypergradient(*batches)
            solver.step(*batches)
        ends.append(_leaves(solver.state))
    assert all(np.array_equal(a, b) for a, b in zip(*ends)), "two runs of the same steps differ"


def check_nan(claim: Claim, registry: Registry) -> None:
    """Check that a NaN in the input and a NaN from the computation are errors that leave the solver unchanged."""
    problem, (lower, upper) = network_for(claim.composition(registry))
    solver = claim.solver(problem, registry)
    before = _leaves(solver.state)
    bad = {**upper, "targets": np.full_like(upper["targets"], np.nan)}
    with pytest.raises(NonFiniteError, match="upper_batch"):
        solver.step(lower, bad)
    huge = {**upper, "targets": np.full_like(upper["targets"], 1e200)}
    with pytest.raises(NonFiniteError):
        solver.step(lower, huge)
    after = _leaves(solver.state)
    assert all(np.array_equal(a, b) for a, b in zip(before, after)), "a step that failed changed the solver"


def check_options(claim: Claim, registry: Registry) -> None:
    """Check that the error about an unknown option, a wrong type or a value out of range names the option."""
    operation = registry.find(claim.operation).operation
    for name, value in _wrong_values(operation.options):
        options = {**claim.options, claim.operation: {**claim.options.get(claim.operation, {}), name: value}}
        with pytest.raises(OptionError, match=rf"options\.{claim.operation}.*{name}"):
            replace(claim, options=options).composition(registry)


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


def check_recompilation(claim: Claim, registry: Registry) -> None:
    """Check that later outer steps compile no kernel, nor does a solver with other numbers and more lower steps."""
    composition = claim.composition(registry)
    problem, batches = network_for(composition)
    solver = claim.solver(problem, registry)
    solver.step(*batches), solver.step(*batches)
    watch = KernelWatch()
    solver.step(*batches)
    fixed = any(entry.operation.lower_steps for entry in composition.operations)
    longer = claim.solver(problem, registry, lower_steps=solver.lower_steps + (0 if fixed else 3))
    longer.step(*_map(lambda a: a + 1, batches))
    watch.poll()
    assert watch.names == [], f"compiled again: {watch.names}"


def poisoned(problem: Problem) -> Problem:
    """Return the problem with a term added whose second derivative is NaN: |u|^1.5 at u = 0, where u always is."""

    def poison(x: Any, y: Any) -> Any:
        total = sum(leaf.sum() for leaf in _leaves((x, y)))
        return jt.abs(total - total.detach()) ** 1.5

    return replace(
        problem,
        upper_objective=lambda x, y, batch: problem.upper_objective(x, y, batch) + poison(x, y),
        lower_objective=lambda x, y, batch: problem.lower_objective(x, y, batch) + poison(x, y),
    )


def check_first_order(claim: Claim, registry: Registry) -> None:
    """Check that the operation takes second derivatives if, and only if, its cost declares them."""
    problem, batches = network_for(claim.composition(registry))
    solver = claim.solver(poisoned(problem), registry)
    if solver.composition.second_order(solver.lower_steps):
        with pytest.raises(NonFiniteError):
            solver.step(*batches), solver.step(*batches)
        return
    try:
        solver.step(*batches), solver.step(*batches)
    except NonFiniteError as error:
        raise AssertionError(f"a second derivative is taken, and none is declared: {error}") from None


#: The checks that need no claim of the author.
UNCLAIMED = (
    check_purity,
    check_determinism,
    check_nan,
    check_options,
    check_recompilation,
    check_first_order,
    check_boundary,
)

#: Sizes of leaves: enough for several threads, one that no vector width divides, and a single entry.
LEAVES = ((270_001,), (3, 5), (1,))


def check_kernels(claim: Claim, registry: Registry, device: str) -> None:
    """Check that the author claims each declared kernel, and that it agrees with its plain operators on the device."""
    declared = {kernel.name: kernel for kernel in registry.find(claim.operation).operation.kernels}
    assert set(claim.kernels) == set(declared), f"kernels declared {list(declared)}, claimed {list(claim.kernels)}"
    if device == "cuda" and not jt.has_cuda:
        pytest.skip("no CUDA device here")
    for name, kernel in declared.items():
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
            with jt.flag_scope(use_cuda=int(device == "cuda")):
                check_kernel(kernel, claim.kernels[name], dtype, tolerance)
                if dtype == "float32" and kernel.results:
                    check_long_sums(kernel, claim.kernels[name])


def check_kernel(kernel: Kernel, claim: KernelClaim, dtype: str, tolerance: float) -> None:
    """Check a kernel against its plain operators, on vectors with some zero entries."""
    if library.operators() is None:
        pytest.skip("there are no compiled kernels here")
    assert kernel.available, f"kernel {kernel.name} of {kernel.source} is not available"
    rng = np.random.default_rng(0)
    values = []
    count = len(kernel.parameters) - len(claim.numbers) if claim.vectors is None else claim.vectors
    for place in range(count):
        leaves = [rng.normal(size=shape) * rng.integers(0, 2, size=shape) for shape in LEAVES]
        if kernel.parameters[min(place, len(kernel.parameters) - 1)] in claim.nonnegative:
            leaves = [np.abs(leaf) for leaf in leaves]
        values.append([leaf.astype(dtype) for leaf in leaves])
    vectors = [Vector.of(leaves, kernel.name) for leaves in values]
    plain = kernel.reference(*vectors, *claim.numbers)
    # Jittor adds up float32 numbers one after the other; for many the kernel is the more accurate of the two.
    doubles = [Vector.of([leaf.astype("float64") for leaf in leaves], kernel.name) for leaves in values]
    exact = kernel.reference(*doubles, *claim.numbers)
    ours = kernel(*vectors, *claim.numbers)
    assert len(ours) == len(plain), f"{kernel.name}: expected {len(plain)} results (got {len(ours)})"
    for a, b, truth in zip(ours, plain, exact):
        if isinstance(b, Vector):
            a.check_like(b, kernel.name)
            for leaf, expected in zip(a.leaves, truth.leaves):
                assert_close(arrays.to_numpy(leaf), arrays.to_numpy(expected), tolerance)
        else:
            assert_close(np.array([a]), np.array([float(truth)]), tolerance)


def check_long_sums(kernel: Kernel, claim: KernelClaim, size: int = 10**6) -> None:
    """Check that a kernel adds up many equal float32 numbers to their precision, where each rounding goes one way."""
    if library.operators() is None:
        pytest.skip("there are no compiled kernels here")
    results = []
    for dtype in ("float32", "float64"):
        count = len(kernel.parameters) - len(claim.numbers) if claim.vectors is None else claim.vectors
        entries = (np.full(size, 0.1 * (place + 1), "float32").astype(dtype) for place in range(count))
        outputs = kernel(*(Vector.of([one], kernel.name) for one in entries), *claim.numbers)
        results.append(np.array([value for value in outputs if not isinstance(value, Vector)]))
    assert_close(results[0], results[1], 2e-6)


def _leaves(tree: Any) -> list[Any]:
    return optree.tree_leaves(tree)


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    return optree.tree_map(function, tree)
