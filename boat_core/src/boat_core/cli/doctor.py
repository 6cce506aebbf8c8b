"""`boat doctor`: the machine, what was decided for it, and what to mend."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .output import print_facts, print_json, print_table


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--warm",
        nargs="?",
        const="",
        metavar="CONFIG",
        help="first compile all that later runs need; with CONFIG its kernels too, by one step of it",
    )


def doctor(arguments: argparse.Namespace) -> int:
    from ..runtime import facts

    warmed = {} if arguments.warm is None else {"warmed": _warm(arguments.warm)}
    machine = facts()
    machine["native"] |= {"operators": _operators(machine["caches"]["core"])}
    machine = machine | {"engine": _engine(machine), "pack_kernels": _pack_kernels(machine["caches"]["core"])} | warmed
    if arguments.json:
        print_json(machine)
    else:
        special = ("decisions", "findings")
        print_facts([row for key, value in machine.items() if key not in special for row in _rows(key, value)])
        print()
        decisions = [(d["what"], d["choice"], d["set_by"], d["reason"]) for d in machine["decisions"]]
        print_table(("decided", "as", "by", "because"), decisions)
        print()
        for finding in machine["findings"]:
            remedy = f". {finding['remedy']}" if finding["remedy"] else ""
            print(f"{finding['level']}: {finding['what']}{remedy}")
    return 1 if any(finding["level"] == "error" for finding in machine["findings"]) else 0


def _operators(core: str | None) -> int:
    """How often the library of operators has been compiled beside that core."""
    from ..autodiff.operators import library

    return library.built(Path(core)) if core is not None else 0


def _engine(machine: Mapping[str, Any]) -> str:
    """Whether programs of lower steps can be used here, or why not."""
    from ..autodiff.programs import KNOWN_VERSIONS

    version, native = machine["jittor"]["version"], machine["native"]
    if version not in KNOWN_VERSIONS:
        return f"plain: programs are known to work with Jittor {', '.join(KNOWN_VERSIONS)}"
    if not native["wanted"]:
        return "plain: programs are part of BOAT's operators, which BOAT_NATIVE forbids"
    if machine["device"] == "cuda":
        return "plain: programs run on the CPU only"
    return "programs" if native["operators"] else "programs, once BOAT's operators are compiled"


def _pack_kernels(core: str | None) -> dict[str, dict[str, str]]:
    """Of every pack its kernels, and whether each has been compiled here."""
    from ..autodiff.operators import library
    from ..plugins.discovery import installed

    rows: dict[str, dict[str, str]] = {}
    for entry in installed().entries:
        for kernel in entry.operation.kernels:
            done = core is not None and library.compiled(Path(core), kernel.source)
            state = "compiled" if done else "not compiled yet"
            rows.setdefault(entry.distribution, {})[kernel.name] = f"{state} ({kernel.source.name})"
    return rows


def _warm(config_path: str) -> dict[str, Any]:
    """Compile the core, the operators, the packs' kernels and those of a configuration; return what that took."""
    from time import perf_counter

    begin = perf_counter()
    if config_path:
        from ..config.build import Job
        from ..config.schema import read_config

        job = Job(read_config(config_path))
        device = job.config.run.device
    else:
        job, device = None, "auto"
    from ..autodiff.operators import library
    from ..plugins.discovery import installed
    from ..runtime import KernelWatch, prepare, select_device

    prepare(device)
    select_device()
    operators = library.operators()
    own = [kernel for entry in installed().entries for kernel in entry.operation.kernels]
    for kernel in own:
        kernel.prepare()
    for kernel in own:
        _ = kernel.available
    kernels = KernelWatch()
    if job is not None:
        job.solver.step(**job.batches(0))
    kernels.poll()
    return {"seconds": perf_counter() - begin, "kernels_compiled": kernels.count, "operators": operators is not None}


def _rows(name: str, value: Any) -> list[tuple[str, Any]]:
    """Nested facts as dotted names; what is unset is left out."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _rows(f"{name}.{key}", inner)]
    return [] if value is None else [(name, value)]
