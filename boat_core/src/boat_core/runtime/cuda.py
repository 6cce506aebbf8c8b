"""Asks the CUDA driver, finds the toolkit, and rewrites the header that CUDA 13 breaks.

Without a working driver Jittor aborts the process, so the driver is asked first, through ctypes.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._util.replace import replace_file
from .errors import RuntimeSetupError
from .machine import boat_folder

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CUdevice_attribute
_REMOVED = {"computeMode": "cudaDevAttrComputeMode", "clockRate": "cudaDevAttrClockRate"}
_DEBIAN_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


@dataclass(frozen=True)
class Driver:
    """The answer of the NVIDIA driver: the newest CUDA that it runs, its devices, or a problem."""

    version: str | None = None
    devices: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def usable(self) -> bool:
        return self.problem is None and bool(self.devices)


@dataclass(frozen=True)
class Toolkit:
    nvcc: Path
    version: str | None

    @property
    def needs_header(self) -> bool:
        return self.version is not None and int(self.version.split(".")[0]) >= 13

    @property
    def major(self) -> str:
        return self.version.split(".")[0] if self.version else ""


def ask_driver() -> Driver:
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Driver(problem="no NVIDIA driver (libcuda.so.1 not found)")
    code = library.cuInit(0)
    if code != 0:
        return Driver(problem=f"the NVIDIA driver does not answer (cuInit returned {code})")
    number = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    count = ctypes.c_int()
    code = library.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value == 0:
        return Driver(version, problem=f"the NVIDIA driver shows no device (cuDeviceGetCount returned {code})")
    return Driver(version, tuple(_describe(library, index) for index in range(count.value)))


def find_toolkit(user_nvcc: str | None = None) -> Toolkit | None:
    """Return the toolkit that Jittor can link against: an nvcc whose parent folder holds the libraries, no wrapper."""
    if user_nvcc:
        path = shutil.which(user_nvcc)
        return Toolkit(Path(path), nvcc_version(path)) if path else None
    for nvcc in _candidates():
        if _has_libraries(nvcc):
            return Toolkit(nvcc, nvcc_version(str(nvcc)))
    return None


def nvcc_version(nvcc: str) -> str | None:
    try:
        output = subprocess.run(
            [nvcc, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"release (\d+\.\d+)", output)
    return match.group(1) if match else None


def rewrite_header(text: str) -> str:
    """Return Jittor's helper_cuda.h with the reads of removed `cudaDeviceProp` fields replaced by attribute queries.

    Which device a properties variable describes is taken from the `cudaGetDeviceProperties(&variable,
    device)` that comes before the read.
    """
    fields = "|".join(_REMOVED)
    pieces, end = [], 0
    for read in re.finditer(rf"\b(\w+)\.({fields})\b", text):
        variable, field = read.groups()
        filled = re.findall(rf"cudaGetDeviceProperties\(&{variable},\s*(\w+)\)", text[: read.start()])
        if not filled:
            raise RuntimeSetupError(
                f"helper_cuda.h of the installed Jittor reads {read.group(0)}, which CUDA 13 no longer has, "
                f"and no cudaGetDeviceProperties(&{variable}, …) before it says of which device. Use CUDA 12, "
                "or the CPU (nvcc_path set to nothing), and report this Jittor version."
            )
        query = f"cudaDeviceGetAttribute(&value, {_REMOVED[field]}, {filled[-1]})"
        pieces += [text[end : read.start()], f"[&] {{ int value = 0; {query}; return value; }}()"]
        end = read.end()
    return "".join([*pieces, text[end:]])


def header_folder(toolkit: Toolkit) -> Path:
    return boat_folder() / f"cuda{toolkit.major}"


def write_header(toolkit: Toolkit, jittor: Path) -> None:
    """Write the rewritten header to the folder that `cc_flags` names."""
    original = jittor / "extern" / "cuda" / "inc" / "helper_cuda.h"
    try:
        text = rewrite_header(original.read_text(encoding="utf8"))
    except FileNotFoundError as error:
        raise RuntimeSetupError(
            f"{original}: expected Jittor's CUDA helper header, not found. Reinstall jittor, or use the CPU "
            "(nvcc_path set to nothing)."
        ) from error
    target = header_folder(toolkit) / "helper_cuda.h"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and target.read_text(encoding="utf8") == text:
        return
    replace_file(target, lambda fresh: fresh.write_text(text, encoding="utf8"))


def _describe(library: ctypes.CDLL, index: int) -> str:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_MINOR, device)
    return f"{name.value.decode(errors='replace')} (compute capability {major.value}.{minor.value})"


def _candidates() -> Iterator[Path]:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            yield Path(os.environ[variable], "bin", "nvcc")
    on_path = shutil.which("nvcc")
    if on_path:
        yield Path(on_path).resolve()
    yield Path("/usr/local/cuda/bin/nvcc").resolve()
    yield from sorted(Path("/usr/local").glob("cuda-*/bin/nvcc"), key=_version_in_path, reverse=True)
    yield Path("/opt/cuda/bin/nvcc")
    yield Path("/usr/bin/nvcc")


def _version_in_path(nvcc: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", nvcc.parent.parent.name)]


def _has_libraries(nvcc: Path) -> bool:
    # Debian's own package splits the toolkit; Jittor knows that one place
    libraries = _DEBIAN_LIBRARIES if nvcc == Path("/usr/bin/nvcc") else nvcc.parent.parent / "lib64"
    return nvcc.is_file() and (libraries / "libcudart.so").exists()
