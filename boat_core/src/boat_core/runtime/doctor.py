"""The facts for `boat doctor`: the machine, the decisions, and what to do.

It does not import Jittor, compiles nothing and changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import cuda, onednn, toolchain
from .compilation import compiled_cache
from .errors import RuntimeSetupError
from .loaded import jittor_is_loaded
from .machine import cache_root, check_build_tools, compiler_path, package_folder, python_headers, version_of
from .plan import Decisions, make_plan
from .preparation import decisions
from .variables import user_value

_VARIABLES = (
    "nvcc_path", "use_mkl", "cc_path", "cc_flags", "log_silent", "JITTOR_HOME", "cache_name", "use_cuda",
    "python_config_path", toolchain.VARIABLE,
)  # fmt: skip


def facts() -> dict[str, Any]:
    """Keys: python, jittor, numpy, compiler, onednn, cuda, caches, native, variables, device, decisions, findings.

    `findings` is a list of {"level": "ok" | "warning" | "error", "what", "remedy"}.
    """
    decided, environ, findings = _decide()
    machine: dict[str, Any] = {
        "python": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "headers": _text(python_headers()),
        },
        "jittor": {"version": version_of("jittor"), "folder": _text(package_folder("jittor"))},
        "numpy": {"version": version_of("numpy")},
        "compiler": {
            "path": compiler_path(),
            "version": _first_line(compiler_path(), "--version"),
            "make": shutil.which("make"),
        },
        "onednn": _onednn(),
        "cuda": _cuda(),
        "caches": _caches(environ),
        "native": toolchain.state(compiled_cache(environ) or Path(os.devnull)),
        "variables": {name: _variable(name) for name in _VARIABLES},
        "device": decided.device if decided else None,
        "decisions": [asdict(decision) for decision in decided.decisions] if decided else [],
    }
    _judge(machine, findings)
    if all(finding["level"] == "ok" for finding in findings):
        findings.append(_finding("ok", "nothing stands in Jittor's way"))
    return {**machine, "findings": findings}


def built_core() -> Path | None:
    """Return the folder of the compiled core that Jittor would use now; None if it is not compiled."""
    return compiled_cache(_decide()[1])


def _decide() -> tuple[Decisions | None, Mapping[str, str], list[dict[str, str]]]:
    """Return the decisions of this process, or those it would make, the resulting environment, and the findings."""
    if jittor_is_loaded() and decisions() is None:
        what = "Jittor was imported before BOAT could prepare it"
        return None, os.environ, [_finding("warning", what, "import boat_core before jittor")]
    try:
        plan = make_plan()
    except RuntimeSetupError as error:
        return decisions(), os.environ, [_finding("error", str(error))]
    findings = [_finding("warning", line) for line in plan.warnings]
    if decisions() is not None:
        return decisions(), os.environ, findings
    return plan.decided(), {**os.environ, **plan.variables}, findings


def _judge(machine: dict[str, Any], findings: list[dict[str, str]]) -> None:
    try:
        check_build_tools()
    except RuntimeSetupError as error:
        findings.append(_finding("error", str(error)))
    if machine["jittor"]["folder"] is None:
        findings.append(_finding("error", "Jittor is not installed", "pip install jittor==1.3.11.0"))
    elif not machine["caches"]["core_compiled"]:
        what = "Jittor's core is compiled at the first run: a minute or two, once"
        findings.append(_finding("ok", what, "boat doctor --warm does it now"))
    numpy = machine["numpy"]["version"]
    if numpy is None:
        findings.append(_finding("error", "numpy is not installed", "pip install 'numpy<2'"))
    elif not numpy.startswith("1."):
        findings.append(_finding("warning", f"Jittor was written for numpy 1 (got {numpy})", "pip install 'numpy<2'"))
    for path in machine["native"]["failed"]:
        what = f"BOAT's kernel header, its operators or a pack's kernels did not compile, see {path}"
        findings.append(_finding("warning", what, "remove it to try again"))
    driver, toolkit = machine["cuda"]["driver"], machine["cuda"]["toolkit"]
    if driver["usable"] and toolkit is None:
        what = "there is a CUDA device, and no toolkit (an nvcc whose parent folder holds lib64/libcudart.so)"
        findings.append(_finding("warning", what, "install the CUDA toolkit, or set CUDA_HOME to its folder"))
    if package_folder("torch") is not None and "FIX_TORCH_ERROR" not in os.environ:
        what = "PyTorch is installed, and Jittor imports it with itself: seconds, and hundreds of MB"
        findings.append(_finding("ok", what, "set FIX_TORCH_ERROR=0 if a process uses Jittor alone"))


def _onednn() -> dict[str, Any]:
    try:
        place = onednn.folder()
    except RuntimeSetupError:
        return {"folder": None, "works": False, "linked_to": None, "installed": None}
    lib = place / "lib"
    return {
        "folder": str(place),
        "works": onednn.works(place),
        "linked_to": os.readlink(lib) if lib.is_symlink() else None,
        "installed": version_of(onednn.WHEELS[0].split("==")[0]),
    }


def _cuda() -> dict[str, Any]:
    driver = cuda.ask_driver()
    try:
        toolkit = cuda.find_toolkit(user_value("nvcc_path"))
        header = str(cuda.header_folder(toolkit)) if toolkit and toolkit.needs_header else None
    except RuntimeSetupError:
        toolkit, header = None, None
    return {
        "driver": {**asdict(driver), "usable": driver.usable},
        "toolkit": {"nvcc": str(toolkit.nvcc), "version": toolkit.version} if toolkit else None,
        "header_patch": header,
    }


def _caches(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        root = cache_root()
        cache = compiled_cache(environ)
    except RuntimeSetupError:
        return {"folder": None, "bytes": 0, "core_compiled": False, "core": None, "kernels": 0}
    size = kernels = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            size += path.lstat().st_size if path.exists() else 0
            kernels += name.endswith("_op.so")
    return {
        "folder": str(root),
        "bytes": size,
        "core_compiled": cache is not None,
        "core": _text(cache),
        "kernels": kernels,
    }


def _variable(name: str) -> dict[str, str | None]:
    users, value = user_value(name), os.environ.get(name)
    set_by = None if value is None else "user" if users == value else "boat"
    return {"value": value, "set_by": set_by}


def _first_line(program: str | None, argument: str) -> str | None:
    if program is None:
        return None
    try:
        output = subprocess.run([program, argument], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return output.splitlines()[0] if output else None


def _finding(level: str, what: str, remedy: str = "") -> dict[str, str]:
    return {"level": level, "what": what, "remedy": remedy}


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None
