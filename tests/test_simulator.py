"""Device code runs on the CPU: every operator, every kernel, and faults that must be found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boat_core.autodiff.operators.library import INCLUDE, SIMULATOR

ROOT = Path(__file__).parent.parent

SUM = """\
#include "boat_kernel.h"
template <class T> void squares(const boat::Call<T>& call) {
    call.each([=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) { leaf.out(0)[i] = leaf.in(0)[i] * T(2); });
    call.sum(0, [=] BOAT_HD(const boat::Leaf<T>& leaf, int64_t i) {
        return boat::Sums<T, 1>{{leaf.in(0)[i] * leaf.in(0)[i]}};
    });
}
BOAT_KERNEL(squares)
"""
CHECK = """\
import sys
from pathlib import Path

import boat_core as boat
from boat_core.testing import KernelClaim, conformance


def squares(a):
    "2a, and the sum of its squares."
    return 2 * a, boat.dot(a, a)


kernel = boat.kernel(Path(sys.argv[1]), like=("a",), results=1)(squares)
conformance.check_kernel(kernel, KernelClaim(), "float64", 1e-12)
print("agrees")
"""


def simulate(*command: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a process in which device code is simulated."""
    environment = {**os.environ, "BOAT_SIMULATOR": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


def test_device_code_of_all_operators_and_kernels_agrees_with_the_cpu():
    core = [ROOT / "boat_core" / "tests" / f"test_{name}.py" for name in ("operators", "kernels")]
    claims = [ROOT / "tests" / "test_operations.py", ROOT / "plugins_example" / "tests"]
    chosen = "test_operators or test_kernels and not cuda"
    done = simulate("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *core, *claims, "-k", chosen)
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 100


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ("", "", None),
        (
            "shared[threadIdx.x] = sums[k];\n        __syncthreads();",
            "shared[threadIdx.x] = sums[k];",
            "AssertionError",
        ),
        ("body(leaf[at], i - (", "body(leaf[at], i + 1 - (", "AssertionError"),
        ("< end[count - 1]; i += step", "< end[count - 1]; i += step + 1", "AssertionError"),
        ("half; half >>= 1) {", "half && threadIdx.x < 200; half >>= 1) {", "threads of a block reach a barrier"),
    ],
    ids=["right", "missing barrier", "wrong index", "wrong stride", "barrier that not all reach"],
)
def test_faults_in_device_code_are_found(tmp_path, right, wrong, error):
    source, header = tmp_path / "squares.cu", (INCLUDE / "boat_kernel.h").read_text("utf8")
    assert right in header
    source.write_text(f"// {error}\n{SUM}", "utf8")  # the library of a kernel is known by the text of its source
    (tmp_path / "boat_kernel.h").write_text(header.replace(right, wrong), "utf8")
    (tmp_path / "check.py").write_text(CHECK, "utf8")
    done = simulate(tmp_path / "check.py", source)
    if error is None:
        assert done.stdout == "agrees\n", done.stderr
    else:
        assert error in done.stderr and not done.stdout


SHUFFLE = """\
#include "cuda_runtime.h"
#include <cstdio>
int main() {
    double sums[64];
    try {
        boat_simulator::launch(1, 64, [&] {
            double v = threadIdx.x;
            if (LANES) for (int step = 16; step; step >>= 1) v += __shfl_xor_sync(0xffffffffu, v, step);
            sums[threadIdx.x] = v;
        });
    } catch (const std::exception& error) {
        std::puts(error.what());
        return 1;
    }
    for (int i = 0; i < 64; i++) if (sums[i] != (i < 32 ? 496 : 1520)) return 2;
    return 0;
}
"""


@pytest.mark.parametrize(("lanes", "code", "said"), [("true", 0, ""), ("threadIdx.x != 5", 1, "31 of 32 lanes")])
def test_lanes_of_a_warp_exchange_numbers(tmp_path, lanes, code, said):
    (tmp_path / "shuffle.cc").write_text(SHUFFLE, "utf8")
    compiler = shutil.which("g++")
    command = [compiler, "-std=c++17", f"-I{SIMULATOR}", f"-DLANES={lanes}", "shuffle.cc", "-o", "shuffle"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./shuffle"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stdout
