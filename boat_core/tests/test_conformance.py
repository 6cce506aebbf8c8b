"""The conformance kit on a sound toy operation, and on one variant with each fault that the kit must find."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jittor as jt
import numpy as np
import pytest

from boat_core import Cost, Hypergradient, Operation, kernel, option
from boat_core.testing import Claim, KernelClaim, claims, conformance, network_problem

ETA = 0.3


@kernel(Path("absent.cu"), like=("a",))
def UNCLAIMED(a):
    """a"""
    return (a,)


@dataclass(frozen=True)
class Options:
    eta: float = option(ETA, gt=0, doc="factor of the mixed product")


def mixed(trajectory, options):
    end = trajectory.end
    return Hypergradient(end.direct - options.eta * end.mixed_product(end.upper_gradient), report={"eta": options.eta})


SOUND = Operation(
    name="MIXED",
    stage="approximate",
    role="estimator",
    summary="s",
    formula="f",
    source="t",
    apply=mixed,
    options=Options,
    tags=("end-point",),
    cost=lambda options, work: Cost(gradients=2, hvps=1),
)
CLAIM = Claim(
    "MIXED",
    truth=lambda case, steps, rate: (
        case.rho * case.x + ETA * case.B.T @ case.upper_gradient(case.iterates(steps, rate)[-1])
    ),
)


@pytest.fixture
def packs(toys):
    def having(operation):
        others = tuple(entry for entry in toys.entries if entry.name != operation.name)
        return replace(toys, entries=others).adding(operation, distribution="toys", version="1.0")

    return having


def closed_form(claim, registry):
    conformance.check_closed_form(claim, registry, 4, 3, "float64", False)


def central_differences(claim, registry):
    conformance.check_central_differences(replace(claim, exact=True), registry, claims.OPTIMIZERS["sgd"]())


def cost(claim, registry):
    conformance.check_solver(claim.composition(registry), registry)


def cpu_kernels(claim, registry):
    conformance.check_kernels(claim, registry, "cpu")


CHECKS = [
    closed_form,
    cost,
    conformance.check_purity,
    conformance.check_determinism,
    conformance.check_nan,
    conformance.check_options,
    conformance.check_recompilation,
    conformance.check_first_order,
    conformance.check_boundary,
    cpu_kernels,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_operation_passes(packs, check):
    check(CLAIM, packs(SOUND))


def half(trajectory, options):
    h = mixed(trajectory, options)
    return replace(h, x=0.5 * h.x)


def impure(trajectory, options):
    batch = trajectory.bilevel.upper_batch
    if isinstance(batch, dict):
        batch["targets"].assign(batch["targets"] + 1)
    return mixed(trajectory, options)


COUNTER = itertools.count()


def restless(trajectory, options):
    return replace(mixed(trajectory, options), x=(1 + 1e-6 * next(COUNTER)) * trajectory.end.direct)


def repairing(trajectory, options):
    h = mixed(trajectory, options)
    clean = h.x.map(lambda leaf: jt.array(np.nan_to_num(leaf.numpy(), posinf=1.0), dtype=str(leaf.dtype)))
    return replace(h, x=clean)


def compiling(trajectory, options):
    # A number written into the source of a kernel: a new kernel each time.
    extra = jt.code([1], "float64", cpu_src=f"@out(0) = {time.time_ns()} * 0.0;")
    return replace(mixed(trajectory, options), x=trajectory.end.direct.map(lambda leaf: leaf + extra))


def saying(value):
    return lambda trajectory, options: replace(mixed(trajectory, options), report={"value": value})


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        ({"apply": half}, closed_form, "relative error"),
        ({}, central_differences, "relative error"),  # it is not exact
        ({"apply": impure}, conformance.check_purity, "changed an array that it was given"),
        ({"apply": restless}, conformance.check_determinism, "two runs of the same steps differ"),
        ({"apply": compiling}, conformance.check_recompilation, "compiled again"),
        ({"cost": lambda options, work: Cost(gradients=1, hvps=1)}, cost, "more gradients than declared"),
        ({"cost": lambda options, work: Cost(gradients=2)}, cost, "more products with second derivatives"),
        ({"cost": lambda options, work: Cost(gradients=2)}, conformance.check_first_order, "none is declared"),
        ({"apply": saying(math.nan)}, cost, "not JSON-ready"),
        ({"apply": saying(np.ones(1))}, cost, "not JSON-ready"),
        ({"tags": ()}, conformance.check_boundary, r"held at the boundary of project_lower \(bounds\) is not that of"),
        ({"kernels": (UNCLAIMED,)}, cpu_kernels, "kernels declared"),
    ],
)
def test_faulty_operation_fails(packs, fault, check, message):
    with pytest.raises(AssertionError, match=message):
        check(CLAIM, packs(replace(SOUND, **fault)))


def test_operation_that_hides_a_nan_fails(packs):
    """An estimator that turns NaN into zeros hides the NaN of the batch. The losses show it; x does not."""
    solver = claims.make_solver(
        CLAIM.composition(packs(replace(SOUND, apply=repairing))),
        conformance.poisoned(network_problem()),
        packs(replace(SOUND, apply=repairing)),
    )
    solver.hypergradient(*network_problem().batches(0, None))
    with pytest.raises(pytest.fail.Exception):
        conformance.check_first_order(CLAIM, packs(replace(SOUND, apply=repairing)))


SOURCE = """
#include "boat_kernel.h"
template <class T> void twice(const boat::Call<T>& call) {
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) { leaf.out(0)[i] = T(2) * leaf.in(0)[i]; });
}
BOAT_KERNEL(twice)
"""


@pytest.mark.parametrize(("factor", "right"), [(2.0, True), (2.1, False)])
def test_kernel_that_differs_from_its_plain_operators_fails(packs, tmp_path, factor, right):
    (tmp_path / "twice.cu").write_text(SOURCE)

    @kernel(tmp_path / "twice.cu", like=("a",))
    def twice(a):
        """2a"""
        return (factor * a,)

    registry = packs(replace(SOUND, kernels=(twice,)))
    claim = replace(CLAIM, kernels={"twice": KernelClaim()})
    if right:
        cpu_kernels(claim, registry)
    else:
        with pytest.raises(AssertionError):
            cpu_kernels(claim, registry)


def test_cuda_is_skipped_with_a_reason(packs, monkeypatch):
    monkeypatch.setattr(jt, "has_cuda", 0)
    with pytest.raises(pytest.skip.Exception, match="CUDA"):
        conformance.check_kernels(CLAIM, packs(SOUND), "cuda")
