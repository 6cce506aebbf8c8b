"""Every CUDA source compiles, where there is a compiler for it; whether it is right only a device can tell."""

from __future__ import annotations

import subprocess

import pytest

from boat_core.autodiff.operators.library import INCLUDE
from boat_core.plugins.discovery import installed
from boat_core.runtime.cuda import find_toolkit
from boat_core.runtime.toolchain import CUDA_FLAGS

TOOLKIT = find_toolkit()
SOURCES = sorted({kernel.source for entry in installed().entries for kernel in entry.operation.kernels})


@pytest.mark.skipif(TOOLKIT is None, reason="no CUDA toolkit here")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_packs_kernels_compile_for_cuda(source, tmp_path):
    flags = ["-x", "cu", *CUDA_FLAGS, "-Xcompiler=-fopenmp", f"-I{INCLUDE}"]
    command = [str(TOOLKIT.nvcc), *flags, "-c", str(source), "-o", str(tmp_path / "kernels.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
