"""Carries out the plan before Jittor is imported, once in a process."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

from . import compilation, cuda, float64, onednn, pickling, toolchain, variables
from .errors import RuntimeSetupError
from .interrupts import make_interruptible
from .loaded import jittor_is_loaded
from .machine import cache_root, package_folder
from .plan import Decision, Decisions, Plan, make_plan

_decided: Decisions | None = None


def decisions() -> Decisions | None:
    """Return the decisions of this process; None before `prepare()`."""
    return _decided


def prepare(device: str = "auto") -> Decisions:
    """Decide and set Jittor's environment, link oneDNN, and compile Jittor's core if that has not been done.

    A second call changes nothing, except that `cpu` moves a process that has CUDA to the CPU.
    """
    global _decided
    if jittor_is_loaded():
        _decided = _after_import(device)
    elif _decided is None or device not in ("auto", _decided.device):
        plan = make_plan(device)
        _carry_out(plan)
        for line in plan.warnings:
            print(f"BOAT: {line}", file=sys.stderr)
        if package_folder("jittor") is not None:
            compilation.ensure_compiled()
        _decided = plan.decided()
    return _decided


def select_device(beside: Iterable[toolchain.StartBuild] = ()) -> None:
    """Import Jittor, select the device that was decided, and give Ctrl-C back to Python.

    Args:
        beside: starts of builds that run beside that of the header of Jittor's kernels.
    """
    device = prepare().device
    import jittor

    if device == "cuda" and not jittor.has_cuda:
        raise RuntimeSetupError(
            "The device is CUDA, but Jittor was imported without it. `boat doctor` shows driver and toolkit; "
            "device: cpu goes on without."
        )
    jittor.flags.use_cuda = int(device == "cuda")
    # This path is part of the command that compiles a kernel, and another spelling would compile all kernels again.
    jittor.flags.python_path = toolchain.launcher(beside)
    make_interruptible()
    pickling.make_exact()
    float64.prime(device)


def _carry_out(plan: Plan) -> None:
    try:
        if plan.link is not None:
            onednn.link(plan.link)
        if plan.header is not None:
            cuda.write_header(*plan.header)
    except OSError as error:
        raise RuntimeSetupError(
            f"{cache_root()}: Jittor keeps its compiled files there, and it cannot be written ({error}). "
            "Set JITTOR_HOME to a folder that can."
        ) from error
    variables.apply(plan.variables)


def _after_import(device: str) -> Decisions:
    known = _decided
    if known is None:
        has_cuda = getattr(sys.modules.get("jittor"), "has_cuda", False)
        note = Decision("jittor", "as it was", "imported before BOAT could prepare it", "user")
        known = Decisions("cuda" if has_cuda else "cpu", (note,))
    if device == "cuda" and known.device == "cpu":
        reasons = "; ".join(f"{item.what}: {item.reason}" for item in known.decisions if item.what in _TELLING)
        raise RuntimeSetupError(
            f"device 'cuda' was asked for, but Jittor is already imported for the CPU ({reasons}). "
            "Ask for the device before the first import of Jittor."
        )
    if device == "cpu" and known.device == "cuda":
        note = Decision("device", "cpu", "asked for after Jittor was imported with CUDA", "user")
        known = replace(known, device="cpu", decisions=(*known.decisions, note))
    return known


_TELLING = ("device", "jittor")
