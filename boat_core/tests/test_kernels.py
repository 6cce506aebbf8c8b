"""Packs' kernels: used where they can be, plain operators elsewhere, and never where a derivative is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import boat_core as boat
from boat_core.autodiff.evaluation import evaluating
from boat_core.autodiff.operators import library
from boat_core.testing import assert_close

SOURCE = """
#include "boat_kernel.h"
// in: a b  out: a  numbers: factor  results: the sum of what comes out, and what came before it
template <class T> void marked(const boat::Call<T>& call) {
    const T factor = call.number(0);
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        leaf.out(0)[i] = leaf.in(0)[i] + factor * leaf.in(1)[i];
    });
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) { return boat::Sums<T, 1>{{leaf.out(0)[i]}}; });
    call.once([=] BOAT_HD(double* result) { result[1] = 1 / result[0]; });
}
BOAT_KERNEL(marked)
"""


def marked(a, b, factor):
    """a + factor·b; Σ, 1/Σ"""
    total = a + factor * b
    value = sum(float(leaf.numpy().sum()) for leaf in total.leaves)
    return total, value, 1 / value


@pytest.fixture
def spied(tmp_path):
    """The kernel, and how often its plain operators were called."""
    calls = []

    def plain(a, b, factor):
        """As above."""
        calls.append(factor)
        return marked(a, b, factor)

    plain.__name__ = "marked"

    def make(text=SOURCE):
        source = tmp_path / f"marked{len(list(tmp_path.iterdir()))}.cu"
        source.write_text(text)
        return boat.kernel(source, like=("a",), results=2)(plain)

    return make, calls


def vectors(dtype="float64", *more):
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (270_001,), (0,), (1,)]
    made = [[rng.normal(size=shape).astype(kind) for shape, kind in zip(shapes, (dtype, *more, *[dtype] * 3))]]
    return [boat.Vector.of(made[0], "v"), boat.Vector.of([leaf[::-1].copy() for leaf in made[0]], "v")]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_a_kernel_takes_the_place_of_plain_operators(spied, dtype, tolerance):
    make, calls = spied
    kernel, (a, b) = make(), vectors(dtype)
    found, total, inverse = kernel(a, b, 0.3)
    assert not calls
    truth, *numbers = marked(a, b, 0.3)
    assert_close(found, truth, tolerance)
    assert_close(np.array([total, inverse]), np.array(numbers), 1e3 * tolerance)
    found.check_like(a, "found")


def test_a_kernel_may_return_numbers_alone(tmp_path):
    source = tmp_path / "product.cu"
    source.write_text(
        """
#include "boat_kernel.h"
template <class T> void product(const boat::Call<T>& call) {
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        return boat::Sums<T, 1>{{leaf.in(0)[i] * leaf.in(1)[i]}};
    });
}
BOAT_KERNEL(product)
"""
    )

    def product(a, b):
        """⟨a, b⟩"""
        pytest.fail("plain operators did it")

    a, b = vectors()
    kernel = boat.kernel(source, like=(), results=1)(product)
    (found,) = kernel(a, b)
    assert found == pytest.approx(boat.dot(a, b), rel=1e-12)
    # Every addition rounds to the same side if the numbers are equal.
    tenths = boat.Vector.of(np.full(10**6, 0.1, "float32"), "tenths")
    exact = 10**6 * float(np.float32(0.1)) ** 2
    assert kernel(tenths, tenths)[0] == pytest.approx(exact, rel=1e-6)
    assert boat.dot(tenths, tenths) == pytest.approx(exact, rel=1e-6)
    assert boat.norm(tenths) == pytest.approx(exact**0.5, rel=1e-6)


def test_plain_operators_replace_an_unavailable_kernel(spied, capsys):
    make, calls = spied
    kernel, (a, b) = make(), vectors()
    with evaluating(kernels=False):
        kernel(a, b, 1.0)
    kernel(*vectors("float64", "float32"), 2.0)
    broken = make(SOURCE.replace("marked)", "marked) nonsense;"))
    assert_close(broken(a, b, 3.0)[0], marked(a, b, 3.0)[0], 1e-12)
    broken(a, b, 4.0)
    missing = make(SOURCE.replace("marked", "another"))
    missing(a, b, 5.0)
    absent = make()
    absent.source = absent.source.with_name("absent.cu")
    absent(a, b, 6.0)
    assert not library.compiled(Path(), absent.source)
    assert calls == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    said = capsys.readouterr().err
    assert said.count("did not compile") == 1
    assert "nonsense" in said
    assert said.count("holds no kernel 'marked'; BOAT_KERNEL(marked) makes one of a template") == 1
    assert said.count("absent.cu") >= 1
    assert not broken.available
    assert not missing.available


@pytest.mark.parametrize("allowed", [True, False])
def test_results_have_no_history(spied, allowed):
    import jittor as jt

    make, _ = spied
    kernel, (a, b) = make(), vectors()
    with evaluating(kernels=allowed):
        found = kernel(a, b, 0.3)[0]
    assert not jt.grad(found.leaves[0].sum(), a.leaves[0]).numpy().any()
    with (
        evaluating(differentiated=True),
        pytest.raises(boat.SecondOrderError, match=r"kernel marked: .* call marked.reference"),
    ):
        kernel(a, b, 0.3)


def test_arguments_that_do_not_fit_are_refused(spied):
    make, _ = spied
    kernel, (a, b) = make(), vectors()
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        kernel(a, b)
    with pytest.raises(boat.StructureError, match="kernel marked: expected vectors of one space .got 4, 3 leaves"):
        kernel(a, boat.Vector(b.leaves[:3], None), 0.3)


@pytest.mark.parametrize(("like", "message"), [(("c",), "like names 'c'"), ((), "`like` or `results`")])
def test_invalid_declarations_are_refused(tmp_path, like, message):
    with pytest.raises(boat.DeclarationError, match=message):
        boat.kernel(tmp_path / "marked.cu", like=like)(marked)


def test_an_operation_must_declare_kernels_as_objects():
    with pytest.raises(boat.DeclarationError, match="kernels must hold Kernel values .got 'marked'"):
        boat.Operation("A", "approximate", "estimator", "s", "f", "t", apply=lambda a, b: a, kernels=("marked",))
