"""Plans what BOAT sets for Jittor on this machine, and why. It reads the machine and changes nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from . import cuda, onednn
from .errors import RuntimeSetupError
from .machine import compiler_path, package_folder, python_config
from .variables import user_value

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Decision:
    """One choice.

    Args:
        what: the subject of the choice.
        choice: the value that was chosen.
        reason: why it was chosen.
        set_by: who chose it: `boat`, `user` or `machine`.
    """

    what: str
    choice: str
    reason: str
    set_by: str


@dataclass(frozen=True)
class Decisions:
    """All choices of one process. `device` is `cpu` or `cuda`. `dataclasses.asdict` makes it ready for JSON."""

    device: str
    decisions: tuple[Decision, ...]


@dataclass
class Plan:
    """The decisions, and what is needed to carry them out: variables, links, a header, and lines to show."""

    device: str = "cpu"
    decisions: list[Decision] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    link: onednn.Source | None = None
    header: tuple[cuda.Toolkit, Path] | None = None

    def decided(self) -> Decisions:
        return Decisions(self.device, tuple(self.decisions))

    def note(self, what: str, choice: str, reason: str, set_by: str = "machine") -> None:
        self.decisions.append(Decision(what, choice, reason, set_by))

    def set(self, name: str, value: str, reason: str) -> None:
        """Plan a variable, unless the user has set it."""
        users = user_value(name)
        if users is None:
            self.variables[name] = value
            self.note(name, value, reason, "boat")
        else:
            self.note(name, users, "set in the environment", "user")


def make_plan(device: str = "auto") -> Plan:
    """Decide for `device`. Raises RuntimeSetupError if `cuda` is asked for and not usable."""
    if device not in DEVICES:
        raise RuntimeSetupError(f"device: expected one of {', '.join(DEVICES)} (got {device!r}).")
    plan = Plan()
    _decide_device(plan, device)
    _decide_onednn(plan)
    _decide_compiler(plan)
    _decide_threads(plan)
    plan.set("log_silent", "1", "Jittor's messages at import are of no use to the user")
    return plan


def _decide_device(plan: Plan, device: str) -> None:
    wanted, asked = device, f"device {device!r} was asked for"
    use_cuda = user_value("use_cuda")
    if device == "auto" and use_cuda:
        wanted, asked = (
            ("cpu" if use_cuda == "0" else "cuda"),
            f"use_cuda={use_cuda} is set in the environment",
        )
        plan.note("use_cuda", use_cuda, "set in the environment", "user")

    if wanted == "cpu":
        _use_cpu(plan, asked)
        return
    toolkit, problem = _look_for_cuda()
    if toolkit is None:
        if wanted == "cuda":
            raise RuntimeSetupError(
                f"{asked}, and CUDA is not usable: {problem}. It takes an NVIDIA driver with a visible "
                "device and a CUDA toolkit (set CUDA_HOME to its folder). To go on without: device: cpu."
            )
        _use_cpu(plan, problem)
        if user_value("nvcc_path"):
            plan.warnings.append(
                f"nvcc_path={user_value('nvcc_path')} is set, but {problem}: Jittor may abort. "
                "Unset nvcc_path, or set it to nothing for the CPU."
            )
        return
    _use_cuda(plan, toolkit)


def _look_for_cuda() -> tuple[cuda.Toolkit | None, str]:
    """Return the toolkit to use, or None and the reason."""
    users_nvcc = user_value("nvcc_path")
    if users_nvcc == "":
        return None, "nvcc_path is set to nothing in the environment"
    driver = cuda.ask_driver()
    if not driver.usable:
        return None, driver.problem or "the NVIDIA driver shows no device"
    toolkit = cuda.find_toolkit(users_nvcc)
    if toolkit is None and users_nvcc:
        return None, f"nvcc_path={users_nvcc} does not lead to a program"
    if toolkit is None:
        return None, "no CUDA toolkit was found (an nvcc whose parent folder holds lib64/libcudart.so)"
    return toolkit, ""


def _use_cpu(plan: Plan, reason: str) -> None:
    plan.note("device", "cpu", reason)
    plan.set("nvcc_path", "", reason)
    plan.set("cache_name", "default", "one cache, whatever git branch the environment lies in")


def _use_cuda(plan: Plan, toolkit: cuda.Toolkit) -> None:
    plan.device = "cuda"
    plan.note("device", "cuda", f"driver and toolkit {toolkit.version} found")
    plan.set("nvcc_path", str(toolkit.nvcc), "the toolkit's own nvcc, beside its libraries")
    jittor = package_folder("jittor")
    cache = "default"
    if toolkit.needs_header and jittor is not None:
        plan.header = (toolkit, jittor)
        users_flags = user_value("cc_flags") or ""
        flags = f'-I"{cuda.header_folder(toolkit)}" {users_flags}'.strip()
        plan.variables["cc_flags"] = flags
        kept = ", before the flags set in the environment" if users_flags else ""
        plan.note("cc_flags", flags, f"a helper_cuda.h that CUDA {toolkit.major} accepts{kept}", "boat")
        # Different flags for the CPU and for CUDA in one cache would rebuild Jittor at each change of the device.
        cache = f"cuda{toolkit.major}"
    plan.set("cache_name", cache, "one cache, whatever git branch the environment lies in")


def _decide_onednn(plan: Plan) -> None:
    users = user_value("use_mkl")
    place = onednn.folder()
    if users is not None and users != "1":
        plan.note("use_mkl", users, "set in the environment", "user")
        return
    if onednn.works(place):
        plan.note("use_mkl", "1", f"oneDNN is in {place}", "machine" if users is None else "user")
        return
    source = onednn.find_source()
    if source is not None and onednn.can_link(place):
        plan.link = source
        plan.note("use_mkl", "1", f"links in {place} to {source.lib} and {source.include}", "boat")
        return
    if source is not None:
        missing, remedy = f"{place} is there but incomplete", f"remove {place}, BOAT then links it anew"
    elif onednn.served_by_wheels():
        missing, remedy = "it is not installed", onednn.PIP
    else:
        missing, remedy = "no wheels serve this platform", f"unpack oneDNN 2.2 into {place}"
    if users is None:
        plan.set("use_mkl", "0", f"oneDNN: {missing}")
        plan.warnings.append(f"Jittor runs without oneDNN ({missing}): {onednn.COST}. To mend: {remedy}")
    else:
        plan.note("use_mkl", users, "set in the environment", "user")
        plan.warnings.append(f"use_mkl=1 is set, but {missing}: Jittor will try to download it. To mend: {remedy}")


def _decide_threads(plan: Plan) -> None:
    """Let threads of OpenMP that wait for work give their core back soon, unless the user decides how they wait."""
    users = user_value("OMP_NUM_THREADS")
    if users is not None:
        plan.note("threads", users, "OMP_NUM_THREADS is set in the environment", "user")
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        plan.note("threads", str(cores), "the cores of this process; small operators use one thread")
    policy = user_value("OMP_WAIT_POLICY")
    if policy is not None:
        plan.note("OMP_WAIT_POLICY", policy, "set in the environment", "user")
    else:
        plan.set("GOMP_SPINCOUNT", "10000", "a waiting thread gives its core back after some 20 µs")


def _decide_compiler(plan: Plan) -> None:
    compiler = compiler_path()
    by = "machine" if user_value("cc_path") is None else "user"
    plan.note("cc_path", compiler or "none", "the C++ compiler for Jittor and its kernels", by)
    script = python_config() if platform.system() == "Linux" else None
    if script is not None:
        plan.set("python_config_path", str(script), "the headers of the interpreter that runs")
