"""Every CUDA source compiles if there is a compiler. Only a device can tell whether the kernel is correct."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from boat_core.autodiff.operators import library
from boat_core.autodiff.operators.library import INCLUDE, SIMULATOR
from boat_core.plugins.discovery import installed
from boat_core.runtime.cuda import find_toolkit
from boat_core.runtime.toolchain import CUDA_FLAGS, toolchain

TOOLKIT = find_toolkit()
SOURCES = sorted({kernel.source for entry in installed().entries for kernel in entry.operation.kernels})


@pytest.mark.skipif(TOOLKIT is None, reason="no CUDA toolkit here")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_kernels_of_every_pack_compile_for_cuda(source, tmp_path):
    flags = ["-x", "cu", *CUDA_FLAGS, "-Xcompiler=-fopenmp", f"-I{INCLUDE}"]
    command = [str(TOOLKIT.nvcc), *flags, "-c", str(source), "-o", str(tmp_path / "kernels.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.nightly
@pytest.mark.skipif(TOOLKIT is None, reason="no CUDA toolkit here")
def test_operators_compile_for_cuda(tmp_path):
    """A toolkit without cuBLAS gets the declarations of the simulator."""
    if not (TOOLKIT.nvcc.parent.parent / "include" / "cublas_v2.h").exists():
        shutil.copy(SIMULATOR / "cublas_v2.h", tmp_path)
    tools = toolchain()
    folders = [flag for flag in tools.compile_flags() if flag.startswith("-I")]
    folders += [f"-I{library.SOURCES}", f"-I{INCLUDE}", f"-I{tmp_path}"]
    flags = ["-x", "cu", *CUDA_FLAGS, "-w", "-Xcompiler=-fPIC,-fopenmp", *folders]
    command = [
        str(TOOLKIT.nvcc),
        *flags,
        "-c",
        str(library.SOURCES / "operators.cc"),
        "-o",
        str(tmp_path / "operators.o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
